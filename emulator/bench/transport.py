# SPDX-License-Identifier: MIT
"""Round trips, rates and bulk throughput between two kernels, and the raw ring beside them.

The limit of each figure is measured right before it, in the same two guests, over a second cable.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from emulator.bench.figure import RAW_ROUND_TRIP_UNFIT_S, Figure, figure
from emulator.bench.limits import raw_rate_hz, raw_round_trip_s
from emulator.bench.pair import Pair, Wire
from emulator.errors import DeadlineExpired
from emulator.runtime.cluster import Cluster, RunOptions
from emulator.runtime.node import Node

RUNS = 5
ROUND_TRIPS = 10_000
WARM_UP_ROUND_TRIPS = 5000  # the emulator translates what runs for the first time
SLOW_ROUND_TRIPS = 200
RATE_MESSAGES = 200_000  # through the raw ring
STREAM_S = 0.3
BULK_BYTES = 64 << 20  # through the raw ring
_NODES = 2
_US = 1e6
_NS_PER_S = 1e9
ANSWERS_WITHIN_S = 60.0  # on a machine that does much else, too

_ROUND_TRIPS = {"rtt.ivshmem.64B_us": 64, "rtt.ivshmem.120B_us": 120}
_BULK = {"bulk.ivshmem.4KiB_Bps": 4096, "bulk.ivshmem.64KiB_Bps": 65536}
RATE = "rate.ivshmem.64B_per_s"
CHECKED_BULK = "bulk.ivshmem.64KiB_crc_Bps"
FOUR_RIGHTS = "rights.four_ratio"
SLEEPING = "rtt.ivshmem.64B_sleeping_us"
SERIAL = "rtt.virtio_serial.64B_us"

POLLING_NAMES = (*_ROUND_TRIPS, RATE, FOUR_RIGHTS, *_BULK)
_RIGHTS = 4
_RIGHTS_BATCHES = 2

Wanted = Callable[[str], bool]


async def measure_polling(pair: Pair, options: RunOptions, wanted: Wanted) -> AsyncIterator[Figure]:
    """Everything over shared memory with both ends polling."""
    async with Cluster.from_topology(pair.topology(Wire.POLLING), options=options) as cluster:
        a, b = cluster.node("a"), cluster.node("b")
        for name, size_bytes in _ROUND_TRIPS.items():
            if wanted(pair.name(name)):
                yield await _round_trip(pair.name(name), a, b, size_bytes)
        if wanted(pair.name(RATE)):
            yield await _rate(pair.name(RATE), a, b)
        if wanted(pair.name(FOUR_RIGHTS)):
            yield await _rights_ratio(pair.name(FOUR_RIGHTS), a, b)
        for name, size_bytes in _BULK.items():
            if wanted(pair.name(name)):
                yield await _bulk(pair.name(name), a, b, size_bytes)


async def measure_checked(
    pair: Pair, options: RunOptions, _wanted: Wanted
) -> AsyncIterator[Figure]:
    """Bulk throughput with a CRC over every payload."""
    async with Cluster.from_topology(pair.topology(Wire.CHECKED), options=options) as cluster:
        yield await _bulk(pair.name(CHECKED_BULK), cluster.node("a"), cluster.node("b"), 65536)


async def measure_sleeping(
    pair: Pair, options: RunOptions, _wanted: Wanted
) -> AsyncIterator[Figure]:
    """The round trip when both ends sleep and are woken by the doorbell."""
    yield await _slow_round_trip(pair, Wire.SLEEPING, SLEEPING, options)


async def measure_serial(pair: Pair, options: RunOptions, _wanted: Wanted) -> AsyncIterator[Figure]:
    """The round trip over virtio-serial, through the orchestrator."""
    yield await _slow_round_trip(pair, Wire.SERIAL, SERIAL, options)


async def _round_trip(name: str, a: Node, b: Node, size_bytes: int) -> Figure:
    samples, limits = [], []
    await raw_round_trip_s(a, b, size_bytes=size_bytes, count=WARM_UP_ROUND_TRIPS)
    await _mean_s(a, b, count=WARM_UP_ROUND_TRIPS, size_bytes=size_bytes)
    for _ in range(RUNS):
        limits.append(await raw_round_trip_s(a, b, size_bytes=size_bytes, count=ROUND_TRIPS))
        samples.append(await _mean_s(a, b, count=ROUND_TRIPS, size_bytes=size_bytes))
    return figure(
        name,
        "us",
        [sample * _US for sample in samples],
        virtual_cpus=_NODES,
        limits=[limit * _US for limit in limits],
        fit=sorted(limits)[RUNS // 2] <= RAW_ROUND_TRIP_UNFIT_S,
    )


async def _slow_round_trip(pair: Pair, wire: Wire, name: str, options: RunOptions) -> Figure:
    samples = []
    async with Cluster.from_topology(pair.topology(wire), options=options) as cluster:
        a, b = cluster.node("a"), cluster.node("b")
        for _ in range(RUNS):
            mean_s = await _mean_s(a, b, count=SLOW_ROUND_TRIPS, size_bytes=64)
            samples.append(mean_s * _US)
    return figure(pair.name(name), "us", samples, virtual_cpus=_NODES)


async def _mean_s(a: Node, b: Node, *, count: int, size_bytes: int) -> float:
    """The mean of so many round trips, one after another, by a's clock."""
    reply = await a.measure_round_trips(
        b, count=count, size_bytes=size_bytes, within_s=ANSWERS_WITHIN_S
    )
    if reply.answered < count:
        raise DeadlineExpired(
            f"{reply.answered} of {count} round trips were answered in {ANSWERS_WITHIN_S:g} s",
            hint="see the events in the run folder",
        )
    return reply.total_ns / count / _NS_PER_S


