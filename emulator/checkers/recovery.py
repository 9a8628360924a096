# SPDX-License-Identifier: MIT
"""I11: after the last fault every link comes back, and stays.

A link counts when both its ends live at the end of the run, none of them is hung, and nobody left
it cut on purpose.
"""

from __future__ import annotations

from emulator.checkers.history import History
from emulator.checkers.verdict import Finding, count, failed, not_exercised, passed
from emulator.events.types import (
    CarrierChanged,
    DirectionChanged,
    FaultKind,
    FaultReceipt,
    NodeExited,
    NodeHung,
    NodeReady,
    NodeResumed,
)
from emulator.model import HOST_NAME, DirectionState

_NS_PER_S = 1_000_000_000


def check_recovery(history: History, within_s: float) -> Finding:
    """I11: every link that can be up is up at the end, and was within the bound.

    Args:
        history: the run.
        within_s: how long after the last fault took effect, or the last node became ready, a link
            may take.
    """
    last: dict[tuple[str, str], DirectionChanged] = {}
    for event in history.all(DirectionChanged):
        last[(event.link, event.direction)] = event
    running = _running(history)
    left_cut = _left_cut(history)
    cables = {event.link for event in history.all(CarrierChanged)}
    calm_ns = max(
        (
            event.time_monotonic_ns
            for event in history.events
            if isinstance(event, FaultReceipt | NodeReady)
        ),
        default=0,
    )
    checked = 0
    for (link, direction), event in last.items():
        first, second = history.ends[link]
        if not {first, second} <= running or (link, direction) in left_cut:
            continue
        if event.state is DirectionState.CUT and link not in cables:
            continue  # a route, and its path was left cut
        checked += 1
        if event.state is not DirectionState.UP:
            return failed(f"{link} {direction} is {event.state.value} at the end of the run", event)
        took_ns = event.time_monotonic_ns - calm_ns
        if took_ns - event.time_error_ns > within_s * _NS_PER_S:
            return failed(
                f"{link} {direction} came up {took_ns / 1e6:.0f} ms after the last fault, "
                f"allowed are {within_s * 1e3:g} ms",
                event,
            )
    if not checked:
        return not_exercised("no link joins two nodes that live at the end")
    return passed(
        f"{count(checked, 'direction')} up, {count(len(history.faults()), 'fault')} and "
        "restarts before"
    )


def _running(history: History) -> set[str]:
    running = {HOST_NAME}
    for event in history.events:
        match event:
            case NodeReady() | NodeResumed():
                running.add(event.node)
            case NodeExited() | NodeHung():
                running.discard(event.node)
    return running


def _left_cut(history: History) -> set[tuple[str, str]]:
    """The directions whose last fault was a cut."""
    cut: set[tuple[str, str]] = set()
    for fault in history.faults(FaultKind.CUT, FaultKind.SPLICE):
        first, second = history.ends.get(fault.target, ("", ""))
        both = (f"{first}->{second}", f"{second}->{first}")
        touched = {(fault.target, way) for way in ((fault.direction,) if fault.direction else both)}
        cut = cut | touched if fault.fault is FaultKind.CUT else cut - touched
    return cut
