# SPDX-License-Identifier: MIT
"""Fragmentation of mnl messages: cutting on the way out, reassembly of hostile pieces on the way
in, replay window.

Pieces of one link are in order and never interleaved (docs/spec/link.md, sections 3.5 and 3.6).
Used by `LinkEnd` only.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from emulator.protocol.constants import (
    FLAG_FIRST,
    FLAG_LAST,
    REPLAY_BYTES_MAX,
    REPLAY_FRAMES_MAX,
    REPLAY_TIMEOUT_MAX_NS,
    REPLAY_TIMEOUT_MIN_NS,
    REPLAY_TIMEOUT_UNKNOWN_NS,
)

MNL_HEADER_SIZE: Final = 24
_SIZE_FIELD: Final = struct.Struct("<I")
_SIZE_OFFSET: Final = 20


@dataclass(frozen=True, slots=True)
class Piece:
    """Payload and flags of one DATA frame."""

    flags: int
    payload: bytes


def cut(message: bytes, mtu: int) -> Iterator[Piece]:
    """Yield the pieces of `message`, each at most `mtu` bytes; the first holds the mnl header
    because mtu >= 256."""
    total = len(message)
    if total <= mtu:
        yield Piece(FLAG_FIRST | FLAG_LAST, message)
        return
    for start in range(0, total, mtu):
        flags = (FLAG_FIRST if start == 0 else 0) | (FLAG_LAST if start + mtu >= total else 0)
        yield Piece(flags, message[start : start + mtu])


class FragmentError(Exception):
    """A piece does not fit what came before it; the direction has to close."""


class Reassembly:
    """Puts the pieces of one message together; memory grows with bytes received, never with a size
    announced."""

    def __init__(self, message_max: int) -> None:
        """Begin with nothing open.

        Args:
            message_max: Largest whole message in bytes, mnl header included.
        """
        self._message_max = message_max
        self._pieces: list[bytes] = []
        self._total = 0
        self._received = 0

    def reset(self) -> None:
        """Forget an unfinished message."""
        self._pieces = []
        self._total = 0
        self._received = 0

    def add(self, flags: int, payload: bytes) -> bytes | None:
        """Take the next piece; return the message if it is whole now.

        Raises:
            FragmentError: The piece breaks docs/spec/link.md, section 3.6.
        """
        is_first = bool(flags & FLAG_FIRST)
        if is_first is bool(self._pieces):
            raise FragmentError("FIRST on an open message" if is_first else "no message is open")
        if is_first:
            self._total = self._announced(payload)
        self._received += len(payload)
        is_whole = self._received == self._total
        if not payload or self._received > self._total or is_whole is not bool(flags & FLAG_LAST):
            raise FragmentError("pieces do not add up to the size announced")
        if is_first and is_whole:
            self.reset()
            return payload
        self._pieces.append(payload)
        if not is_whole:
            return None
        message = b"".join(self._pieces)
        self.reset()
        return message

    def _announced(self, payload: bytes) -> int:
        if len(payload) < MNL_HEADER_SIZE:
            raise FragmentError("first piece is shorter than an mnl header")
        total = MNL_HEADER_SIZE + int(_SIZE_FIELD.unpack_from(payload, _SIZE_OFFSET)[0])
        if total > self._message_max:
            raise FragmentError("message is larger than this end receives")
        return total


@dataclass(slots=True)
class _Unacknowledged:
    piece: Piece
    sent_ns: int


class SendWindow:
    """DATA frames of one transmit epoch: what waits, what is out, what the peer acknowledged.

    Without replay nothing is kept: a piece is out and forgotten. With replay at most 64 frames and
    256 KiB are out, and at most one message waits behind them.
    """

    def __init__(self, *, replay: bool) -> None:
        """Begin an epoch: the next sequence number is 0."""
        self.replay = replay
        self.tries = 0
        self._next = 0
        self._base = 0
        self._progress_ns = 0  # when the peer's ack moved last
        self._waiting: deque[Piece] = deque()
        self._out: deque[_Unacknowledged] = deque()
        self._out_bytes = 0

    @property
    def next_seq(self) -> int:
        """Sequence number of the next DATA frame."""
        return self._next

    @property
    def has_unacknowledged(self) -> bool:
        """Whether something is out that would be replayed."""
        return bool(self._out)

    def has_room(self) -> bool:
        """Return whether another message may begin."""
        return not self._waiting and self._may_send(0)

    def queue(self, message: bytes, mtu: int) -> None:
        """Cut `message` and put its pieces behind those that wait."""
        self._waiting.extend(cut(message, mtu))

    def take(self, now_ns: int) -> tuple[int, Piece] | None:
        """Return the next piece that may go out, with its sequence number, or None."""
        if not self._waiting or not self._may_send(len(self._waiting[0].payload)):
            return None
        piece = self._waiting.popleft()
        seq = self._next
        self._next = (seq + 1) & 0xFFFFFFFF
        if self.replay:
            self._out.append(_Unacknowledged(piece, now_ns))
            self._out_bytes += len(piece.payload)
        return seq, piece

    def replay_at_ns(self, round_trip_ns: int) -> int | None:
        """Return when everything unacknowledged has to go out again, None if nothing is.

        Args:
            round_trip_ns: As measured, 0 for not yet.
        """
        if not self._out:
            return None
        since_ns = max(self._out[0].sent_ns, self._progress_ns)
        timeout_ns = 4 * round_trip_ns if round_trip_ns else REPLAY_TIMEOUT_UNKNOWN_NS
        timeout_ns = max(timeout_ns, REPLAY_TIMEOUT_MIN_NS) << self.tries
        return since_ns + min(timeout_ns, REPLAY_TIMEOUT_MAX_NS)

    def acknowledge(self, ack: int, now_ns: int) -> int | None:
        """Take the peer's cumulative ack.

        Returns:
            Whole messages that it newly covers; None if the ack cannot be true.
        """
        advance = (ack - self._base) & 0xFFFFFFFF
        if advance > ((self._next - self._base) & 0xFFFFFFFF):
            behind = (self._base - ack) & 0xFFFFFFFF
            return 0 if behind <= REPLAY_FRAMES_MAX else None
        self._base = ack
        if advance:
            self.tries = 0
            self._progress_ns = now_ns
        if not self.replay:
            return 0
        messages = 0
        for _ in range(advance):
            piece = self._out.popleft().piece
            self._out_bytes -= len(piece.payload)
            messages += bool(piece.flags & FLAG_LAST)
        return messages

    def replayed(self, now_ns: int) -> list[tuple[int, Piece]]:
        """Return everything unacknowledged, oldest first, as sent now; counts as one try."""
        self.tries += 1
        for entry in self._out:
            entry.sent_ns = now_ns
        return [((self._base + i) & 0xFFFFFFFF, entry.piece) for i, entry in enumerate(self._out)]

    def _may_send(self, len_bytes: int) -> bool:
        if not self._out:
            return True
        return (
            len(self._out) < REPLAY_FRAMES_MAX and self._out_bytes + len_bytes <= REPLAY_BYTES_MAX
        )
