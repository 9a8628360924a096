# SPDX-License-Identifier: MIT
"""Two nodes boot, their cable comes up, and each reaches the other's kernel."""

from emulator import Cluster


async def scenario(cluster: Cluster) -> None:
    a, b = cluster.node("a"), cluster.node("b")
    assert cluster.link("a", "b").is_up

    await a.ping(b)
    await b.ping(a)

    there = await a.traffic(to=b, count=1000)
    back = await b.traffic(to=a, count=1000)
    for stream in (there, back):
        await stream.wait_done()
        ledger = await stream.stop()
        assert ledger.received == ledger.sent == 1000
