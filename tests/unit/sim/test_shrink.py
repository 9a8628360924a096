# SPDX-License-Identifier: MIT
"""Shrinking keeps what it takes to fail, and nothing else."""

from __future__ import annotations

from emulator.sim import Entry, Kind, Schedule, shrink


def entry(number: int, kind: Kind = Kind.SEND, duration_ns: int = 0) -> Entry:
    return Entry(
        time_ns=number, kind=kind, target=0, duration_ns=duration_ns, arguments=(0, 0, 8, 0)
    )


def schedule(count: int) -> Schedule:
    return Schedule(settings={}, entries=tuple(entry(number) for number in range(count)))


def test_two_entries_that_must_meet_are_left() -> None:
    def fails(candidate: Schedule) -> bool:
        return {13, 77} <= {each.time_ns for each in candidate.entries}

    small = shrink(schedule(100), fails)
    assert [each.time_ns for each in small.entries] == [13, 77]


def test_nothing_is_left_of_what_always_fails() -> None:
    assert shrink(schedule(50), lambda _candidate: True).entries == ()


def test_durations_and_streams_are_halved() -> None:
    whole = Schedule(settings={}, entries=(entry(1, Kind.STREAM, duration_ns=1000),))

    def fails(candidate: Schedule) -> bool:
        return (
            len(candidate.entries) == 1
            and candidate.entries[0].duration_ns >= 100
            and candidate.entries[0].arguments[2] >= 2
        )

    (left,) = shrink(whole, fails).entries
    assert (left.duration_ns, left.arguments[2]) == (125, 2)


def test_it_ends_when_its_tries_do() -> None:
    asked = 0

    def fails(_candidate: Schedule) -> bool:
        nonlocal asked
        asked += 1
        return False

    assert len(shrink(schedule(100), fails, tries=5).entries) == 100
    assert asked == 5
