# SPDX-License-Identifier: MIT
"""Writes a boot count and a black box as the firmware does: for fakes, and for tests of the readers.

Order of stores as in `docs/spec/blackbox.md`; C: `firmware/core/blackbox.c`.
"""

from __future__ import annotations

import struct
from typing import Final

import crc32c

from emulator.machines.blackbox import (
    BLACKBOX_BYTES,
    BLACKBOX_MAGIC,
    BLACKBOX_VERSION,
    EVENT_COUNT,
    EVENTS_OFFSET,
    LEDGERS_OFFSET,
    PANIC_MAXIMUM,
    PANIC_OFFSET,
    BoxEventKind,
    BoxLedger,
    BoxState,
    blackbox_offset,
)
from emulator.machines.boot_page import BOOT_COUNT_OFFSET, COUNT_MAGIC, read_boot_count
from emulator.model import Incarnation, boot_count_of

_BEING_WRITTEN: Final = 0xFFFFFFFFFFFFFFFF
_STATE_OFFSET: Final = 12
_IDS_OFFSET: Final = 16
_HEAD_OFFSET: Final = 32
_NOW_OFFSET: Final = 40
_NO_LINK: Final = 0xFFFF
_EVENT = struct.Struct("<QQHHIQQQ")
_LEDGER = struct.Struct("<IIQIIQQQQQQQQQQQQQ")


def raise_boot_count(ram: memoryview) -> int:
    """Count a boot, as the firmware's first step. Returns the new count."""
    count = read_boot_count(ram) + 1
    record = struct.pack("<8sI", COUNT_MAGIC, count)
    record += struct.pack("<I", crc32c.crc32c(record))
    ram[BOOT_COUNT_OFFSET : BOOT_COUNT_OFFSET + len(record)] = record
    return count


class BoxWriter:
    """Writer of a black box; opening it erases what was there.

    Args:
        ram: the whole RAM.
        node_id: the node's number.
        incarnation: the node's life.
    """

    def __init__(self, ram: memoryview, *, node_id: int, incarnation: int) -> None:
        offset = blackbox_offset(boot_count_of(Incarnation(incarnation)))
        self._box = ram[offset : offset + BLACKBOX_BYTES]
        self._box[:] = bytes(BLACKBOX_BYTES)
        self._words = self._box.cast("Q")
        self._head = 0
        struct.pack_into("<II", self._box, 8, BLACKBOX_VERSION, BoxState.BOOTING)
        struct.pack_into("<IIQ", self._box, _IDS_OFFSET, node_id, 0, incarnation)
        self._words[0] = int.from_bytes(BLACKBOX_MAGIC, "little")

    def release(self) -> None:
        """Give the memory back."""
        self._words.release()
        self._box.release()

    def state(self, state: BoxState) -> None:
        """Change the node's state."""
        self._box[_STATE_OFFSET : _STATE_OFFSET + 4] = int(state).to_bytes(4, "little")

    def panic(self, text: str) -> None:
        """Leave the text of a panic."""
        data = text.encode("ascii")[: PANIC_MAXIMUM - 1] + b"\0"
        self._box[PANIC_OFFSET : PANIC_OFFSET + len(data)] = data
        self.state(BoxState.PANICKED)

    def event(
        self,
        kind: BoxEventKind | int,
        *args: int,
        time_ns: int = 0,
        link: int = _NO_LINK,
        peer: int = 0,
    ) -> int:
        """Append an event. Returns its number."""
        sequence = self._head
        offset = EVENTS_OFFSET + sequence % EVENT_COUNT * _EVENT.size
        padded = (*args, 0, 0, 0)[:3]
        record = _EVENT.pack(sequence, time_ns, kind, link, peer, *padded)
        self._words[offset // 8] = _BEING_WRITTEN
        self._box[offset + 8 : offset + _EVENT.size] = record[8:]
        self._words[offset // 8] = sequence
        self._head += 1
        self._words[_NOW_OFFSET // 8] = time_ns
        self._words[_HEAD_OFFSET // 8] = self._head
        return sequence

    def ledger(self, index: int, ledger: BoxLedger) -> None:
        """Write a ledger; a torn one is left with an odd version."""
        offset = LEDGERS_OFFSET + index * _LEDGER.size
        version = int.from_bytes(self._box[offset : offset + 4], "little") | 1
        record = _LEDGER.pack(
            version,
            ledger.role,
            ledger.stream_id,
            ledger.peer,
            ledger.size_bytes,
            ledger.peer_incarnation,
            ledger.next_sequence,
            ledger.running_hash,
            ledger.sent,
            ledger.acked,
            ledger.failed,
            ledger.unknown,
            ledger.received,
            ledger.duplicates,
            ledger.gaps,
            ledger.corrupt,
            int(ledger.closed),
            0,
        )
        self._box[offset : offset + _LEDGER.size] = record
        if not ledger.torn:
            self._box[offset : offset + 4] = (version + 1).to_bytes(4, "little")