async def _rate(name: str, a: Node, b: Node) -> Figure:
    samples, limits = [], []
    for _ in range(RUNS):
        limits.append(await raw_rate_hz(a, b, size_bytes=64, count=RATE_MESSAGES))
        samples.append(await _one_way_hz(a, b, size_bytes=64))
    return figure(name, "1/s", samples, virtual_cpus=_NODES, limits=limits)


async def _rights_ratio(name: str, a: Node, b: Node) -> Figure:
    """The least time of a message with four send rights to ports that the receiver knows, as a
    multiple of that of a plain one; both are measured in turns."""
    samples = []
    for _ in range(RUNS):
        plain_hz, rights_hz = [], []
        for _ in range(_RIGHTS_BATCHES):
            plain_hz.append(await _one_way_hz(a, b, size_bytes=64))
            rights_hz.append(await _one_way_hz(a, b, size_bytes=64, rights=_RIGHTS))
        samples.append(max(plain_hz) / max(rights_hz))
    return figure(name, "x", samples, virtual_cpus=_NODES)


async def _bulk(name: str, a: Node, b: Node, size_bytes: int) -> Figure:
    count = BULK_BYTES // size_bytes
    samples, limits = [], []
    for _ in range(RUNS):
        raw_hz = await raw_rate_hz(a, b, size_bytes=size_bytes, count=count)
        limits.append(raw_hz * size_bytes)
        hz = await _one_way_hz(a, b, size_bytes=size_bytes)
        samples.append(hz * size_bytes)
    return figure(name, "B/s", samples, virtual_cpus=_NODES, limits=limits)


async def _one_way_hz(a: Node, b: Node, *, size_bytes: int, rights: int = 0) -> float:
    """Messages a second from the first send to the last settlement, by a's clock."""
    stream = await a.traffic(to=b, size_bytes=size_bytes, check_content=False, rights=rights)
    await asyncio.sleep(STREAM_S)  # the host keeps quiet: both cores belong to the guests
    ledger = await stream.stop()
    return ledger.acked / ledger.elapsed_s
