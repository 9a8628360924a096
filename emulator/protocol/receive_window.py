# SPDX-License-Identifier: MIT
"""DATA frames of a receive direction: their order, what is missing, the message they make up, and
the ack that is owed for them.

Knows one epoch at a time and no frames but DATA; what a gap means for the link is the link's to
decide (docs/spec/link.md, sections 3.5 and 3.6). No clock: the time is given.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from emulator.protocol.fragments import Reassembly
from emulator.protocol.serial import distance, following

__all__ = ["Mode", "Order", "ReceiveWindow"]


class Order(Enum):
    """Where a sequence number stands."""

    NEXT = "next"
    REPEATED = "repeated"
    AHEAD = "ahead"  # something before it is missing


class Mode(NamedTuple):
    """What both records together say about DATA of a direction; fixed while it is up."""

    payload_checked: bool = False
    replay: bool = False


class ReceiveWindow:
    """What has arrived of the epoch that is heard."""

    def __init__(self, message_max: int) -> None:
        """Begin before the first epoch.

        Args:
            message_max: Largest whole message in bytes, mnl header included.
        """
        self.mode = Mode()
        self.expected = 0  # sequence number of the next DATA frame
        self.nak_sent = False  # for the gap at `expected`
        self._owed_frames = 0
        self._owed_since_ns = 0
        self._reassembly = Reassembly(message_max)

    def open(self, mode: Mode) -> None:
        """Another epoch begins."""
        self.close()
        self.mode = mode
        self.expected = 0
        self.nak_sent = False

    def close(self) -> None:
        """The direction goes down: nothing is owed, an unfinished message is gone."""
        self._reassembly.reset()
        self._owed_frames = 0

    def order(self, seq: int) -> Order:
        """Return where a sequence number stands."""
        ahead = distance(seq, self.expected)
        if ahead == 0:
            return Order.NEXT
        return Order.REPEATED if ahead < 0 else Order.AHEAD

    def accept(self, flags: int, payload: bytes) -> bytes | None:
        """Take the DATA frame that is next; return the message if it is whole now.

        Raises:
            FragmentError: The piece does not belong there; nothing changed but the reassembly,
                which the owner closes.
        """
        message = self._reassembly.add(flags, payload)
        self.expected = following(self.expected)
        self.nak_sent = False
        return message

    def owe(self, now_ns: int) -> int:
        """Note that a DATA frame wants its ack; return how many do."""
        if self._owed_frames == 0:
            self._owed_since_ns = now_ns
        self._owed_frames += 1
        return self._owed_frames

    def acknowledged(self) -> None:
        """A frame left that says what has arrived."""
        self._owed_frames = 0

    def ack_at_ns(self, delay_ns: int) -> int | None:
        """Return when an ack has to leave, None if none is owed."""
        return self._owed_since_ns + delay_ns if self._owed_frames else None
