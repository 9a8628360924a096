# SPDX-License-Identifier: MIT
"""The destination half of a pair's streams: which numbers of one incarnation of a peer were
accepted, which are settled, and what of that it still has to be told.

It knows numbers and no messages. Used by `Pair` only. Specified in docs/spec/flipc.md, section 3.

Invariants: nothing is accepted twice; the credit we give never falls.
"""

from __future__ import annotations

from emulator.protocol.constants import ClusterConstants
from emulator.protocol.flipc_types import CONTROL_RESERVE, CreditBroken
from emulator.protocol.mnl import AckSnapshot
from emulator.protocol.serial import MASK, distance, following

__all__ = ["Destination"]


class Destination:
    """What was accepted and what is settled.

    Attributes:
        expected: The number expected next.
        received: Messages accepted.
        duplicates: Dropped because accepted before.
        ahead: Dropped because one before them is missing.
    """

    def __init__(self, constants: ClusterConstants) -> None:
        """Begin with nothing received.

        Args:
            constants: The cluster's.
        """
        self._constants = constants
        self.expected = 0
        self.received = 0
        self.duplicates = 0
        self.ahead = 0
        self._unsettled: dict[int, None] = {}  # ascending
        self._settled_untold = 0
        self._ack_due_ns: int | None = None

    @property
    def unsettled_count(self) -> int:
        """How many messages are accepted and not taken by a receiver."""
        return len(self._unsettled)

    def accept(self, seq: int, now_ns: int, *, is_ipc: bool) -> bool | CreditBroken:
        """Take the number of a message that came.

        Args:
            seq: Its number.
            now_ns: The time.
            is_ipc: It stays unsettled until `settle()`; a control message is settled by this.

        Returns:
            Whether it is the one expected, which is to be acted on; or that it lies beyond the
            credit, and nothing changed.
        """
        order = distance(seq, self.expected)
        if order < 0:
            self.duplicates += 1
            self._owe_ack(now_ns)
            return False
        limit = self.credit() if is_ipc else (self.credit() + CONTROL_RESERVE) & MASK
        if distance(seq, limit) >= 0:
            return CreditBroken(seq, limit)
        if order > 0:
            self.ahead += 1
            return False
        self.expected = following(seq)
        self.received += 1
        if is_ipc:
            self._unsettled[seq] = None
        else:
            self._note_settled(now_ns)
        return True

    def settle(self, seq: int, now_ns: int) -> None:
        """Settle an accepted message, if it is not settled yet."""
        if seq in self._unsettled:
            del self._unsettled[seq]
            self._note_settled(now_ns)

    def resume(self) -> None:
        """The transmit direction came up: what no header can tell is due at once."""
        if not self._header_tells_all():
            self._ack_due_ns = 0
            self._settled_untold = max(self._settled_untold, 1)

    def died(self) -> None:
        """The peer's incarnation is dead: nobody has to be told anything."""
        self._unsettled.clear()
        self.told()

    def ack(self) -> int:
        """Return the lowest unsettled number; the header that is being written tells it."""
        if self._header_tells_all():
            self.told()
        return self._head()

    def credit(self) -> int:
        """Return the first number that the peer may not use yet."""
        return (self.expected - len(self._unsettled) + self._constants.window) & MASK

    def ack_deadline_ns(self) -> int | None:
        """Return when a header has to tell what was settled; None if there is nothing it can
        tell."""
        return self._ack_due_ns if self._header_tells_all() else None

    def snapshot_deadline_ns(self) -> int | None:
        """Return when an ACK snapshot has to tell what no header can; None if there is nothing."""
        return None if self._header_tells_all() else self._ack_due_ns

    def snapshot(self) -> AckSnapshot:
        """Return what is settled, exactly; call `told()` if it was sent."""
        return AckSnapshot(
            next_expected=self.expected, credit=self.credit(), unsettled=tuple(self._unsettled)
        )

    def told(self) -> None:
        """Everything that is settled is on its way to the peer."""
        self._settled_untold = 0
        self._ack_due_ns = None

    # Inside --------------------------------------------------------------------------------------

    def _head(self) -> int:
        return next(iter(self._unsettled), self.expected)

    def _header_tells_all(self) -> bool:
        """Return whether no settled number lies above the lowest unsettled one."""
        return len(self._unsettled) == (self.expected - self._head()) & MASK

    def _note_settled(self, now_ns: int) -> None:
        self._settled_untold += 1
        if self._settled_untold >= self._constants.ack_count:
            self._ack_due_ns = 0
        else:
            self._owe_ack(now_ns)

    def _owe_ack(self, now_ns: int) -> None:
        if self._ack_due_ns is None:
            self._ack_due_ns = now_ns + self._constants.ack_delay_ns
