# SPDX-License-Identifier: MIT
"""A run's events, put in the order that questions are asked in: lives, deaths, streams, faults.

Built once from a list of events and never changed. Deaths come from the host alone (a process
ended, a machine was reset); what nodes claim stays in the events.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from emulator.events.types import (
    CarrierChanged,
    CheckerVerdict,
    ClusterStopping,
    DirectionChanged,
    Event,
    EventsLost,
    FaultKind,
    FaultReceipt,
    NodeExited,
    NodeHung,
    NodeReset,
    NodeResumed,
    Role,
    RunVerdict,
    StreamAccount,
    StreamClosed,
    StreamOpened,
)
from emulator.model import HOST_NAME, incarnation_text

EventT = TypeVar("EventT", bound=Event)
_OVER = (ClusterStopping, CheckerVerdict, RunVerdict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """The end of one life of a node, as the host saw it."""

    node: str
    incarnation: int
    event: Event

    @property
    def at_ns(self) -> int:
        """When the host saw it."""
        return self.event.time_monotonic_ns

    def __str__(self) -> str:
        return f"{self.node} {incarnation_text(self.incarnation)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamHistory:
    """One traffic stream: what was asked for, the last account of each end, who died before its end."""

    opened: StreamOpened
    source: StreamAccount | None
    sink: StreamAccount | None
    closed: StreamClosed | None
    deaths: tuple[Death, ...]

    @property
    def survived(self) -> bool:
        """Whether both its ends lived until it was closed."""
        return not self.deaths

    def __str__(self) -> str:
        opened = self.opened
        return f"stream {opened.stream_id} {opened.source}->{opened.sink}"


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A whole run.

    Args:
        events: all of it, in the order of the stream.
        deaths: the end of every life, in order.
        streams: every traffic stream that was opened.
        ends: of every link that did anything, the nodes it joins.
    """

    events: tuple[Event, ...]
    deaths: tuple[Death, ...] = ()
    streams: tuple[StreamHistory, ...] = ()
    ends: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, events: Iterable[Event]) -> History:
        """Put events into order.

        Args:
            events: a run's events in the order of their `seq`; what comes after the first verdict,
                or after the cluster began to stop, is left out.
        """
        ordered = tuple(itertools.takewhile(lambda event: not isinstance(event, _OVER), events))
        deaths = tuple(_deaths(ordered))
        streams = tuple(
            _stream(opened, ordered, deaths)
            for opened in ordered
            if isinstance(opened, StreamOpened)
        )
        return cls(events=ordered, deaths=deaths, streams=streams, ends=_ends(ordered))

    def all(self, kind: type[EventT]) -> list[EventT]:
        """Every event of a type, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def end_ns(self) -> int:
        """The time of the last thing that happened."""
        return max((event.time_monotonic_ns for event in self.events), default=0)

    @property
    def received(self) -> int:
        """How many checked messages arrived in all."""
        return sum(stream.sink.received for stream in self.streams if stream.sink is not None)

    def death_of(self, node: str, incarnation: int) -> Death | None:
        """The end of a life, None when it lives."""
        for death in self.deaths:
            if (death.node, death.incarnation) == (node, incarnation):
                return death
        return None

    def faults(self, *kinds: FaultKind) -> list[FaultReceipt]:
        """The receipts of faults of these kinds, or of all kinds."""
        return [event for event in self.all(FaultReceipt) if not kinds or event.fault in kinds]

    def lost(self, node: str, incarnation: int) -> int:
        """How many events of a life were overwritten before they could be read."""
        return sum(
            event.count
            for event in self.all(EventsLost)
            if (event.node, event.incarnation) == (node, incarnation)
        )

    def runs_from_ns(self, node: str, incarnation: int, at_ns: int) -> int | None:
        """From when on, counting from a moment, a node's CPU runs: at once, or when it is resumed.

        Returns:
            A time, or None when it stays stopped.
        """
        stopped = False
        for event in self.events:
            if not isinstance(event, NodeHung | NodeResumed) or event.node != node:
                continue
            if event.incarnation != incarnation:
                continue
            if event.time_monotonic_ns <= at_ns:
                stopped = isinstance(event, NodeHung)
            elif stopped and isinstance(event, NodeResumed):
                return event.time_monotonic_ns
        return None if stopped else at_ns


def _deaths(events: Sequence[Event]) -> Iterable[Death]:
    seen: set[tuple[str, int]] = set()
    for event in events:
        if not isinstance(event, NodeExited | NodeReset) or event.incarnation == 0:
            continue  # a machine that ended before its kernel took an incarnation had no life
        if event.node == HOST_NAME or (event.node, event.incarnation) in seen:
            continue
        seen.add((event.node, event.incarnation))
        yield Death(node=event.node, incarnation=event.incarnation, event=event)


def _ends(events: Sequence[Event]) -> dict[str, tuple[str, str]]:
    ends: dict[str, tuple[str, str]] = {}
    for event in events:
        if isinstance(event, CarrierChanged | DirectionChanged):
            first, _, second = event.direction.partition("->")
            ends.setdefault(event.link, (first, second))
    return ends


def _stream(
    opened: StreamOpened, events: Sequence[Event], deaths: Sequence[Death]
) -> StreamHistory:
    source = sink = None
    for event in events:
        if not isinstance(event, StreamAccount) or event.stream_id != opened.stream_id:
            continue
        if event.role is Role.SOURCE and (event.node, event.incarnation) == (
            opened.source,
            opened.source_incarnation,
        ):
            source = event
        elif event.role is Role.SINK and (
            event.node,
            event.incarnation,
            event.peer_incarnation,
        ) == (opened.sink, opened.sink_incarnation, opened.source_incarnation):
            sink = event
    ends = {
        (opened.source, opened.source_incarnation),
        (opened.sink, opened.sink_incarnation),
    }
    closed = next(
        (
            event
            for event in events
            if isinstance(event, StreamClosed) and event.stream_id == opened.stream_id
        ),
        None,
    )
    return StreamHistory(
        opened=opened,
        source=source,
        sink=sink,
        closed=closed,
        deaths=tuple(
            death
            for death in deaths
            if (death.node, death.incarnation) in ends
            and (closed is None or death.event.seq < closed.seq)
        ),
    )
