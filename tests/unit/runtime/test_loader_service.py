# SPDX-License-Identifier: MIT
"""A guest finds a loader at node 0 and asks it: its own node's, and another's."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import pytest

from emulator.loader.codes import Code, LoaderError
from emulator.loader.messages import (
    NameRequest,
    Reply,
    Request,
    ServerInfo,
    parse_names,
    parse_string,
    take_answer,
)
from emulator.loader.service import LoaderService
from emulator.loader.table import State
from emulator.protocol.constants import ClusterConstants
from emulator.protocol.mnl import MachMessage, NakReason
from emulator.protocol.names import kernel_port, make_name, tag_of_incarnation
from emulator.protocol.services import ErrorCode, Service, lookup_request, parse_lookup_reply
from emulator.protocol.wire_types import Disposition
from emulator.runtime.deadline import Deadline
from emulator.runtime.host_node import HostNode
from emulator.runtime.loader_service import GuestDoor
from emulator.testing.fake_guest import FakeGuest
from emulator.testing.loader_bench import LoaderBench

LIFE = 0x2_0000_0001
PRIVILEGED = 0x1234
REPLY_PORT = make_name(1, tag_of_incarnation(LIFE), 7)


class Asker:
    """Guest 1 beside node 0, and the loaders of nodes a (itself) and b."""

    def __init__(self, folder: Path) -> None:
        self.host = HostNode(ClusterConstants(), 0x1_0000_0001)
        self.got: asyncio.Queue[MachMessage] = asyncio.Queue()
        self.tasks: list[asyncio.Task[None]] = []
        self.loaders = {name: LoaderBench(folder) for name in ("a", "b")}
        services = {
            name: (number, LoaderService(bench.loader, PRIVILEGED, self._spawn))
            for number, (name, bench) in enumerate(self.loaders.items(), start=1)
        }
        self.door = GuestDoor(self.host, services)
        ours, theirs = socket.socketpair()
        self.guest = FakeGuest(
            theirs,
            node_id=1,
            incarnation=LIFE,
            constants=ClusterConstants(),
            handler=self._received,
        )
        self.host.attach(1, ours)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        self.tasks.append(asyncio.get_running_loop().create_task(work))
        return self.tasks[-1]

    def _received(self, message: MachMessage) -> NakReason | None:
        if message.remote != REPLY_PORT:
            return NakReason.UNKNOWN_NAME
        self.got.put_nowait(message)
        return None

    def send(self, port: int, message_id: int, body: bytes) -> None:
        self.guest.post(
            MachMessage(
                remote=port,
                id=message_id,
                body=body,
                local=REPLY_PORT,
                local_disposition=Disposition.SEND,
            )
        )

    async def next(self) -> MachMessage:
        async with asyncio.timeout(5):
            return await self.got.get()

    async def ask(self, port: int, message_id: int, body: bytes) -> bytes:
        self.send(port, message_id, body)
        answer = await self.next()
        assert answer.id == message_id + 100
        return answer.body

    async def find(self, service: str) -> int:
        body = await self.ask(kernel_port(0), Service.LOOKUP, lookup_request(service))
        return parse_lookup_reply(body)


@pytest.fixture
async def asker(tmp_path: Path) -> AsyncIterator[Asker]:
    asker = Asker(tmp_path)
    for bench in asker.loaders.values():
        await bench.loader.node_up()
    await asker.host.wait_up(1, Deadline.after(5))
    yield asker
    await asker.host.close()
    asker.guest.power_off()


async def test_a_guest_asks_its_own_and_another_node_s_loader(asker: Asker) -> None:
    own, other = await asker.find("server_loader"), await asker.find("server_loader.b")
    assert own == await asker.find("server_loader.a") != other
    path = str(asker.loaders["b"].write())
    for port, privileged, code in ((other, 0, Code.NO_PERMISSION), (other, PRIVILEGED, None)):
        body = NameRequest(name=path, privileged=privileged).serialize()
        answer = await asker.ask(port, Request.ADD_SERVER, body)
        if code is None:
            take_answer(answer)
        else:
            with pytest.raises(LoaderError) as caught:
                take_answer(answer)
            assert caught.value.code is code
    take_answer(await asker.ask(other, Request.LOAD_SERVER, NameRequest(name="tiny").serialize()))
    assert asker.loaders["b"].state() == State.LOADED
    assert parse_names(take_answer(await asker.ask(own, Request.SERVER_LIST, b""))) == ()
    body = NameRequest(name="tiny").serialize()
    info = ServerInfo.parse(take_answer(await asker.ask(other, Request.SERVER_INFO, body)))
    assert (info.state, [port.port for port in info.ports]) == (State.LOADED, [0])


async def test_lines_come_to_the_guest_s_port(asker: Asker) -> None:
    port = await asker.find("server_loader")
    asker.send(port, Request.STATUS_PORT, b"")
    asker.send(port, Request.PING, (9).to_bytes(8, "little"))
    assert (await asker.next()).id == Reply.PING
    await asker.loaders["a"].loader.add(asker.loaders["a"].write())
    message = await asker.next()
    assert message.id == Reply.STRING
    assert parse_string(message.body)[1].startswith("adding ")


async def test_a_guest_that_died_hears_no_more(asker: Asker) -> None:
    port = await asker.find("server_loader")
    asker.send(port, Request.STATUS_PORT, b"")
    asker.send(port, Request.PING, bytes(8))
    await asker.next()
    asker.host.announce_death(1, LIFE)
    await asker.loaders["a"].loader.add(asker.loaders["a"].write())
    await asyncio.sleep(0)
    assert asker.got.empty()
    assert asker.loaders["a"].loader.lines._subscriptions == []


async def test_an_unknown_service_is_not_found(asker: Asker) -> None:
    body = await asker.ask(kernel_port(0), Service.LOOKUP, lookup_request("server_loader.c"))
    assert status_of(body) == ErrorCode.NOT_FOUND


@pytest.mark.parametrize(
    ("message_id", "body"),
    [(Service.LOOKUP, b"server_loader"), (Service.LOOKUP, bytes(33)), (Service.STATISTICS, b"")],
    ids=["short", "long", "unknown"],
)
async def test_what_node_0_does_not_serve_is_invalid(
    asker: Asker, message_id: int, body: bytes
) -> None:
    answer = await asker.ask(kernel_port(0), message_id, body)
    assert (status_of(answer), len(answer)) == (ErrorCode.INVALID, 8)


def status_of(body: bytes) -> int:
    return int.from_bytes(body[:4], "little", signed=True)
