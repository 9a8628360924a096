# SPDX-License-Identifier: MIT
"""Invariants over a run's events: pure functions, readers only.

`check_run` puts a finished run to every test and gives one verdict for each invariant, failed,
passed or not exercised; `docs/architecture.md` says what each of them means.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from emulator.checkers.delivery import (
    Digest,
    check_credits,
    check_integrity,
    check_once,
    check_order,
    check_settled,
)
from emulator.checkers.faults import check_faults
from emulator.checkers.history import History
from emulator.checkers.lives import check_lives, check_notices
from emulator.checkers.log import read_events
from emulator.checkers.recovery import check_recovery
from emulator.checkers.verdict import CONTEXT_EVENTS_PER_NODE, Finding, Verdict
from emulator.events.types import Event, FaultKind, Outcome

__all__ = [
    "Bounds",
    "Finding",
    "History",
    "Verdict",
    "check_run",
    "read_events",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How long things may take.

    Args:
        notice_s: a survivor to learn of a death. By default long enough for a machine that has other
            things to do, and far below `dead_after`: who learns in time was told. How fast that is
            on a quiet machine is the benchmark's `crash.notice_s`.
        recovery_s: a link to be up after the last fault.
    """

    notice_s: float = 0.5
    recovery_s: float = 5.0


def check_run(
    events: Iterable[Event],
    *,
    expected: Iterable[FaultKind] = (),
    bounds: Bounds | None = None,
    digest: Digest | None = None,
    finished: bool = True,
) -> tuple[Verdict, ...]:
    """Put a finished run to every test.

    Args:
        events: all events of the run in order.
        expected: kinds of faults that the run is about.
        bounds: how long things may take; None: the defaults.
        digest: how the host computes the running hash of the first n messages of a stream itself.
        finished: whether the run came to its end; one that did not has not stopped its streams.

    Returns:
        One verdict per invariant, in their order.
    """
    history = History.of(events)
    limits = bounds or Bounds()
    checks: tuple[tuple[str, str, Callable[[], Finding]], ...] = (
        ("I1", "in order", lambda: check_order(history)),
        ("I2", "at most once", lambda: check_once(history)),
        ("I3", "exactly once, nothing lost in silence", lambda: check_settled(history, finished)),
        ("I4", "nothing that nobody sent", lambda: check_integrity(history, digest)),
        ("I5", "credits kept", lambda: check_credits(history)),
        ("I6", "nothing from the dead", lambda: check_lives(history)),
        ("I7", "deaths told once, in time", lambda: check_notices(history, limits.notice_s)),
        ("I11", "every link came back", lambda: check_recovery(history, limits.recovery_s)),
        ("I15", "every fault happened", lambda: check_faults(history, expected)),
    )
    return tuple(_verdict(history, *check) for check in checks)


def _verdict(history: History, invariant: str, title: str, check: Callable[[], Finding]) -> Verdict:
    found = check()
    context: dict[str, tuple[Event, ...]] = {}
    if found.outcome is Outcome.FAIL and found.at is not None:
        context = _context(history, found.at)
    return Verdict(
        invariant=invariant,
        title=title,
        outcome=found.outcome,
        detail=found.detail,
        at=found.at,
        context=context,
    )


def _context(history: History, at: Event | None) -> dict[str, tuple[Event, ...]]:
    """The last events of each node up to and with a violation, or up to the end of the run."""
    latest: dict[str, deque[Event]] = {}
    for event in history.events:
        node = getattr(event, "node", None)
        if isinstance(node, str):
            latest.setdefault(node, deque(maxlen=CONTEXT_EVENTS_PER_NODE)).append(event)
        if event is at:
            break
    return {node: tuple(events) for node, events in sorted(latest.items())}
