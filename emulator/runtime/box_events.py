# SPDX-License-Identifier: MIT
"""Raw black box records to typed events: numbers become names, the node's time becomes the host's. No I/O.

The words were written by a guest: a kind, reason or index that this version does not know becomes a
`GuestEventUnknown`, never an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from emulator.events import types
from emulator.events.types import GuestEvent, Role, StreamAccount
from emulator.machines.blackbox import BoxEvent, BoxEventKind, BoxLedger
from emulator.model import DeathCause, Drop, LinkReason, NodeId, Refusal

_LOW_WORD: Final = 0xFFFFFFFF
_SINK_BIT: Final = 1 << 63
_ROLES: Final = {1: Role.SOURCE, 2: Role.SINK}


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxContext:
    """What gives a node's numbers their names.

    Args:
        node: the node's name.
        link_names: its links by index in its boot page.
        node_names: all nodes by id.
    """

    node: str
    link_names: tuple[str, ...]
    node_names: Mapping[NodeId, str]

    def link_name(self, index: int) -> str:
        """A link's name, or a stand-in for an index that is none."""
        return self.link_names[index] if index < len(self.link_names) else f"#{index}"

    def node_name(self, number: int) -> str:
        """A node's name, or a stand-in for an id that is none."""
        return self.node_names.get(NodeId(number), f"#{number}")


def guest_event(
    event: BoxEvent,
    context: BoxContext,
    *,
    incarnation: int,
    time_monotonic_ns: int,
    time_error_ns: int,
) -> GuestEvent:
    """Translate one event.

    Args:
        event: the raw event.
        context: the node's names.
        incarnation: the life that wrote it.
        time_monotonic_ns: its time on the host's clock.
        time_error_ns: error bound of that time.
    """
    common: dict[str, Any] = {
        "node": context.node,
        "incarnation": incarnation,
        "guest_time_ns": event.time_ns,
        "time_monotonic_ns": time_monotonic_ns,
        "time_error_ns": time_error_ns,
    }
    try:
        kind = BoxEventKind(event.kind)
        return _TRANSLATORS[kind](event, context, common)
    except ValueError:
        return types.GuestEventUnknown(number=event.kind, args=event.args, **common)


def stream_account(
    ledger: BoxLedger, context: BoxContext, *, incarnation: int, final: bool
) -> StreamAccount:
    """Translate one ledger.

    Args:
        ledger: the raw ledger.
        context: the node's names.
        incarnation: the life that wrote it.
        final: whether nothing can be added any more.
    """
    return StreamAccount(
        stream_id=ledger.stream_id,
        role=_ROLES[ledger.role],
        node=context.node,
        incarnation=incarnation,
        peer=context.node_name(ledger.peer),
        peer_incarnation=ledger.peer_incarnation,
        size_bytes=ledger.size_bytes,
        next_sequence=ledger.next_sequence,
        running_hash=ledger.running_hash,
        sent=ledger.sent,
        acked=ledger.acked,
        failed=ledger.failed,
        unknown=ledger.unknown,
        received=ledger.received,
        duplicates=ledger.duplicates,
        gaps=ledger.gaps,
        corrupt=ledger.corrupt,
        final=final or ledger.closed,
        torn=ledger.torn,
    )


_Common = dict[str, Any]


def _boot(event: BoxEvent, _: BoxContext, common: _Common) -> GuestEvent:
    return types.GuestBooted(boot_count=event.args[0], **common)


def _ready(_: BoxEvent, __: BoxContext, common: _Common) -> GuestEvent:
    return types.GuestReady(**common)


def _panic(event: BoxEvent, _: BoxContext, common: _Common) -> GuestEvent:
    return types.GuestPanicked(program_counter=event.args[0], **common)


