# SPDX-License-Identifier: MIT
"""Waiting for an event: which events count, until when, and what to say if none came.

An event often happens before the script gets to wait for it: a crash returns, and the survivors
know already. So everything since the latest fault counts, and the bound runs from the latest fault
or from the wait, whichever is later.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from typing import Final, Generic, TypeVar

from emulator.errors import ExpectationFailed, UsageError
from emulator.events.stream import EventStream
from emulator.events.types import ClusterReady, Event, FaultReceipt
from emulator.runtime.deadline import Deadline
from emulator.runtime.sampler import LOOK_PERIOD_S
from emulator.runtime.watch import Watch

EventT = TypeVar("EventT", bound=Event)
LATEST_SHOWN: Final = 8
LOOK_LAG_S: Final = LOOK_PERIOD_S + 0.05  # an event is seen at the latest so long after it happened
DISORDER_NS: Final = 1_000_000_000  # events lie in the stream at most so far from the order of time


class Expectation(Generic[EventT]):
    """An event that is waited for.

    Args:
        kind: its type.
        fields: values its fields must have.
        stream: where it will be.

    Raises:
        UsageError: events of that kind have no such field.
    """

    def __init__(
        self, kind: type[EventT], fields: Mapping[str, object], stream: EventStream
    ) -> None:
        _check_names(kind, fields)
        self._kind = kind
        self._fields = fields
        self._stream = stream
        self._from_ns = _window_start_ns(stream)
        self._seen_seq = -1

    async def wait(self, watch: Watch, within_s: float) -> EventT:
        """Wait until it happens.

        Raises:
            ExpectationFailed: it did not happen in time; says what happened instead.
        """
        deadline = Deadline.after(within_s)
        found: list[EventT] = []

        def look() -> bool:
            found.extend(event for event in self._unseen() if self._matches(event, deadline.at_ns))
            return bool(found)

        try:
            await watch.until(look, Deadline.after(within_s + LOOK_LAG_S))
        except TimeoutError:
            raise self._failure(within_s) from None
        return found[0]

    def _unseen(self) -> list[EventT]:
        """Events of the kind that were not looked at yet, oldest first."""
        unseen: list[EventT] = []
        for event in reversed(self._stream.history):
            if event.seq <= self._seen_seq:
                break
            if event.time_monotonic_ns < self._from_ns - DISORDER_NS:
                break
            if isinstance(event, self._kind):
                unseen.append(event)
        self._seen_seq = self._stream.next_seq - 1
        return unseen[::-1]

    def _matches(self, event: EventT, until_ns: int) -> bool:
        """Whether an event is the one; the error bound of its time counts in its favour."""
        return (
            event.time_monotonic_ns + event.time_error_ns >= self._from_ns
            and event.time_monotonic_ns - event.time_error_ns <= until_ns
            and all(getattr(event, name) == value for name, value in self._fields.items())
        )

    def _failure(self, within_s: float) -> ExpectationFailed:
        wanted = ", ".join(f"{name}={value}" for name, value in self._fields.items())
        since = [
            event for event in self._stream.history if event.time_monotonic_ns >= self._from_ns
        ]
        alike: Sequence[Event] = [event for event in since if isinstance(event, self._kind)]
        heading = f"{self._kind.__name__} events there were:" if alike else "what happened instead:"
        shown = (alike or since)[-LATEST_SHOWN:]
        return ExpectationFailed(
            f"no {self._kind.__name__}({wanted}) within {within_s:g} s",
            hint="see events.jsonl in the run folder for all that happened",
            details=(heading, *(f"  {_line(event, self._from_ns)}" for event in shown)),
        )


def _check_names(kind: type[Event], fields: Mapping[str, object]) -> None:
    known = {field.name for field in dataclasses.fields(kind)}
    for name in fields:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            guess = f"; did you mean '{near[0]}'?" if near else ""
            raise UsageError(
                f"{kind.__name__} has no field '{name}'{guess}",
                hint=f"its fields are {', '.join(sorted(known))}",
            )


def _window_start_ns(stream: EventStream) -> int:
    """When the latest fault was asked for; before the first: when the cluster was ready."""
    for event in reversed(stream.history):
        if isinstance(event, FaultReceipt):
            return event.requested_ns
        if isinstance(event, ClusterReady):
            return event.time_monotonic_ns
    return 0


def _line(event: Event, from_ns: int) -> str:
    fields = ", ".join(f"{name}={value}" for name, value in event.fields().items())
    return f"+{(event.time_monotonic_ns - from_ns) / 1e6:.1f} ms {event.kind}({fields})"
