# SPDX-License-Identifier: MIT
"""Rows of docs/spec/gaps.md as they are seen on machines: the firmware in QEMU, over real cables."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from emulator import Cluster, DeathNotice, GuestError
from emulator.events import types
from emulator.model import Arch, DeathCause
from emulator.protocol.names import make_name, tag_of, tag_of_incarnation
from emulator.runtime.deadline import Deadline
from emulator.testing.clusters import cluster_of, link_text, node_text

pytestmark = [pytest.mark.qemu, pytest.mark.slow, pytest.mark.usefixtures("real_machines")]

TOPOLOGY = "".join(
    [
        "[cluster]\nnodes_max = 256\n",
        node_text("a") + "id = 255\n",
        node_text("b", Arch.AARCH64_BE) + "id = 7\n",
        node_text("c", Arch.RISCV32),
        link_text("a", "b"),
        link_text("b", "c", "virtio-serial"),
    ]
)


def _soon() -> Deadline:
    return Deadline.after(2)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with cluster_of(TOPOLOGY, tmp_path) as running:
        yield running


async def test_A1_ids_come_from_the_topology(cluster: Cluster) -> None:
    """Each node has the id of its boot page and is reached under it."""
    assert [node.id for node in cluster.nodes] == [255, 7, 3]
    for node in cluster.nodes:
        assert await cluster.host.ping(node.id, _soon()) > 0


async def test_A7_a_cluster_of_256(cluster: Cluster) -> None:
    """Node 255 of 256 talks to node 7."""
    assert await cluster.node("a").ping(cluster.node("b")) > 0


async def test_C1_byte_orders_and_data_models_talk(cluster: Cluster) -> None:
    """A little-endian LP64, a big-endian LP64 and a little-endian ILP32 node exchange checked contents."""
    a, b, c = cluster.nodes
    for source, sink in ((a, b), (b, a), (b, c), (c, b)):
        stream = await source.traffic(to=sink, size_bytes=5000, count=20, check_content=True)
        await stream.wait_done()
        ledger = await stream.stop()
        assert (ledger.received, ledger.corrupt) == (20, 0)


async def test_D8_a_restarted_node_gives_other_names(cluster: Cluster) -> None:
    """The same server of two lives has two names, and the old one is refused."""
    a = cluster.node("a")
    before = await a.port("echo")
    await a.crash()
    await a.restart()
    after = await a.port("echo")
    assert tag_of(before) != tag_of(after) == tag_of_incarnation(a.incarnation)
    with pytest.raises(GuestError):
        await cluster.host.send(before, 2000, b"late", _soon())


async def test_B11_the_end_of_a_node_is_told_to_its_peers(cluster: Cluster) -> None:
    """Who knew the node is told at once, with the reason."""
    b = cluster.node("b")
    life = b.incarnation
    await b.crash()
    for name in ("a", "c"):
        notice = await cluster.expect(
            DeathNotice, node=cluster.node(name), of=b, of_incarnation=life, within_s=1
        )
        assert notice.cause is DeathCause.HOST


async def test_F3_one_direction_goes_down_alone(cluster: Cluster) -> None:
    """A cut one way takes one direction down, nobody dies, and what waited arrives."""
    a, b = cluster.node("a"), cluster.node("b")
    link = cluster.link(a, b)
    stream = await a.traffic(to=b, rate_hz=500)
    await stream.wait_received(20)
    await link.cut(direction="a->b")
    await link.wait_down(direction="a->b")
    await link.splice(direction="a->b")
    await link.wait_up()
    await stream.wait_received(20)
    ledger = await stream.stop()
    assert ledger.received == ledger.sent
    assert not [event for event in cluster.stream.history if isinstance(event, types.DeathNotice)]


async def test_I4_an_unknown_destination_is_refused(cluster: Cluster) -> None:
    """A message to a name that nobody has comes back as refused."""
    with pytest.raises(GuestError, match="UNKNOWN_NAME"):
        await cluster.host.send(make_name(255, 0, 77), 1, b"", _soon())


async def test_K5_the_kernel_itself_acknowledges(cluster: Cluster) -> None:
    """A message to a kernel port is settled though no thread of a server receives it."""
    a = cluster.node("a")
    await cluster.host.send(await a.port(), 4711, b"", _soon())


async def test_M13_versions_are_told_in_training(cluster: Cluster) -> None:
    """Every link that is up was trained in a version that both ends have."""
    for link in cluster.links:
        assert link.is_up
        for node in (cluster.node(name) for name in link.ends):
            assert (await node.link_statistics(link)).trained >= 1
