# SPDX-License-Identifier: MIT
"""The driver of a loaded link is replaced by another build; messages take the second link."""

from emulator import Cluster
from emulator.loader import State

SWAPS = 4
RATE_HZ = 2000
DRIVER = "phy_ivshmem"


async def scenario(cluster: Cluster) -> None:
    a, b = cluster.node("a"), cluster.node("b")
    memory, serial = cluster.link("memory"), cluster.link("serial")
    builds = [a.server_object(name) for name in ("phy_ivshmem_faulty", DRIVER)]
    streams = [await source.traffic(to=sink, rate_hz=RATE_HZ) for source, sink in ((a, b), (b, a))]

    for swap in range(SWAPS):
        for stream in streams:
            await stream.wait_received(100)
        await a.loader.replace_server(DRIVER, builds[swap % 2])
        assert (await a.loader.server_info(DRIVER)).relocatable == str(builds[swap % 2])
        await memory.wait_up()
        assert serial.is_up

    await a.loader.unload_server(DRIVER, quiesce=True)
    await memory.wait_down(direction="a->b")
    for stream in streams:
        await stream.wait_received(100)  # over the second link alone
    await a.loader.load_server(DRIVER)
    await memory.wait_up()

    for stream in streams:
        ledger = await stream.stop()
        assert ledger.received == ledger.acked == ledger.sent
    info = await a.loader.server_info(DRIVER)
    assert info.state == State.LOADED
    assert not info.taint
