# SPDX-License-Identifier: MIT
"""Nodes crash and live again in turn, many times on one cluster, and nothing piles up."""

import os
from pathlib import Path

from emulator import Cluster, DeathNotice, FaultKind, Node

FAULTS = (FaultKind.CRASH, FaultKind.RESTART)
CYCLES = int(os.environ.get("MNLAB_SOAK_CYCLES", "10"))
WARM_UP = 4
RATE_HZ = 1000


async def scenario(cluster: Cluster) -> None:
    a, b, c = (cluster.node(name) for name in ("a", "b", "c"))
    await cycle(cluster, b, (a, c))
    for turn in range(WARM_UP):
        await cycle(cluster, *((b, (a, c)) if turn % 2 else (c, (a, b))))
    before = await footprint(a)
    for turn in range(CYCLES):
        await cycle(cluster, *((b, (a, c)) if turn % 2 else (c, (a, b))))
    after = await footprint(a)
    held = ", ".join(f"{name} {value}" for name, value in after.items())
    cluster.note(f"{CYCLES} crashes and restarts, every link back each time; now held: {held}")
    assert after == before, f"{CYCLES} cycles ago it was {before}"


async def cycle(cluster: Cluster, victim: Node, survivors: tuple[Node, Node]) -> None:
    """Crash a node under traffic from and to it, and bring it back."""
    first, second = survivors
    streams = [
        await first.traffic(to=victim, rate_hz=RATE_HZ),
        await victim.traffic(to=second, rate_hz=RATE_HZ),
    ]
    for stream in streams:
        await stream.wait_received(20)

    life = victim.incarnation
    await victim.crash()
    for survivor in survivors:
        await cluster.expect(
            DeathNotice, node=survivor, of=victim, of_incarnation=life, within_s=0.5
        )
    await victim.restart()
    await cluster.wait_links_up()
    for stream in streams:
        await stream.stop()


async def footprint(node: Node) -> dict[str, int]:
    """What the host and a node that never crashed hold on to."""
    inside = await node.statistics()
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "processes": len(children()),
        "shared memory": shared_memory_bytes(),
        "heap": inside.heap_used_bytes,
        "ports": inside.ports,
        "names": inside.names,
        "nodes": inside.nodes,
    }


def children() -> list[str]:
    """The process ids of what this process has started and not yet buried."""
    lists = Path("/proc/self/task").glob("*/children")
    return [pid for file in lists for pid in file.read_text().split()]


def shared_memory_bytes() -> int:
    """Shared memory that this process has mapped, and whatever lies in /dev/shm."""
    named = sum(file.stat().st_size for file in Path("/dev/shm").iterdir() if "mnlab" in file.name)
    maps = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    spans = [fields[0].split("-") for fields in maps if "memfd:mnlab" in fields[-1] + fields[-2]]
    return named + sum(int(end, 16) - int(start, 16) for start, end in spans)
