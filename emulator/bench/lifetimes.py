# SPDX-License-Identifier: MIT
"""Boot, crash and restart, in the wall clock's seconds: what a user waits for."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable

from emulator.bench.figure import Figure, figure
from emulator.bench.limits import bare_start_s
from emulator.bench.pair import Pair, Wire
from emulator.events.types import DeathNotice
from emulator.runtime.cluster import Cluster, RunOptions

RUNS = 7
BOOT = "boot.links_up_s"
REACHABLE = "crash.reachable_s"
NOTICE = "crash.notice_s"
CRASH_NAMES = (REACHABLE, NOTICE)
_NODES = 2
_NS_PER_S = 1_000_000_000

Wanted = Callable[[str], bool]


async def measure_boot(pair: Pair, options: RunOptions, _wanted: Wanted) -> AsyncIterator[Figure]:
    """From the start of both machines to every link up and a message answered."""
    samples, limits = [], []
    for _ in range(RUNS):
        limits.append(await bare_start_s([pair.first, pair.second]))
        began_s = time.monotonic()
        topology = pair.topology(Wire.SLEEPING)
        async with Cluster.from_topology(topology, options=options) as cluster:
            await cluster.node("a").ping(cluster.node("b"))
            samples.append(time.monotonic() - began_s)
    yield figure(pair.name(BOOT), "s", samples, virtual_cpus=_NODES, limits=limits)


async def measure_crash(pair: Pair, options: RunOptions, wanted: Wanted) -> AsyncIterator[Figure]:
    """From SIGKILL to the survivor's notice, and to the node reachable again as a new life."""
    reachable, notices, limits = [], [], []
    topology = pair.topology(Wire.SLEEPING)
    async with Cluster.from_topology(topology, options=options) as cluster:
        a, b = cluster.node("a"), cluster.node("b")
        for _ in range(RUNS):
            limits.append(await bare_start_s([pair.second]))
            life, began_ns = b.incarnation, time.monotonic_ns()
            await b.crash()
            await b.restart()
            await cluster.wait_links_up()
            await a.ping(b)
            reachable.append((time.monotonic_ns() - began_ns) / _NS_PER_S)
            notice = next(
                event
                for event in reversed(cluster.stream.history)
                if isinstance(event, DeathNotice) and event.of_incarnation == life
            )
            notices.append((notice.time_monotonic_ns - began_ns) / _NS_PER_S)
    if wanted(pair.name(REACHABLE)):
        yield figure(pair.name(REACHABLE), "s", reachable, virtual_cpus=_NODES, limits=limits)
    if wanted(pair.name(NOTICE)):
        yield figure(pair.name(NOTICE), "s", notices, virtual_cpus=_NODES)
