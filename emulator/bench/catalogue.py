# SPDX-License-Identifier: MIT
"""Every figure by its name, and how each is measured.

Figures that need the same cluster are one group and share a boot.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass

from emulator.bench import footprint, lifetimes, servers, transport
from emulator.bench.figure import Figure
from emulator.bench.pair import PAIRS, Pair
from emulator.runtime.cluster import RunOptions

Wanted = Callable[[str], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    names: tuple[str, ...]
    measure: Callable[[Pair, RunOptions, Wanted], AsyncIterator[Figure]]


_GROUPS = (
    _Group(names=(lifetimes.BOOT,), measure=lifetimes.measure_boot),
    _Group(names=transport.POLLING_NAMES, measure=transport.measure_polling),
    _Group(names=(transport.CHECKED_BULK,), measure=transport.measure_checked),
    _Group(names=(transport.SLEEPING,), measure=transport.measure_sleeping),
    _Group(names=(transport.SERIAL,), measure=transport.measure_serial),
    _Group(names=lifetimes.CRASH_NAMES, measure=lifetimes.measure_crash),
    _Group(names=servers.NAMES, measure=servers.measure_servers),
    _Group(names=footprint.NAMES, measure=footprint.measure_footprint),
)

NAMES: tuple[str, ...] = tuple(
    pair.name(name) for pair in PAIRS for group in _GROUPS for name in group.names
)
"""The name of every figure, in the order in which they are measured."""


async def measure(names: Collection[str], options: RunOptions) -> AsyncIterator[Figure]:
    """Measure figures, one after another.

    Args:
        names: which; of `NAMES`.
        options: where the run folders of the measured clusters go.

    Yields:
        Each figure as soon as it is there.

    Raises:
        MnlabError: a cluster did not come up, or a guest did not answer.
    """
    for pair in PAIRS:
        for group in _GROUPS:
            if any(pair.name(name) in names for name in group.names):
                async for figure in group.measure(pair, options, names.__contains__):
                    yield figure
