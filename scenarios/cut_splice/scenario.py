# SPDX-License-Identifier: MIT
"""Cables are cut and spliced under traffic, whole and one way; messages wait and none is lost."""

from emulator import Cluster, FaultKind

FAULTS = (FaultKind.CUT, FaultKind.SPLICE)
RATE_HZ = 1000


async def scenario(cluster: Cluster) -> None:
    a, b, c = (cluster.node(name) for name in ("a", "b", "c"))
    streams = [
        await source.traffic(to=sink, rate_hz=RATE_HZ)
        for source, sink in ((a, b), (b, a), (b, c), (c, b))
    ]

    for cable in cluster.links:
        await cable.cut()
        await cable.wait_down()
        await cable.splice()
        await cable.wait_up()
        for stream in streams:
            await stream.wait_received(50)

        for way in cable.directions:
            await cable.cut(direction=way)
            await cable.wait_down(direction=way)
            await cable.splice(direction=way)
            await cable.wait_up()
            for stream in streams:
                await stream.wait_received(50)

    await a.ping(b)
    await c.ping(b)
    for stream in streams:
        ledger = await stream.stop()
        assert ledger.received == ledger.sent
