# SPDX-License-Identifier: MIT
"""A node is killed under traffic, lives again, and every link comes back with it."""

from emulator import Cluster, DeathNotice, FaultKind

FAULTS = (FaultKind.CRASH, FaultKind.RESTART, FaultKind.CUT, FaultKind.SPLICE)
RATE_HZ = 1000


async def scenario(cluster: Cluster) -> None:
    a, b, c = (cluster.node(name) for name in ("a", "b", "c"))
    around = [
        await a.traffic(to=b, rate_hz=RATE_HZ),
        await b.traffic(to=c, rate_hz=RATE_HZ),
        await c.traffic(to=a, rate_hz=RATE_HZ),
    ]
    for stream in around:
        await stream.wait_received(200)

    first_life = b.incarnation
    await b.crash()
    for survivor in (a, c):
        await cluster.expect(
            DeathNotice, node=survivor, of=b, of_incarnation=first_life, within_s=0.5
        )

    await b.restart()
    assert b.incarnation > first_life
    await cluster.wait_links_up()
    anew = [await a.traffic(to=b, rate_hz=RATE_HZ), await b.traffic(to=c, rate_hz=RATE_HZ)]

    for stream in anew:
        await stream.wait_received(200)

    cable = cluster.link("a", "c")
    await cable.cut()
    await cable.wait_down()
    await cable.splice()
    await cable.wait_up()

    await around[2].wait_received(200)

    await a.ping(b)
    await c.ping(a)
    for stream in (*around, *anew):
        await stream.stop()
