# SPDX-License-Identifier: MIT
"""Black box words to typed events: every kind, and words that mean nothing."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.events import types
from emulator.events.types import GuestEvent, Role
from emulator.machines.blackbox import BoxEvent, BoxEventKind, BoxLedger
from emulator.model import HOST_ID, DeathCause, Drop, LinkReason, NodeId, Refusal
from emulator.runtime.box_events import BoxContext, guest_event, stream_account

CONTEXT = BoxContext(
    node="a",
    link_names=("host", "a-b"),
    node_names={HOST_ID: "host", NodeId(1): "a", NodeId(2): "b"},
)
LIFE = 0x1_0000_0001
COMMON: dict[str, Any] = {
    "node": "a",
    "incarnation": LIFE,
    "guest_time_ns": 5,
    "time_monotonic_ns": 50,
    "time_error_ns": 1,
}


def translate(kind: int, *args: int, link: int = 1, peer: int = 2) -> GuestEvent:
    first, second, third, *_ = (*args, 0, 0, 0)
    padded = (first, second, third)
    event = BoxEvent(sequence=0, time_ns=5, kind=kind, link=link, peer=peer, args=padded)
    return guest_event(event, CONTEXT, incarnation=LIFE, time_monotonic_ns=50, time_error_ns=1)


LINK: dict[str, Any] = {"link": "a-b", "peer": "b"}
K = BoxEventKind


@pytest.mark.parametrize(
    ("kind", "args", "expected"),
    [
        (K.BOOT, (2,), types.GuestBooted(boot_count=2, **COMMON)),
        (K.READY, (), types.GuestReady(**COMMON)),
        (K.PANIC, (0x1234,), types.GuestPanicked(program_counter=0x1234, **COMMON)),
        (
            K.LINK_STATE,
            (2, 3 | 7 << 32, 2),
            types.LinkEndChanged(
                rx_up=False,
                tx_up=True,
                own_epoch=3,
                peer_epoch=7,
                reason=LinkReason.TRAINED,
                **LINK,
                **COMMON,
            ),
        ),
        (K.NODE_UP, (9,), types.PeerUp(of="b", of_incarnation=9, **COMMON)),
        (
            K.NODE_DEAD,
            (9, 3),
            types.DeathNotice(of="b", of_incarnation=9, cause=DeathCause.SILENCE, **COMMON),
        ),
        (
            K.LINK_REFUSED,
            (3, 9, 1),
            types.LinkRefused(
                refusal=Refusal.STALE, claimed_incarnation=9, by_us=True, **LINK, **COMMON
            ),
        ),
        (
            K.CARRIER,
            (1, 4),
            types.CarrierSeen(rx=True, tx=False, generation=4, **LINK, **COMMON),
        ),
        (
            K.STREAM,
            (6 | 1 << 63, 10, 11),
            types.StreamDigest(stream_id=6, role=Role.SINK, messages=10, running_hash=11, **COMMON),
        ),
        (
            K.LINK_DROP,
            (9, 2),
            types.LinkDropped(drop=Drop.DUPLICATE, count=2, **LINK, **COMMON),
        ),
        (K.STALE, (8,), types.ToldStale(dead_incarnation=8, **COMMON)),
        (K.CREDIT, (64, 65), types.CreditBroken(peer="b", limit=64, used=65, **COMMON)),
        (
            K.MESSAGE,
            (6, 7, 8),
            types.MessageSeen(stream_id=6, sequence=7, source_incarnation=8, **COMMON),
        ),
        (
            K.STREAM_REFUSED,
            (6, 7, 8),
            types.TrafficRefused(stream_id=6, count=7, source_incarnation=8, **COMMON),
        ),
    ],
)
def test_kind(kind: BoxEventKind, args: tuple[int, ...], expected: GuestEvent) -> None:
    assert translate(kind, *args) == expected


def test_every_kind_has_a_translation() -> None:
    for kind in BoxEventKind:
        assert not isinstance(translate(kind, 1, 1, 1), types.GuestEventUnknown), kind


@pytest.mark.parametrize(
    ("kind", "args"),
    [(99, (1, 2, 3)), (K.LINK_STATE, (3, 0, 77)), (K.NODE_DEAD, (1, 0, 0)), (K.LINK_DROP, (99,))],
)
def test_words_that_mean_nothing_are_kept_as_they_are(kind: int, args: tuple[int, ...]) -> None:
    event = translate(kind, *args)
    assert isinstance(event, types.GuestEventUnknown)
    assert event.number == kind
    assert event.args == (*args, 0, 0, 0)[:3]


def test_indices_that_name_nothing() -> None:
    event = translate(K.LINK_STATE, 3, 0, 2, link=0xFFFF, peer=63)
    assert isinstance(event, types.LinkEndChanged)
    assert (event.link, event.peer) == ("#65535", "#63")


@pytest.mark.parametrize(
    ("closed", "final", "expected"),
    [(False, False, False), (True, False, True), (False, True, True)],
)
def test_account(closed: bool, final: bool, expected: bool) -> None:
    ledger = BoxLedger(
        role=2,
        stream_id=7,
        peer=2,
        size_bytes=64,
        peer_incarnation=9,
        next_sequence=10,
        running_hash=11,
        sent=12,
        acked=13,
        failed=14,
        unknown=15,
        received=16,
        duplicates=17,
        gaps=18,
        corrupt=19,
        closed=closed,
        torn=True,
    )
    account = stream_account(ledger, CONTEXT, incarnation=LIFE, final=final)
    assert account.final is expected
    assert (account.role, account.node, account.peer) == (Role.SINK, "a", "b")
    sent = (account.sent, account.acked, account.failed, account.unknown)
    received = (account.received, account.duplicates, account.gaps, account.corrupt)
    assert sent + received == tuple(range(12, 20))
    assert (account.torn, account.incarnation, account.peer_incarnation) == (True, LIFE, 9)
