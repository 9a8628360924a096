# SPDX-License-Identifier: MIT
"""I6 and I7: what nodes know of each other's lives and deaths.

The host knows who died and when. What a node knew, and in which order, is in its own black box: the
events of one life of one node are in the order in which it wrote them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from emulator.checkers.history import Death, History
from emulator.checkers.verdict import Finding, count, failed, not_exercised, passed
from emulator.events.types import (
    DeathNotice,
    FaultKind,
    GuestEvent,
    MessageSeen,
    NodeIncarnation,
    PeerUp,
    Role,
    StreamDigest,
    StreamOpened,
)
from emulator.model import DeathCause, incarnation_text

_NS_PER_S = 1_000_000_000


@dataclass(slots=True)
class _Observer:
    """What one life of a node knows of one other node."""

    known: int = 0
    dead: set[int] = field(default_factory=set)
    frozen: dict[int, int] = field(default_factory=dict)  # stream id: messages when k+1 came up


def check_lives(history: History) -> Finding:
    """I6: nothing of a life after a newer one is known; no newer life before the death was told."""
    newest: dict[str, int] = {}
    for birth in history.all(NodeIncarnation):
        if birth.incarnation <= newest.get(birth.node, 0):
            return failed(
                f"{birth.node} began life {incarnation_text(birth.incarnation)} after "
                f"{incarnation_text(newest[birth.node])}",
                birth,
            )
        newest[birth.node] = birth.incarnation
    violation = _first_violation(history)
    if violation is not None:
        return violation
    if not history.deaths:
        return not_exercised("no node died in this run")
    return passed(f"{count(len(history.deaths), 'death')}, nothing heard of the dead since")


def check_notices(history: History, within_s: float) -> Finding:
    """I7: every survivor learns of every death, once and in time, and of no other.

    Args:
        history: the run.
        within_s: how long after the host saw it a survivor may take.
    """
    notices: dict[tuple[str, int, str, int], DeathNotice] = {}
    for notice in history.all(DeathNotice):
        key = (notice.node, notice.incarnation, notice.of, notice.of_incarnation)
        if key in notices:
            return failed(f"{notice.node} was told twice that {_life(notice)} is dead", notice)
        notices[key] = notice
        if history.death_of(notice.of, notice.of_incarnation) is None and not _presumed(
            history, notice
        ):
            return failed(f"{notice.node} was told that {_life(notice)} is dead; it lives", notice)
    told = 0
    for death in history.deaths:
        for node, incarnation in _survivors(history, death, within_s):
            found = notices.get((node, incarnation, death.node, death.incarnation))
            violation = _late(history, death, (node, incarnation), found, within_s)
            if violation is not None:
                return violation
            told += 1
    if not told:
        return not_exercised("no node died that another one knew")
    return passed(
        f"{count(told, 'notice')} of {count(len(history.deaths), 'death')} within {within_s * 1e3:g} ms"
    )


def _first_violation(history: History) -> Finding | None:
    observers: dict[tuple[str, int, str], _Observer] = {}
    streams = {
        (opened.stream_id, opened.sink, opened.sink_incarnation): opened
        for opened in history.all(StreamOpened)
    }
    for event in history.all(GuestEvent):
        match event:
            case PeerUp() | DeathNotice():
                observer = observers.setdefault(
                    (event.node, event.incarnation, event.of), _Observer()
                )
                violation = _learn(observer, event)
            case MessageSeen() | StreamDigest():
                opened = streams.get((event.stream_id, event.node, event.incarnation))
                if opened is None or (
                    isinstance(event, StreamDigest) and event.role is not Role.SINK
                ):
                    continue
                observer = observers.setdefault(
                    (event.node, event.incarnation, opened.source), _Observer()
                )
                violation = _hear(observer, event, opened)
            case _:
                continue
        if violation is not None:
            return violation
    return None


def _learn(observer: _Observer, event: PeerUp | DeathNotice) -> Finding | None:
    life = _life(event)
    if isinstance(event, DeathNotice):
        observer.dead.add(event.of_incarnation)
        return None
    if event.of_incarnation in observer.dead:
        return failed(f"{event.node} took {life} for alive after it was told of its death", event)
    if event.of_incarnation < observer.known:
        return failed(
            f"{event.node} took {life} for alive after it knew {incarnation_text(observer.known)}",
            event,
        )
    if observer.known and event.of_incarnation > observer.known not in observer.dead:
        return failed(
            f"{event.node} saw {life} before it was told that "
            f"{incarnation_text(observer.known)} is dead",
            event,
        )
    observer.known = event.of_incarnation
    observer.frozen.clear()
    return None


def _hear(
    observer: _Observer, event: MessageSeen | StreamDigest, opened: StreamOpened
) -> Finding | None:
    spoken = opened.source_incarnation
    if isinstance(event, MessageSeen):
        spoken = event.source_incarnation
    if spoken >= observer.known:
        return None
    # The first digest after the new life came up may still count what arrived before.
    if isinstance(event, StreamDigest) and event.messages <= observer.frozen.setdefault(
        event.stream_id, event.messages
    ):
        return None
    return failed(
        f"{event.node} received a message of {opened.source} {incarnation_text(spoken)} after "
        f"{incarnation_text(observer.known)} was up",
        event,
    )


def _survivors(history: History, death: Death, within_s: float) -> Iterable[tuple[str, int]]:
    """The lives that knew the dead one and lived on for as long as a notice may take."""
    until_ns = death.at_ns + round(within_s * _NS_PER_S)
    knew = {
        (event.node, event.incarnation)
        for event in history.all(PeerUp)
        if (event.of, event.of_incarnation) == (death.node, death.incarnation)
    }
    for node, incarnation in sorted(knew):
        own = history.death_of(node, incarnation)
        if own is None or own.at_ns > until_ns:
            yield node, incarnation


def _late(
    history: History,
    death: Death,
    survivor: tuple[str, int],
    notice: DeathNotice | None,
    within_s: float,
) -> Finding | None:
    node, incarnation = survivor
    from_ns = history.runs_from_ns(node, incarnation, death.at_ns)
    if from_ns is None:
        return None  # it hangs to the end of the run: it cannot be told
    within_ns = round(within_s * _NS_PER_S)
    if notice is None:
        if history.end_ns < from_ns + within_ns:
            return None  # the run ended before the bound did
        lost = history.lost(node, incarnation)
        why = f" ({lost} of its events were lost)" if lost else ""
        return failed(f"{node} was never told that {death} is dead{why}", death.event)
    took_ns = notice.time_monotonic_ns - from_ns
    if took_ns - notice.time_error_ns > within_ns:
        return failed(
            f"{node} was told {took_ns / 1e6:.1f} ms after {death} died, "
            f"allowed are {within_s * 1e3:g} ms",
            notice,
        )
    return None


def _presumed(history: History, notice: DeathNotice) -> bool:
    """Whether silence was a reason to presume the death: it hung, or one of its cables was cut."""
    if notice.cause is not DeathCause.SILENCE:
        return False
    for fault in history.faults(FaultKind.HANG, FaultKind.CUT):
        if fault.time_monotonic_ns > notice.time_monotonic_ns:
            break
        if fault.fault is FaultKind.HANG and fault.target == notice.of:
            return True
        if fault.fault is FaultKind.CUT and notice.of in history.ends.get(fault.target, ()):
            return True
    return False


def _life(event: PeerUp | DeathNotice) -> str:
    return f"{event.of} {incarnation_text(event.of_incarnation)}"
