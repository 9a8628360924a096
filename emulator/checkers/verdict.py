# SPDX-License-Identifier: MIT
"""What a checker says: pass, fail or not exercised, with the first violation and what led to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from emulator.events.types import Event, Outcome

CONTEXT_EVENTS_PER_NODE = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one checker found in a run.

    Args:
        outcome: NOT_EXERCISED when the run held nothing that could have broken the invariant.
        detail: one line: what was counted, or the first violation.
        at: the event that broke the invariant; None when it passed, or when it broke by something
            that did not happen.
    """

    outcome: Outcome
    detail: str
    at: Event | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A finding with the invariant it is about and the events that led to a violation.

    Args:
        context: for each node, its last events up to the violation; empty unless it failed.
    """

    invariant: str
    title: str
    outcome: Outcome
    detail: str
    at: Event | None = None
    context: Mapping[str, tuple[Event, ...]] = field(default_factory=dict)


def count(number: int, noun: str) -> str:
    """A number of things, in English."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def passed(detail: str) -> Finding:
    """The invariant was put to the test and held."""
    return Finding(outcome=Outcome.PASS, detail=detail)


def failed(detail: str, at: Event | None = None) -> Finding:
    """The invariant does not hold."""
    return Finding(outcome=Outcome.FAIL, detail=detail, at=at)


def not_exercised(detail: str) -> Finding:
    """Nothing happened that could have broken the invariant."""
    return Finding(outcome=Outcome.NOT_EXERCISED, detail=detail)
