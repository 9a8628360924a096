# SPDX-License-Identifier: MIT
"""Two cables between two nodes: traffic moves to the spare when the preferred one is cut, and comes back."""

from emulator import Cluster, FaultKind, Link, Node, Stream

FAULTS = (FaultKind.CUT, FaultKind.SPLICE)
RATE_HZ = 1000
MESSAGES = 200


async def scenario(cluster: Cluster) -> None:
    a, b = cluster.node("a"), cluster.node("b")
    memory, serial = cluster.link("memory"), cluster.link("serial")
    streams = [await a.traffic(to=b, rate_hz=RATE_HZ), await b.traffic(to=a, rate_hz=RATE_HZ)]

    await expect_carried(a, memory, serial, streams)

    await memory.cut()
    await memory.wait_down()
    await expect_carried(a, serial, memory, streams)
    await memory.splice()
    await memory.wait_up()
    await expect_carried(a, memory, serial, streams)

    for way in memory.directions:
        await memory.cut(direction=way)
        await memory.wait_down(direction=way)
        await flow(streams)
        await memory.splice(direction=way)
        await memory.wait_up()
        await expect_carried(a, memory, serial, streams)

    await serial.cut()
    await serial.wait_down()
    await expect_carried(a, memory, serial, streams)
    await serial.splice()
    await serial.wait_up()

    for stream in streams:
        ledger = await stream.stop()
        assert ledger.received == ledger.sent


async def flow(streams: list[Stream]) -> None:
    """Let every stream move on."""
    for stream in streams:
        await stream.wait_received(MESSAGES)


async def expect_carried(node: Node, carrier: Link, other: Link, streams: list[Stream]) -> None:
    """What `node` sends goes over one cable, and nothing over the other; the change-over may need a moment."""
    await flow(streams)
    carried_before = (await node.link_statistics(carrier)).tx_data_frames
    other_before = (await node.link_statistics(other)).tx_data_frames
    await flow(streams)
    carried = (await node.link_statistics(carrier)).tx_data_frames - carried_before
    strayed = (await node.link_statistics(other)).tx_data_frames - other_before
    assert carried >= MESSAGES
    assert strayed == 0