def _link_state(event: BoxEvent, context: BoxContext, common: _Common) -> GuestEvent:
    bits, epochs, reason = event.args
    return types.LinkEndChanged(
        link=context.link_name(event.link),
        peer=context.node_name(event.peer),
        rx_up=bool(bits & 1),
        tx_up=bool(bits & 2),
        own_epoch=epochs & _LOW_WORD,
        peer_epoch=epochs >> 32,
        reason=LinkReason(reason),
        **common,
    )


def _node_up(event: BoxEvent, context: BoxContext, common: _Common) -> GuestEvent:
    return types.PeerUp(of=context.node_name(event.peer), of_incarnation=event.args[0], **common)


def _node_dead(event: BoxEvent, context: BoxContext, common: _Common) -> GuestEvent:
    return types.DeathNotice(
        of=context.node_name(event.peer),
        of_incarnation=event.args[0],
        cause=DeathCause(event.args[1]),
        **common,
    )


def _refused(event: BoxEvent, context: BoxContext, common: _Common) -> GuestEvent:
    refusal, claimed, who = event.args
    return types.LinkRefused(
        link=context.link_name(event.link),
        peer=context.node_name(event.peer),
        refusal=Refusal(refusal),
        claimed_incarnation=claimed,
        by_us=who == 1,
        **common,
    )


def _carrier(event: BoxEvent, context: BoxContext, common: _Common) -> GuestEvent:
    bits, generation, _ = event.args
    return types.CarrierSeen(
        link=context.link_name(event.link),
        peer=context.node_name(event.peer),
        rx=bool(bits & 1),
        tx=bool(bits & 2),
        generation=generation,
        **common,
    )


def _stream(event: BoxEvent, _: BoxContext, common: _Common) -> GuestEvent:
    stream, messages, running_hash = event.args
    return types.StreamDigest(
        stream_id=stream & ~_SINK_BIT,
        role=Role.SINK if stream & _SINK_BIT else Role.SOURCE,
        messages=messages,
        running_hash=running_hash,
        **common,
    )


def _drop(event: BoxEvent, context: BoxContext, common: _Common) -> GuestEvent:
    return types.LinkDropped(
        link=context.link_name(event.link),
        peer=context.node_name(event.peer),
        drop=Drop(event.args[0]),
        count=event.args[1],
        **common,
    )


def _stale(event: BoxEvent, _: BoxContext, common: _Common) -> GuestEvent:
    return types.ToldStale(dead_incarnation=event.args[0], **common)


def _credit(event: BoxEvent, context: BoxContext, common: _Common) -> GuestEvent:
    return types.CreditBroken(
        peer=context.node_name(event.peer), limit=event.args[0], used=event.args[1], **common
    )


def _message(event: BoxEvent, _: BoxContext, common: _Common) -> GuestEvent:
    stream, sequence, source = event.args
    return types.MessageSeen(
        stream_id=stream, sequence=sequence, source_incarnation=source, **common
    )


def _stream_refused(event: BoxEvent, _: BoxContext, common: _Common) -> GuestEvent:
    stream, count, source = event.args
    return types.TrafficRefused(stream_id=stream, count=count, source_incarnation=source, **common)


_TRANSLATORS: Final[
    Mapping[BoxEventKind, Callable[[BoxEvent, BoxContext, _Common], GuestEvent]]
] = {
    BoxEventKind.BOOT: _boot,
    BoxEventKind.READY: _ready,
    BoxEventKind.PANIC: _panic,
    BoxEventKind.LINK_STATE: _link_state,
    BoxEventKind.NODE_UP: _node_up,
    BoxEventKind.NODE_DEAD: _node_dead,
    BoxEventKind.LINK_REFUSED: _refused,
    BoxEventKind.CARRIER: _carrier,
    BoxEventKind.STREAM: _stream,
    BoxEventKind.LINK_DROP: _drop,
    BoxEventKind.STALE: _stale,
    BoxEventKind.CREDIT: _credit,
    BoxEventKind.MESSAGE: _message,
    BoxEventKind.STREAM_REFUSED: _stream_refused,
}
