# SPDX-License-Identifier: MIT
"""Complex messages between node 0 and guests of another byte order and another width, and between
those: what is sent arrives, and nobody keeps a right that was given back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from emulator import Cluster, Node
from emulator.model import Arch
from emulator.protocol.ipc import PortsItem, Transfer
from emulator.protocol.message_parts import BytesPart
from emulator.protocol.names import bootstrap_port, kernel_port
from emulator.protocol.services import (
    ErrorCode,
    Service,
    ServiceError,
    node_lookup_request,
    parse_node_lookup_reply,
)
from emulator.protocol.wire_types import Disposition
from emulator.runtime.deadline import Deadline
from emulator.runtime.host_rights import RightsStatistics
from emulator.testing.clusters import cluster_of, nothing_is_lost, pair_text

pytestmark = [pytest.mark.qemu, pytest.mark.slow, pytest.mark.usefixtures("real_machines")]

GUIDE: Final = Path(__file__).parents[2] / "docs" / "guide" / "scenario.md"
BODY: Final = bytes(range(255))


def soon() -> Deadline:
    return Deadline.after(10)


async def settle(cluster: Cluster, before: list[RightsStatistics]) -> None:
    """Wait until the accounts with all guests are as before: the loader has some of its own."""
    async with asyncio.timeout(10):
        while rights(cluster) != before:
            await asyncio.sleep(0.01)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with cluster_of(pair_text(Arch.AARCH64_BE, Arch.RISCV32), tmp_path) as running:
        yield running


async def test_the_guide_s_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As docs/guide/scenario.md has it, with its first topology."""
    monkeypatch.chdir(tmp_path)
    text = GUIDE.read_text(encoding="utf-8")
    (tmp_path / "pair.toml").write_text(_block(text, "toml"), encoding="utf-8")
    names: dict[str, Any] = {}
    exec(_block(text.partition("\n## 5. ")[2], "python"), names)
    await names["test_rights"]()


def _block(text: str, language: str) -> str:
    """The first block of code in that language."""
    return text.partition(f"```{language}\n")[2].partition("```")[0]


def rights(cluster: Cluster) -> list[RightsStatistics]:
    return [cluster.host.statistics(node.id).rights for node in cluster.nodes]


async def test_everything_that_a_message_carries_comes_back(cluster: Cluster) -> None:
    """A kernel's ECHO answers with the message itself, so each right goes there and back."""
    before = rights(cluster)
    for node in cluster.nodes:
        port = cluster.host.port()
        items = (
            port.send_right(),
            BytesPart(BODY),
            PortsItem(Transfer.MAKE_SEND, (port.port, None, port.port)),
            port.send_once_right(),
        )
        to = kernel_port(node.id)
        with await cluster.host.ask(node.id, to, Service.ECHO, BODY, soon(), items=items) as reply:
            assert (reply.body, reply.data) == (BODY, [BODY])
            assert [right and (right.name, right.kind) for right in reply.rights] == [
                (port.name, Disposition.SEND),
                (port.name, Disposition.SEND),
                None,
                (port.name, Disposition.SEND),
                (port.name, Disposition.SEND_ONCE),
            ]
        await port.wait_no_senders(soon())
        await settle(cluster, before)


async def test_a_port_goes_to_a_guest_and_comes_back(cluster: Cluster) -> None:
    before = rights(cluster)
    for node in cluster.nodes:
        port = cluster.host.port()
        right = cluster.host.right(port.name)
        to = kernel_port(node.id)
        items = (port.receive_right(),)
        reply = await cluster.host.ask(node.id, to, Service.ECHO, b"", soon(), items=items)
        back = cluster.host.adopt(reply.ports.pop())
        assert back.name == port.name
        await asyncio.gather(cluster.host.send(right, 7, b"home", soon()), back.receive(soon()))
        right.release()
        await back.wait_no_senders(soon())
        back.close()
        await settle(cluster, before)


async def test_a_right_of_one_guest_goes_by_the_other(cluster: Cluster) -> None:
    """Node 0 passes a right on, and gets it from whoever has it: that is three nodes."""
    big, small = cluster.nodes
    before = rights(cluster)
    for owner, other in ((big, small), (small, big)):
        name = await cluster.host.lookup(owner.id, "echo", soon())
        with cluster.host.right(name) as right:
            to = kernel_port(other.id)
            items = (right.copied(), right.copied())
            with await cluster.host.ask(
                other.id, to, Service.ECHO, BODY, soon(), items=items
            ) as reply:
                assert [each and each.name for each in reply.rights] == [name, name]
                with reply.take(1) as again:
                    assert again.node_id == owner.id
                    assert await cluster.host.call(owner.id, again, 2000, BODY, soon()) == BODY
        cluster.host.let_go(owner.id, name)
        await settle(cluster, before)


async def until_they_met(cluster: Cluster, asked: Node, owner: Node) -> None:
    """Ask one guest's node server for a service of the other's until it has heard of that one: each
    tells the other that it is there, some time after their link came up."""
    request = node_lookup_request("echo", owner.id)
    async with asyncio.timeout(60):
        while True:
            to = bootstrap_port(asked.id)
            with await cluster.host.ask(
                asked.id, to, Service.NODE_LOOKUP, request, soon()
            ) as reply:
                try:
                    parse_node_lookup_reply(reply.body, reply.parts)
                except ServiceError as error:
                    if error.status != ErrorCode.NOT_FOUND:
                        raise
                else:
                    return


async def test_guests_send_each_other_rights(cluster: Cluster) -> None:
    """A lookup goes on to the other guest with node 0's right to answer; traffic has four rights in
    each message."""
    big, small = cluster.nodes
    for asked, owner in ((big, small), (small, big)):
        await until_they_met(cluster, asked, owner)
        request = node_lookup_request("echo", owner.id)
        to = bootstrap_port(asked.id)
        with await cluster.host.ask(asked.id, to, Service.NODE_LOOKUP, request, soon()) as reply:
            name = parse_node_lookup_reply(reply.body, reply.parts).name
            with reply.take(0) as right:
                assert (right.name, right.node_id) == (name, owner.id)
                assert await cluster.host.call(owner.id, right, 2000, BODY, soon()) == BODY
        stream = await asked.traffic(to=owner, size_bytes=501, rights=4)
        await nothing_is_lost(stream, 200)


async def test_the_death_of_a_guest_is_told_of_its_ports(cluster: Cluster) -> None:
    big, small = cluster.nodes
    port = cluster.host.port()
    right = cluster.host.right(await cluster.host.lookup(big.id, "echo", soon()))
    told = asyncio.Event()
    right.on_death(told.set)
    await big.crash()
    async with asyncio.timeout(10):
        await told.wait()
    assert right.is_dead
    assert not port.has_senders()
    assert await cluster.host.ping(small.id, soon()) > 0
