# SPDX-License-Identifier: MIT
"""The black box in a node's RAM, read while the node lives and after it died.

Layout and rules: `docs/spec/blackbox.md`, `firmware/include/abi/blackbox.h`. The firmware is the
only writer and does not wait for us, so what we copy may be torn: an event counts if its sequence
number is the expected one before and after the copy, a ledger if its version is even and the same
before and after, the header's text never decides anything alone. Whatever lies there was written by
a guest: every number is checked against its range before it is used.
"""

from __future__ import annotations

import dataclasses
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from emulator.protocol.services import Ledger, LedgerRole

BLACKBOX_OFFSET: Final = 0x810000
BLACKBOX_BYTES: Final = 0x40000
BLACKBOX_MAGIC: Final = b"MNLBBOX1"
BLACKBOX_VERSION: Final = 1
EVENTS_OFFSET: Final = 0x1000
EVENT_COUNT: Final = 4096
LEDGERS_OFFSET: Final = 0x31000
LEDGER_COUNT: Final = 64
PANIC_OFFSET: Final = 512
PANIC_MAXIMUM: Final = 1024
LEDGER_TRIES: Final = 64
NO_LINK: Final = 0xFFFF

# A 32-bit CPU writes the head in two halves: with only the upper one changed it is 2^32 too high.
_HALF_CHANGED: Final = range(1 << 31, 1 << 33)

_HEADER = struct.Struct("<8sIIIIQQQQQQ")
_EVENT = struct.Struct("<QQHHIQQQ")
_SEQUENCE = struct.Struct("<Q")
_VERSION = struct.Struct("<I")


class BoxState(IntEnum):
    """`enum blackbox_state`."""

    EMPTY = 0
    BOOTING = 1
    READY = 2
    PANICKED = 3
    STOPPED = 4


class BoxEventKind(IntEnum):
    """`enum blackbox_event_kind`."""

    BOOT = 1
    READY = 2
    PANIC = 3
    LINK_STATE = 4
    NODE_UP = 5
    NODE_DEAD = 6
    LINK_REFUSED = 7
    CARRIER = 8
    STREAM = 9
    LINK_DROP = 10
    STALE = 11
    CREDIT = 12
    MESSAGE = 13
    STREAM_REFUSED = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxHeader:
    """The first words of a black box."""

    state: BoxState
    node_id: int
    incarnation: int
    event_head: int
    now_ns: int
    heap_used_bytes: int
    heap_peak_bytes: int
    heap_size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxEvent:
    """One raw event; what `args` mean depends on `kind`."""

    sequence: int
    time_ns: int
    kind: int
    link: int
    peer: int
    args: tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxLedger(Ledger):
    """A ledger as it lies in a black box; torn: its writer stopped in the middle of a change."""

    torn: bool


def blackbox_offset(boot_count: int) -> int:
    """Where the black box of a boot lies in RAM; boots take turns between two places."""
    return BLACKBOX_OFFSET + (0 if boot_count & 1 else BLACKBOX_BYTES)


class BlackBox:
    """Reader of the black box of one boot.

    Args:
        ram: the node's whole RAM; the reader keeps a slice of it until `release`.
        boot_count: of the life whose box it is.
    """

    def __init__(self, ram: memoryview, *, boot_count: int) -> None:
        offset = blackbox_offset(boot_count)
        self._box = ram[offset : offset + BLACKBOX_BYTES]
        self._cursor = 0
        self._incarnation = 0

    def release(self) -> None:
        """Give the memory back, so that its map can be closed."""
        self._box.release()

    def header(self) -> BoxHeader | None:
        """The header, or None while there is no black box of a known version."""
        fields = _HEADER.unpack_from(self._box, 0)
        magic, version, state, node_id, _, *counts = fields
        if magic != BLACKBOX_MAGIC or version != BLACKBOX_VERSION or state > BoxState.STOPPED:
            return None
        return BoxHeader(
            state=BoxState(state),
            node_id=node_id,
            incarnation=counts[0],
            event_head=counts[1],
            now_ns=counts[2],
            heap_used_bytes=counts[3],
            heap_peak_bytes=counts[4],
            heap_size_bytes=counts[5],
        )

    def panic_text(self) -> str:
        """What the kernel said when it panicked; empty when it did not."""
        text = bytes(self._box[PANIC_OFFSET : PANIC_OFFSET + PANIC_MAXIMUM])
        return text.split(b"\0", 1)[0].decode("ascii", "replace")

    def take_events(self) -> tuple[list[BoxEvent], int]:
        """Events written since the last call, oldest first, and how many were lost in between.

        A new incarnation in the header starts over at its event 0. Stops early at an event that is
        still being written; the next call takes it.
        """
        header = self.header()
        if header is None:
            return [], 0
        if header.incarnation != self._incarnation:
            self._incarnation = header.incarnation
            self._cursor = 0
        events: list[BoxEvent] = []
        lost = 0
        head = header.event_head
        if head - self._cursor in _HALF_CHANGED:
            return [], 0
        if head - self._cursor > EVENT_COUNT:
            lost = head - EVENT_COUNT - self._cursor
            self._cursor = head - EVENT_COUNT
        while self._cursor < head:
            event = self._event(self._cursor)
            if event is None:
                break
            if event.sequence != self._cursor:  # overwritten while we read: it wrapped past us
                lost += 1
            else:
                events.append(event)
            self._cursor += 1
        return events, lost

    def ledgers(self) -> list[BoxLedger]:
        """Every ledger in use.

        One that stays half written, because its writer is stopped or dead, is given as it lies
        there and marked torn.
        """
        offsets = range(LEDGERS_OFFSET, LEDGERS_OFFSET + LEDGER_COUNT * Ledger.SIZE, Ledger.SIZE)
        found = (self._ledger(offset) for offset in offsets)
        return [ledger for ledger in found if ledger is not None]

    def _event(self, sequence: int) -> BoxEvent | None:
        offset = EVENTS_OFFSET + sequence % EVENT_COUNT * _EVENT.size
        before = _SEQUENCE.unpack_from(self._box, offset)[0]
        if before < sequence:
            return None
        record = _EVENT.unpack(self._box[offset : offset + _EVENT.size])
        after = _SEQUENCE.unpack_from(self._box, offset)[0]
        return BoxEvent(
            sequence=sequence if before == after == record[0] == sequence else after,
            time_ns=record[1],
            kind=record[2],
            link=record[3],
            peer=record[4],
            args=(record[5], record[6], record[7]),
        )

    def _ledger(self, offset: int) -> BoxLedger | None:
        torn = True
        for _ in range(LEDGER_TRIES):
            before = _VERSION.unpack_from(self._box, offset)[0]
            record = bytes(self._box[offset : offset + Ledger.SIZE])
            after = _VERSION.unpack_from(self._box, offset)[0]
            if before == after and not before & 1:
                torn = False
                break
        ledger = Ledger.parse(record)
        if ledger.role not in (LedgerRole.SOURCE, LedgerRole.SINK):
            return None
        return BoxLedger(**dataclasses.asdict(ledger), torn=torn)
