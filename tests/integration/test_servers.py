# SPDX-License-Identifier: MIT
"""Loadable servers on real machines: they load, answer, log, break and go, on every architecture."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Final

import pytest

from emulator import Cluster, Node
from emulator.errors import GuestError
from emulator.events import types
from emulator.loader import ReplyCallbacks, reply_handler
from emulator.loader.codes import Code, LoaderError
from emulator.loader.node_messages import (
    NodeServerInfo,
    NodeState,
    ServerMessage,
    server_request,
    servers_port,
)
from emulator.loader.table import State
from emulator.machines.built import built_candidates
from emulator.model import Arch
from emulator.protocol.names import kernel_port
from emulator.protocol.services import ErrorCode, Service, lookup_request, parse_lookup_reply
from emulator.runtime.deadline import Deadline
from emulator.testing.clusters import cluster_of, node_text

pytestmark = [pytest.mark.qemu, pytest.mark.slow, pytest.mark.usefixtures("real_machines")]

WITHIN_S: Final = 10.0
UNKNOWN: Final = 1  # no request's id
LOG, GIVE_UP, WRITE_NOWHERE, WRITE_CODE, RUN_DATA = 2600, 2601, 2603, 2604, 2605


def one(tmp_path: Path, arch: Arch, *servers: str) -> Cluster:
    return cluster_of(node_text("a", arch, servers), tmp_path)


async def look_up(cluster: Cluster, name: str) -> int:
    body = await call(cluster, kernel_port(1), Service.LOOKUP, lookup_request(name))
    return parse_lookup_reply(body)


async def call(cluster: Cluster, port: int, message_id: int, body: bytes = b"") -> bytes:
    return await cluster.host.call(1, port, message_id, body, Deadline.after(WITHIN_S))


def object_of(arch: Arch, name: str) -> Path:
    return next(
        path
        for path in built_candidates(f"{arch.value}/servers", f"{name}.kern_server")
        if path.is_file()
    )


@pytest.mark.parametrize("arch", list(Arch))
async def test_load_answer_unload_load(tmp_path: Path, arch: Arch) -> None:
    async with one(tmp_path, arch, "echo") as cluster:
        loader = cluster.node("a").loader
        port = await look_up(cluster, "echo")
        for _ in range(3):
            assert await call(cluster, port, Service.ECHO, b"hello") == b"hello"
            await loader.unload_server("echo")
            await loader.load_server("echo")
            assert await look_up(cluster, "echo") == port
        for name in ("traffic", "raw_ring", "fault"):
            await loader.add_server(object_of(arch, name))
        assert set(await loader.server_list()) >= {"echo", "traffic", "raw_ring", "fault"}
        for name in ("traffic", "raw_ring"):  # with threads of their own: a message loads them, too
            port = await look_up(cluster, name)
            await loader.unload_server(name)
            (status,) = struct.unpack_from("<i", await call(cluster, port, UNKNOWN))
            assert status == ErrorCode.INVALID
            assert (await loader.server_info(name)).state == State.LOADED
            assert await look_up(cluster, name) == port


@pytest.mark.parametrize("arch", list(Arch))
async def test_a_log_comes_as_text(tmp_path: Path, arch: Arch) -> None:
    """Its formats and texts are read from the image here, whatever the node's words look like."""
    async with one(tmp_path, arch, "fault") as cluster:
        loader = cluster.node("a").loader
        port = await look_up(cluster, "fault")
        com_port = await loader.server_com_port("fault")
        replies = loader.port()
        for level, expected in ((3, "request 1 from node 0: as asked"), (4, "")):
            texts: list[str] = []
            callbacks = ReplyCallbacks(
                argument=texts, log_data=lambda to, said, length: to.append(said)
            )
            await loader.log_level(com_port, level)
            await call(cluster, port, LOG)
            while "urgent" not in "".join(texts):
                await loader.get_log(com_port, replies)
                message = await replies.receive(WITHIN_S)
                assert message is not None
                reply_handler(message, callbacks)
            assert re.sub(r"[ \d]{10,}:\t", "", "".join(texts)) == f"{expected}urgent"


@pytest.mark.parametrize(
    ("request_id", "reason"),
    [
        (WRITE_NOWHERE, "null page"),
        (WRITE_CODE, "write at"),
        (RUN_DATA, "execute at"),
    ],
)
@pytest.mark.parametrize("arch", list(Arch))
async def test_a_fault_names_its_server(
    tmp_path: Path, arch: Arch, request_id: int, reason: str
) -> None:
    async with one(tmp_path, arch, "echo", "fault") as cluster:
        a = cluster.node("a")
        port = await look_up(cluster, "fault")
        with pytest.raises(GuestError):
            await call(cluster, port, request_id)
        await a.wait_exited()
        panics = [item for item in cluster.stream.history if isinstance(item, types.NodePanicked)]
    headline = panics[0].text.splitlines()[0]
    assert " server=fault+0x" in headline
    assert reason in headline


async def test_a_server_that_gives_up_takes_nobody_along(tmp_path: Path) -> None:
    async with one(tmp_path, Arch.X86_64, "echo", "fault") as cluster:
        a = cluster.node("a")
        fault, echo = await look_up(cluster, "fault"), await look_up(cluster, "echo")
        await call(cluster, fault, GIVE_UP)
        assert await call(cluster, echo, Service.ECHO, b"still here") == b"still here"
        await wait_for_state(cluster, a, "fault", NodeState.ALLOCATED)


async def wait_for_state(cluster: Cluster, node: Node, name: str, state: NodeState) -> None:
    """Ask the node until a server is in a state; each answer is a round trip."""
    deadline = Deadline.after(WITHIN_S)
    port = servers_port(node.id)
    while True:
        listed = await call(cluster, port, ServerMessage.LIST)
        (count,) = struct.unpack_from("<I", listed, 8)
        for number in struct.unpack_from(f"<{count}I", listed, 16):
            answer = await call(cluster, port, ServerMessage.INFO, server_request(number))
            info = NodeServerInfo.parse(answer)
            if info.name == name and info.state is state:
                return
        assert not deadline.expired, f"{name} is not {state.name} in time"


async def test_parameters_decide_whether_a_server_loads(tmp_path: Path) -> None:
    async with one(tmp_path, Arch.AARCH64_BE, "fault") as cluster:
        loader = cluster.node("a").loader
        await loader.unload_server("fault")
        with pytest.raises(LoaderError) as failed:
            await loader.load_server("fault", ["fault_load_result=-7"])
        assert failed.value.code is Code.INIT_FAILED
        assert "-7" in str(failed.value)


async def test_hostile_requests_are_refused(tmp_path: Path) -> None:
    """Each is answered, and the node goes on."""
    async with one(tmp_path, Arch.X86_64, "echo") as cluster:
        for message_id in range(2399, 2411):
            for body in (b"", b"\0" * 7, b"\xff" * 64, b"\xff" * 4096):
                answer = await call(cluster, servers_port(1), message_id, body)
                (status,) = struct.unpack_from("<i", answer)
                if message_id not in (ServerMessage.ATTACH, ServerMessage.LIST):
                    assert status < 0
        info = await call(cluster, servers_port(1), ServerMessage.INFO, server_request(1))
        assert struct.unpack_from("<i", info) == (0,)
