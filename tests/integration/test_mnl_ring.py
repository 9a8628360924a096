# SPDX-License-Identifier: MIT
"""A link driver on the published interface, loaded as a module, as the only link between two guests:
`firmware/servers/mnl_ring`, described in docs/guide/phy-driver.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator import Cluster, DeathNotice
from emulator.loader import Code, LoaderError, State
from emulator.model import Arch
from emulator.testing.clusters import cluster_of, nothing_is_lost, pair_text

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.slow,
    pytest.mark.timeout(90),
    pytest.mark.usefixtures("real_machines"),
]

DRIVER = "mnl_ring"
# There is no second way to a peer with a driver all the same.
FORWARDED = "[cluster]\nhost_forwards = true\n"


def pair(
    tmp_path: Path,
    first: Arch = Arch.X86_64,
    second: Arch = Arch.X86_64,
    driver: str = DRIVER,
) -> Cluster:
    text = f'{FORWARDED}{pair_text(first, second)}driver = "{driver}"\n'
    return cluster_of(text, tmp_path)


@pytest.mark.parametrize(
    ("first", "second"),
    [(Arch.X86_64, Arch.AARCH64), (Arch.AARCH64_BE, Arch.RISCV64), (Arch.RISCV32, Arch.X86_64)],
)
async def test_it_is_the_only_link_of_its_peer(tmp_path: Path, first: Arch, second: Arch) -> None:
    async with pair(tmp_path, first, second) as cluster:
        a, b = cluster.nodes
        assert cluster.routes == ()
        for node in cluster.nodes:
            names = await node.loader.server_list()
            assert names[:2] == ("node", DRIVER)
            assert "phy_ivshmem" not in names
        await a.ping(b, size_bytes=1 << 20)
        await b.ping(a)
        streams = [await a.traffic(to=b, size_bytes=40_000), await b.traffic(to=a)]
        for stream in streams:
            await nothing_is_lost(stream, 200)


async def test_either_direction_is_cut_and_spliced_and_nothing_is_lost(tmp_path: Path) -> None:
    async with pair(tmp_path) as cluster:
        a, b = cluster.nodes
        link = cluster.link(a, b)
        streams = [await a.traffic(to=b, size_bytes=20_000), await b.traffic(to=a)]
        for direction in ("a->b", "b->a", None):
            for stream in streams:
                await stream.wait_received(100)
            await link.cut(direction=direction)
            await link.wait_down(direction=direction)
            await link.splice(direction=direction)
            await link.wait_up(within_s=1.0)
        for stream in streams:
            await nothing_is_lost(stream, 100)


async def test_it_is_unloaded_and_loaded_while_messages_wait(tmp_path: Path) -> None:
    async with pair(tmp_path) as cluster:
        a, b = cluster.nodes
        link = cluster.link(a, b)
        streams = [await a.traffic(to=b, rate_hz=1000), await b.traffic(to=a, rate_hz=1000)]
        for node in (a, b):
            for stream in streams:
                await stream.wait_received(100)
            with pytest.raises(LoaderError) as caught:
                await node.loader.unload_server(DRIVER)
            assert caught.value.code is Code.BUSY
            # Null from mnl_msg_to_node(): its links go down, the lives of both nodes go on.
            await node.loader.unload_server(DRIVER, quiesce=True)
            assert (await node.loader.server_info(DRIVER)).state == State.ALLOCATED
            await link.wait_down()
            await node.loader.load_server(DRIVER)
            await link.wait_up()
        for stream in streams:
            await nothing_is_lost(stream, 100)
        assert not [event for event in cluster.stream.history if isinstance(event, DeathNotice)]


async def test_a_peer_that_crashes_or_resets_comes_back(tmp_path: Path) -> None:
    async with pair(tmp_path) as cluster:
        a, b = cluster.nodes
        for end in (b.crash, b.reset):
            stream = await a.traffic(to=b, rate_hz=1000)
            await stream.wait_received(100)
            await end()
            await cluster.expect(DeathNotice, node=a, of=b, within_s=1.0)
            await stream.stop()
            if end == b.crash:
                await b.restart()
            await cluster.wait_links_up()
            await a.ping(b)
            await b.ping(a)


async def test_a_driver_by_path(tmp_path: Path) -> None:
    """What a topology names by path is any object of that name."""
    async with pair(tmp_path) as cluster:
        built = cluster.node("a").server_object(DRIVER)
        copied = tmp_path / "mnl_ring.kern_server"
        copied.write_bytes(built.read_bytes())
    async with pair(tmp_path, driver=str(copied)) as cluster:
        a, b = cluster.nodes
        assert str(copied) in (await a.loader.server_info(DRIVER)).relocatable
        await a.ping(b)
