# SPDX-License-Identifier: MIT
"""Types of the simulator's functions and structs, for the type checker only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from cffi import FFI

CData = FFI.CData

__all__ = ["CData", "EntryFields", "ResultFields", "SimFunctions", "TotalsFields"]


class EntryFields(Protocol):
    """struct sim_entry"""

    time_ns: int
    duration_ns: int
    kind: int
    target: int
    arguments: Sequence[int]


class ResultFields(Protocol):
    """struct sim_result"""

    seed: int
    trace: int
    world_ns: int
    steps: int
    frames: int
    converged_ns: int
    failed: int
    first_failed: int
    operations: int
    lives: int
    deaths: int
    sent: int
    settled: int
    failures: int
    unknown: int
    received: int
    asked: Sequence[int]
    fired: Sequence[int]
    verdicts: Sequence[int]
    text: CData


class TotalsFields(Protocol):
    """struct sim_totals; the other numbers are read by name."""

    converged_max_ns: int
    asked: Sequence[int]
    fired: Sequence[int]
    passed: Sequence[int]
    broken: Sequence[int]


class SimFunctions(Protocol):
    """What `libmnlab_sim.so` offers."""

    sim_sizes: Sequence[int]

    def sim_generate(  # noqa: PLR0917  # the C function has them, too
        self,
        seed: int,
        profile: int,
        node_count: int,
        operations: int,
        settings: CData,
        entries: CData,
        /,
    ) -> int: ...
    def sim_run(self, settings: CData, entries: CData, count: int, result: CData, /) -> int: ...
    def sim_run_range(  # noqa: PLR0917
        self,
        first: int,
        count: int,
        profile: int,
        node_count: int,
        operations: int,
        totals: CData,
        failure: CData,
        /,
    ) -> int: ...
    def sim_read_events(self, text: CData, size: int, /) -> int: ...
    def sim_watch(self, word: CData, /) -> None: ...
