# SPDX-License-Identifier: MIT
"""What a node costs that does nothing: memory and processor time, from /proc."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from emulator.bench.figure import Figure, figure
from emulator.bench.pair import Pair, Wire
from emulator.runtime.cluster import Cluster, RunOptions

MEMORY = "memory.private_per_node_B"
IDLE = "idle.cpu_per_node_pct"
NAMES = (MEMORY, IDLE)
RUNS = 3
IDLE_S = 1.0
_NODES = 2

_MAPPING = re.compile(r"^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \S+ *(.*)$")
_FIELD = re.compile(r"^(\w+): +(\d+) kB$")

Wanted = Callable[[str], bool]


async def measure_footprint(
    pair: Pair, options: RunOptions, wanted: Wanted
) -> AsyncIterator[Figure]:
    """Memory and processor time of each node of an idle pair."""
    topology = pair.topology(Wire.SLEEPING)
    busy, memory = [], []
    async with Cluster.from_topology(topology, options=options) as cluster:
        pids = [node.pid for node in cluster.nodes if node.pid is not None]
        for _ in range(RUNS):
            before, began_s = [_cpu_s(pid) for pid in pids], time.monotonic()
            await asyncio.sleep(IDLE_S)  # the figure is about time passing
            passed_s = time.monotonic() - began_s
            busy += [
                100 * (_cpu_s(pid) - used) / passed_s
                for pid, used in zip(pids, before, strict=True)
            ]
        memory = [float(private_bytes(_smaps(pid))) for pid in pids]
    if wanted(pair.name(MEMORY)):
        yield figure(pair.name(MEMORY), "B", memory, virtual_cpus=_NODES)
    if wanted(pair.name(IDLE)):
        yield figure(pair.name(IDLE), "%", busy, virtual_cpus=_NODES)


def private_bytes(smaps: str) -> int:
    """What a machine takes for itself: dirty private pages, and the guest RAM it has touched.

    Args:
        smaps: its /proc/PID/smaps. Guest RAM is its largest memfd; a page of it counts once touched.
    """
    touched: dict[str, int] = {}
    private = 0
    mapping = ""
    for line in smaps.splitlines():
        start = _MAPPING.match(line)
        field = _FIELD.match(line)
        if start is not None:
            mapping = start.group(1)
        elif field is not None:
            name, kib = field.group(1), int(field.group(2))
            if "memfd:" in mapping:
                if name == "Rss":
                    touched[mapping] = touched.get(mapping, 0) + kib
            elif name == "Private_Dirty":
                private += kib
    return (private + max(touched.values(), default=0)) << 10


def _smaps(pid: int) -> str:
    return Path(f"/proc/{pid}/smaps").read_text()


def _cpu_s(pid: int) -> float:
    """Processor seconds a process has used, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # proc(5): 14 and 15
