# SPDX-License-Identifier: MIT
"""I15: every fault that was asked for happened, nothing else did, and the run was about something.

A receipt says that a fault was asked for. That it happened is shown by what it does: a process that
ended, a carrier that changed, a new life. A machine that ends without a receipt is a fault of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from emulator.checkers.history import History
from emulator.checkers.verdict import Finding, count, failed, passed
from emulator.events.types import (
    CableTampered,
    CarrierChanged,
    Event,
    FaultKind,
    FaultReceipt,
    LinkEndChanged,
    NodeExited,
    NodeHung,
    NodeIncarnation,
    NodePanicked,
    NodeReset,
    NodeResumed,
    PingAnswered,
)
from emulator.model import exit_text

_Effect = Callable[[FaultReceipt, Event], bool]


def check_faults(history: History, expected: Iterable[FaultKind] = ()) -> Finding:
    """I15: the faults of the run are exactly those that were asked for, and messages flowed.

    Args:
        history: the run.
        expected: kinds of faults that this run is about: one that never happened fails it.
    """
    for receipt in history.faults():
        if not any(_EFFECTS[receipt.fault](receipt, event) for event in history.events):
            return failed(f"{_name(receipt)} was asked for and did not happen", receipt)
    missing = set(expected) - {receipt.fault for receipt in history.faults()}
    if missing:
        names = ", ".join(sorted(kind.value for kind in missing))
        return failed(f"the scenario is about {names}, which never happened")
    violation = _unasked(history)
    if violation is not None:
        return violation
    pings = len(history.all(PingAnswered))
    if history.received == 0 and pings == 0:
        return failed("no message flowed in this run")
    return passed(
        f"{count(len(history.faults()), 'fault')} and restarts seen to happen, "
        f"{count(history.received, 'message')}, {count(pings, 'ping')}"
    )


def _unasked(history: History) -> Finding | None:
    asked = {
        (receipt.target, receipt.incarnation)
        for receipt in history.faults(
            FaultKind.CRASH, FaultKind.RESET, FaultKind.PANIC, FaultKind.HANG
        )
    }
    for event in history.events:
        match event:
            case NodeExited() if (
                not event.requested and (event.node, event.incarnation) not in asked
            ):
                return failed(f"{event.node} {exit_text(event.status)}, unasked", event)
            case NodePanicked() if (event.node, event.incarnation) not in asked:
                return failed(f"{event.node} panicked: {event.text}", event)
            case NodeReset() if (event.node, event.incarnation) not in asked:
                return failed(f"{event.node} was reset, unasked", event)
            case CableTampered():
                return failed(
                    f"{event.link}: a node wrote {event.found:#x} into the cable page at "
                    f"{event.offset:#x}, where {event.expected:#x} stood",
                    event,
                )
            case _:
                pass
    return None


def _name(receipt: FaultReceipt) -> str:
    return " ".join(
        part for part in (receipt.fault.value, receipt.target, receipt.direction) if part
    )


def _ended(receipt: FaultReceipt, event: Event) -> bool:
    return (
        isinstance(event, NodeExited)
        and (event.node, event.incarnation) == (receipt.target, receipt.incarnation)
        and event.time_monotonic_ns >= receipt.requested_ns
    )


def _began(receipt: FaultReceipt, event: Event) -> bool:
    return (
        isinstance(event, NodeIncarnation)
        and event.node == receipt.target
        and event.time_monotonic_ns >= receipt.requested_ns
    )


def _carried(carrier: bool) -> _Effect:
    def happened(receipt: FaultReceipt, event: Event) -> bool:
        return (
            isinstance(event, CarrierChanged)
            and event.link == receipt.target
            and event.carrier is carrier
            and receipt.direction in ("", event.direction)
            and event.time_monotonic_ns >= receipt.requested_ns
        )

    return happened


def _saw(kind: type[NodeHung] | type[NodeResumed] | type[NodeReset]) -> _Effect:
    def happened(receipt: FaultReceipt, event: Event) -> bool:
        return (
            isinstance(event, kind)
            and event.node == receipt.target
            and event.time_monotonic_ns >= receipt.requested_ns
        )

    return happened


def _panicked(receipt: FaultReceipt, event: Event) -> bool:
    return isinstance(event, NodePanicked) and event.node == receipt.target


def _closed(receipt: FaultReceipt, event: Event) -> bool:
    """An end closed a direction: what came over it was none of the protocol."""
    return (
        isinstance(event, LinkEndChanged)
        and event.link == receipt.detail
        and not (event.rx_up and event.tx_up)
        and event.time_monotonic_ns >= receipt.requested_ns
    )


_EFFECTS: dict[FaultKind, _Effect] = {
    FaultKind.CUT: _carried(False),
    FaultKind.SPLICE: _carried(True),
    FaultKind.CRASH: _ended,
    FaultKind.RESTART: _began,
    FaultKind.HANG: _saw(NodeHung),
    FaultKind.RESUME: _saw(NodeResumed),
    FaultKind.RESET: _saw(NodeReset),
    FaultKind.PANIC: _panicked,
    FaultKind.GARBAGE: _closed,
}
