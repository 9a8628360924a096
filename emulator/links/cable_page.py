# SPDX-License-Identifier: MIT
"""The cable page: what an ivshmem region says about itself, as an EEPROM would.

Layout and rules: `docs/spec/cable.md` section 1, `firmware/include/abi/cable.h`. Only the host
writes it. The truth is kept apart, because guests could write there, too; `differences` tells
whether one did.

Every store is one aligned 32-bit store (an item assignment of a cast memoryview):
`struct.pack_into` clears its target first, and a guest would read the zeros. The order of stores is
the order of statements; the guest compares generation and carrier, so either one alone, seen early,
already closes the old epoch.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from emulator.links.carrier import END_COUNT, Direction

REGION_BYTES: Final = 0x200000
PAGE_BYTES: Final = 192
CABLE_MAGIC: Final = b"MNLCABLE"
CABLE_VERSION: Final = 1
RING_CONTROL_BYTES: Final = 0x1000
RING_DATA_BYTES: Final = 0x40000
FLAG_CHECKED: Final = 1

_WORD: Final = 4
_END_WORDS: Final = 16
_FIRST_END_WORD: Final = 16
_TX_WORD: Final = 2
_RX_WORD: Final = 8
_GENERATION, _CARRIER, _RING_OFFSET, _RING_SIZE, _DOORBELL = range(5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One word of a page that is not what the host wrote."""

    offset: int
    expected: int
    found: int


def ivshmem_id(end: int) -> int:
    """The fixed ivshmem id of a cable's end 0 or 1."""
    return end + 1


def direct_ring_offset(direction: int) -> int:
    """Offset of the ring that joins end `direction` to the other end without a tap."""
    return 0x1000 + direction * (RING_CONTROL_BYTES + RING_DATA_BYTES)


class CablePage:
    """Writer of one cable page.

    Args:
        region: the whole region; the writer keeps a slice of it until `release`.
        checked: whether bytes may change on the way (payload CRC and replay are required).
    """

    def __init__(self, region: memoryview, *, checked: bool = False) -> None:
        self._words = region[:PAGE_BYTES].cast("I")
        self._truth = [0] * len(self._words)
        for index, word in enumerate(
            struct.unpack("<4I", CABLE_MAGIC + struct.pack("<2I", CABLE_VERSION, REGION_BYTES))
        ):
            self._store(index, word)
        for end in range(END_COUNT):
            self._store(self._end_word(end), ivshmem_id(end))
            self._store(self._end_word(end) + 1, FLAG_CHECKED if checked else 0)

    def release(self) -> None:
        """Give the memory back, so that its map can be closed."""
        self._words.release()

    def write(self, direction: Direction) -> None:
        """Put a direction's state at its writer's and its reader's place.

        Generation first, carrier last; ringing the doorbells is the caller's next step.
        """
        writer, reader = direction.index, 1 - direction.index
        self._write_at(self._end_word(writer) + _TX_WORD, direction, wakes=reader)
        self._write_at(self._end_word(reader) + _RX_WORD, direction, wakes=writer)

    def differences(self) -> tuple[Difference, ...]:
        """Words that a guest has overwritten."""
        if self._words.tolist() == self._truth:
            return ()
        return tuple(
            Difference(offset=index * _WORD, expected=expected, found=found)
            for index, (expected, found) in enumerate(
                zip(self._truth, self._words.tolist(), strict=True)
            )
            if expected != found
        )

    def _write_at(self, word: int, direction: Direction, *, wakes: int) -> None:
        self._store(word + _GENERATION, direction.generation)
        self._store(word + _RING_OFFSET, direct_ring_offset(direction.index))
        self._store(word + _RING_SIZE, RING_DATA_BYTES)
        self._store(word + _DOORBELL, ivshmem_id(wakes) << 16)
        self._store(word + _CARRIER, int(direction.carrier))

    def _store(self, index: int, value: int) -> None:
        self._truth[index] = value
        self._words[index] = value

    @staticmethod
    def _end_word(end: int) -> int:
        return _FIRST_END_WORD + end * _END_WORDS
