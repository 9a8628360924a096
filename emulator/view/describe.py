# SPDX-License-Identifier: MIT
"""One event as one line of English, or nothing when it would only be noise."""

from __future__ import annotations

from emulator.events.refusal import refusal_text
from emulator.events.types import (
    CableTampered,
    ClusterReady,
    CreditBroken,
    DeathAnnounced,
    DeathNotice,
    DirectionChanged,
    Event,
    EventsLost,
    FaultKind,
    FaultReceipt,
    HostPresumedDeath,
    HostRefusal,
    HostStalled,
    LinkRefused,
    LoaderLine,
    NodeExited,
    NodeHung,
    NodeIncarnation,
    NodePanicked,
    NodeReady,
    NodeReset,
    NodeResumed,
    NodeStarted,
    Note,
    Outcome,
    PanicExplained,
    PingAnswered,
    RunStarted,
    RunVerdict,
    StreamClosed,
    StreamOpened,
    ToldStale,
)
from emulator.model import HOST_NAME, DeathCause, incarnation_text

_LOADER_LEVEL_SHOWN = 5  # what went wrong, and shutdowns
_LOADER_NEWS = (" loaded", " unloaded")
_NODE_FAULTS = {
    FaultKind.CRASH: "power cut",
    FaultKind.RESTART: "power on",
    FaultKind.HANG: "CPU stopped",
    FaultKind.RESUME: "CPU runs on",
    FaultKind.RESET: "reset pressed",
    FaultKind.PANIC: "asked to panic",
    FaultKind.GARBAGE: "wrote garbage into its cable",
}

_DEATHS = {
    DeathCause.HOST: "was told that {} is dead",
    DeathCause.INCARNATION: "met a newer life: {} is dead",
    DeathCause.SILENCE: "heard nothing for too long: {} is dead",
    DeathCause.DRIVER: "has it from its driver: {} is dead",
}

# Why a direction is not up, where another line says so already: the fault's receipt, the start.
_PASSED_OVER = ("by us", "training")


def describe(event: Event) -> tuple[str, str] | None:
    """Say what happened.

    Args:
        event: any event.

    Returns:
        Who it is about and what happened, or None for events that only programs care for.
    """
    return _of_run(event) or _of_node(event) or _of_link(event) or _of_stream(event)


def field_text(event: Event) -> str:
    """An event's fields in one line, lives as people write them."""
    return ", ".join(
        f"{name} {incarnation_text(value) if isinstance(value, int) and _is_life(name) else value}"
        for name, value in event.fields().items()
    )


def _is_life(field: str) -> bool:
    return field.endswith("incarnation")


def _of_run(event: Event) -> tuple[str, str] | None:
    match event:
        case RunStarted():
            return "run", f"{event.name}, seed {event.seed}, folder {event.folder}"
        case ClusterReady():
            return "cluster", f"every node ready, every link up after {event.after_s:.3f} s"
        case Note():
            return "note", event.text
        case HostStalled():
            return "host", f"this machine stood still for {event.for_s:.1f} s"
        case RunVerdict():
            said = f": {event.detail}" if event.detail else ""
            return "run", ("pass" if event.outcome is Outcome.PASS else "fail") + said
        case _:
            return None


def _of_node(event: Event) -> tuple[str, str] | None:
    match event:
        case NodeStarted():
            return event.node, f"machine started, launch {event.launch}, pid {event.pid}"
        case NodeIncarnation():
            return event.node, f"began life {incarnation_text(event.incarnation)}"
        case NodeReady():
            return event.node, f"ready as {incarnation_text(event.incarnation)}"
        case NodeExited():
            how = f"signal {-event.status}" if event.status < 0 else f"status {event.status}"
            asked = "" if event.requested else ", unasked"
            who = incarnation_text(event.incarnation) if event.incarnation else "its machine"
            return event.node, f"{who} ended, {how}{asked}"
        case NodePanicked():
            return event.node, f"panicked: {event.text}"
        case PanicExplained():
            return event.node, "panicked in " + " <- ".join(event.backtrace)
        case NodeHung():
            return event.node, "hangs"
        case NodeResumed():
            return event.node, "runs again"
        case NodeReset():
            return event.node, f"{incarnation_text(event.incarnation)} reset"
        case DeathAnnounced():
            told = ", ".join(event.told) or "nobody"
            return "host", f"told {told}: {event.of} {incarnation_text(event.incarnation)} is dead"
        case DeathNotice():
            life = f"{event.of} {incarnation_text(event.of_incarnation)}"
            return event.node, _DEATHS[event.cause].format(life)
        case HostPresumedDeath():
            life = incarnation_text(event.incarnation)
            return "host", f"heard nothing of {event.node} {life} for too long: it counts as dead"
        case ToldStale():
            return event.node, "was told that it had been declared dead"
        case EventsLost():
            return event.node, f"{event.count} of its events were lost"
        case CreditBroken():
            return event.node, f"credit broken towards {event.peer}: {event.used} of {event.limit}"
        case FaultReceipt() if event.fault in _NODE_FAULTS:
            return event.target, _NODE_FAULTS[event.fault]
        case _:
            return None


def _of_link(event: Event) -> tuple[str, str] | None:
    match event:
        case DirectionChanged() if event.reason not in _PASSED_OVER:
            why = f" ({event.reason})" if event.reason else ""
            return event.link, f"{event.direction} {event.state.value}{why}"
        case FaultReceipt():
            done = "cable cut" if event.fault is FaultKind.CUT else "cable spliced"
            return event.target, f"{done} {event.direction}".rstrip()
        case LinkRefused() if event.by_us:
            management = event.link == HOST_NAME
            return f"{event.node}-{HOST_NAME}" if management else event.link, refusal_text(event)
        case HostRefusal() if event.by_us:
            return f"{event.node}-{HOST_NAME}", refusal_text(event)
        case CableTampered():
            return event.link, f"somebody wrote into the cable page at {event.offset:#x}"
        case _:
            return None


def _of_stream(event: Event) -> tuple[str, str] | None:
    match event:
        case LoaderLine() if event.level <= _LOADER_LEVEL_SHOWN or event.text.endswith(
            _LOADER_NEWS
        ):
            return event.node, event.text
        case PingAnswered():
            return event.node, f"ping {event.to}: {event.round_trip_s * 1e6:.1f} µs"
        case StreamOpened():
            what = f"stream {event.stream_id} to {event.sink}, {event.size_bytes} bytes a message"
            return event.source, what
        case StreamClosed():
            return event.source, f"stream {event.stream_id} to {event.sink} closed"
        case _:
            return None
