# SPDX-License-Identifier: MIT
"""A ring of five architectures, all byte orders and word sizes, exchanges data and rights; one dies and comes back."""

from itertools import pairwise

from emulator import Cluster, DeathNotice, FaultKind, Node, Stream

FAULTS = (FaultKind.CRASH, FaultKind.RESTART)
RATE_HZ = 300
RIGHTS = 4  # to ports, in every message
SIZE_BYTES = 5003  # odd, and cut into several frames on the way


async def scenario(cluster: Cluster) -> None:
    ring = (*cluster.nodes, cluster.nodes[0])
    hops = [*pairwise(ring), *pairwise(reversed(ring))]
    around = await talk(hops)

    victim = cluster.node("b")  # big-endian, between a PC and a 32-bit node
    life = victim.incarnation
    await victim.crash()
    for name in ("a", "c"):
        await cluster.expect(
            DeathNotice, node=cluster.node(name), of=victim, of_incarnation=life, within_s=0.5
        )
    await victim.restart()
    await cluster.wait_links_up()

    anew = await talk([hop for hop in hops if victim in hop])
    for node, following in hops:
        await node.ping(following)
    for stream in (*around, *anew):
        await stream.stop()


async def talk(hops: list[tuple[Node, Node]]) -> list[Stream]:
    """Begin a stream over each hop, and wait until something of each has arrived."""
    streams = [
        await source.traffic(to=sink, size_bytes=SIZE_BYTES, rate_hz=RATE_HZ, rights=RIGHTS)
        for source, sink in hops
    ]
    for stream in streams:
        await stream.wait_received(100, within_s=60)
    return streams
