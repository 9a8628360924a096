# SPDX-License-Identifier: MIT
"""Makes a failing schedule small: what is left is what it takes.

Halves are dropped first, then quarters and so on down to single entries; then durations and
streams are halved. Whatever still fails in the same way is kept.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from emulator.sim.kinds import Kind
from emulator.sim.schedule import Entry, Schedule

__all__ = ["shrink"]

_COUNT_ARGUMENT = 2  # of a STREAM: how many messages


def shrink(schedule: Schedule, fails: Callable[[Schedule], bool], *, tries: int = 2000) -> Schedule:
    """Return the smallest schedule found that still fails.

    Args:
        schedule: one that fails.
        fails: whether a schedule fails in the same way.
        tries: calls of `fails` after which it is good enough.
    """
    budget = _Budget(fails, tries)
    before = -1
    while before != len(schedule.entries) and budget.left:
        before = len(schedule.entries)
        schedule = _drop(schedule, budget)
    return _halve(schedule, budget)


class _Budget:
    """So many questions and no more."""

    def __init__(self, fails: Callable[[Schedule], bool], tries: int) -> None:
        self._fails = fails
        self.left = tries

    def fails(self, schedule: Schedule) -> bool:
        if self.left == 0:
            return False
        self.left -= 1
        return self._fails(schedule)


def _drop(schedule: Schedule, budget: _Budget) -> Schedule:
    size = max(1, len(schedule.entries) // 2)
    while True:
        start = 0
        while start < len(schedule.entries):
            entries = schedule.entries[:start] + schedule.entries[start + size :]
            smaller = schedule.with_entries(entries)
            if budget.fails(smaller):
                schedule = smaller
            else:
                start += size
        if size == 1 or not budget.left:
            return schedule
        size //= 2


def _halve(schedule: Schedule, budget: _Budget) -> Schedule:
    for index in range(len(schedule.entries)):
        changed = True
        while changed and budget.left:
            changed = False
            for entry in _lesser(schedule.entries[index]):
                entries = (*schedule.entries[:index], entry, *schedule.entries[index + 1 :])
                smaller = schedule.with_entries(entries)
                if budget.fails(smaller):
                    schedule = smaller
                    changed = True
                    break
    return schedule


def _lesser(entry: Entry) -> Iterator[Entry]:
    if entry.duration_ns:
        yield dataclasses.replace(entry, duration_ns=entry.duration_ns // 2)
    count = entry.arguments[_COUNT_ARGUMENT]
    if entry.kind in (Kind.STREAM, Kind.BURST) and count:
        first, second, _, fourth = entry.arguments
        yield dataclasses.replace(entry, arguments=(first, second, count // 2, fourth))
