# SPDX-License-Identifier: MIT
"""Two nodes talk through a third: its cables are cut, it crashes and comes back, and nothing is lost."""

from emulator import Cluster, DeathNotice, FaultKind

FAULTS = (FaultKind.CUT, FaultKind.SPLICE, FaultKind.CRASH)
RATE_HZ = 1000
MESSAGES = 100


async def scenario(cluster: Cluster) -> None:
    a, b, c = (cluster.node(name) for name in ("a", "b", "c"))
    (route,) = cluster.routes
    assert route.path == ("a", "b", "c")

    await a.ping(c)
    streams = [await a.traffic(to=c, rate_hz=RATE_HZ), await c.traffic(to=a, rate_hz=RATE_HZ)]
    for stream in streams:
        await stream.wait_received(MESSAGES)
    for cable in cluster.links:
        assert (await b.link_statistics(cable)).forwarded >= MESSAGES
    assert (await b.statistics()).refused == 0

    for cable in cluster.links:
        for way in (None, *cable.directions):
            await cable.cut(direction=way)
            await cable.wait_down(direction=way)
            await cable.splice(direction=way)
            await cable.wait_up()
            await route.wait_up()
            for stream in streams:
                await stream.wait_received(MESSAGES)

    await b.crash()
    for survivor in (a, c):
        await cluster.expect(DeathNotice, node=survivor, of=b, within_s=0.5)
    await b.restart()
    await route.wait_up()
    for stream in streams:
        await stream.wait_received(MESSAGES)

    for stream in streams:
        ledger = await stream.stop()
        assert ledger.received == ledger.sent
