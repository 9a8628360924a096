# SPDX-License-Identifier: MIT
"""A node writes garbage into a cable; its peer's other link does not notice, and the cable comes back."""

from emulator import Cluster, FaultKind, HostilePart

FAULTS = (FaultKind.GARBAGE,)
RATE_HZ = 1000


async def scenario(cluster: Cluster) -> None:
    a, b, mallory = (cluster.node(name) for name in ("a", "b", "mallory"))
    sound, poisoned = cluster.link("a", "b"), cluster.link("poisoned")
    bystanders = [await a.traffic(to=b, rate_hz=RATE_HZ), await b.traffic(to=a, rate_hz=RATE_HZ)]

    for seed, part in enumerate(HostilePart, start=1):
        trained_before = (await b.link_statistics(poisoned)).trained
        dropped_before = sum((await b.link_statistics(poisoned)).drops)

        await mallory.write_garbage(poisoned, parts=part, seed=seed)

        statistics = await b.link_statistics(poisoned)
        assert statistics.trained > trained_before or sum(statistics.drops) > dropped_before
        await poisoned.wait_up()
        await b.ping(mallory)
        await mallory.ping(b)
        for stream in bystanders:
            await stream.wait_received(50)

    await mallory.write_garbage(poisoned, seconds=1.0)
    await poisoned.wait_up()
    again = [
        await mallory.traffic(to=b, rate_hz=RATE_HZ),
        await b.traffic(to=mallory, rate_hz=RATE_HZ),
    ]
    for stream in again:
        await stream.wait_received(200)

    for node in (a, b):
        statistics = await node.link_statistics(sound)
        assert statistics.trained == 1
        assert not any(statistics.drops)
    for stream in (*bystanders, *again):
        ledger = await stream.stop()
        assert ledger.received == ledger.sent
