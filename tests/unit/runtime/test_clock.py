# SPDX-License-Identifier: MIT
"""The clock map: bounds that hold, and what happens when they do not fit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from emulator.runtime.clock import ClockMap

MS = 1_000_000
S = 1_000 * MS


def test_launch_and_sight_bound_the_offset() -> None:
    clock = ClockMap(100 * MS)
    clock.happened_before(5 * MS, 125 * MS)  # offset at most 120 ms
    time_ns, error_ns = clock.host_time(5 * MS, 125 * MS)
    assert time_ns - error_ns <= 105 * MS
    assert time_ns + error_ns >= 125 * MS - 1
    assert error_ns < 11 * MS


def test_absence_at_an_earlier_look_narrows_it() -> None:
    clock = ClockMap(100 * MS)
    clock.happened_before(5 * MS, 125 * MS)
    clock.happened_after(5 * MS, 123 * MS)
    time_ns, error_ns = clock.host_time(5 * MS, 125 * MS)
    assert abs(time_ns - 124 * MS) <= error_ns
    assert error_ns < 2 * MS


def test_exchange_narrows_it_most() -> None:
    clock = ClockMap(100 * MS)
    clock.happened_before(5 * MS, 125 * MS)
    clock.measured(110 * MS, 50_000, 126 * MS)
    time_ns, error_ns = clock.host_time(6 * MS, 127 * MS)
    assert abs(time_ns - 116 * MS) <= error_ns
    assert error_ns < 60_000


def test_bounds_widen_with_time() -> None:
    clock = ClockMap(0)
    clock.measured(0, 1000, 0)
    assert clock.host_time(0, 0)[1] < clock.host_time(100 * S, 101 * S)[1]


def test_sight_wins_over_absence() -> None:
    clock = ClockMap(0)
    clock.measured(10 * MS, 1000, 10 * MS)
    clock.happened_after(5 * MS, 30 * MS)  # says offset >= 25 ms: preempted between stamp and store
    time_ns, error_ns = clock.host_time(5 * MS, 31 * MS)
    assert abs(time_ns - 15 * MS) <= error_ns


def test_stopped_clock_falls_back() -> None:
    clock = ClockMap(0)
    clock.measured(10 * MS, 1000, 10 * MS)
    clock.stood_still()
    clock.happened_before(20 * MS, 530 * MS)
    time_ns, error_ns = clock.host_time(20 * MS, 530 * MS)
    assert abs(time_ns - 530 * MS) <= error_ns + 1
    clock.measured(510 * MS, 1000, 531 * MS)
    assert clock.host_time(21 * MS, 531 * MS)[1] < 10_000


def test_time_is_never_in_the_future() -> None:
    clock = ClockMap(0)
    clock.measured(0, 1000, 0)
    time_ns, _ = clock.host_time(50 * MS, 40 * MS)
    assert time_ns <= 40 * MS


@given(
    offset=st.integers(0, 10 * S),
    steps=st.lists(
        st.tuples(st.integers(0, 5 * MS), st.integers(0, 5 * MS), st.integers(1, 50 * MS)),
        min_size=1,
        max_size=30,
    ),
)
def test_truth_stays_inside_the_bounds(offset: int, steps: list[tuple[int, int, int]]) -> None:
    """Looks at any moments around events at any moments never exclude the true offset."""
    clock = ClockMap(offset)
    host_ns = offset
    for before, after, pause in steps:
        looked_before, host_ns = host_ns, host_ns + pause
        event_ns = min(max(looked_before, host_ns - before), host_ns)
        now_ns = host_ns + after
        guest_ns = event_ns - offset
        clock.happened_after(guest_ns, looked_before)
        clock.happened_before(guest_ns, now_ns)
        time_ns, error_ns = clock.host_time(guest_ns, now_ns)
        assert abs(time_ns - event_ns) <= error_ns + 1
        host_ns = now_ns
