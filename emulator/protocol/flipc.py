# SPDX-License-Identifier: MIT
"""FLIPC: the sequenced streams between our incarnation and one incarnation of a peer, one each way.

A `Pair` holds what must survive every cut: which messages are outstanding, which numbers were
accepted, what is settled. It belongs to two incarnations, never to a link or an epoch. No I/O, no
clock: messages and the time go in; messages for a link, arrivals for ports and outcomes for senders
    come out. It is the `Flow` of the link that carries it.

Invariants: every IPC message that was enqueued gets exactly one outcome; nothing is accepted twice;
the credit we give never falls. Numbers are compared modulo 2^32. Specified in docs/spec/flipc.md,
section 3.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from emulator.protocol.constants import ClusterConstants
from emulator.protocol.message_parts import PortPart, PortsPart
from emulator.protocol.mnl import (
    MNL_HEADER_SIZE,
    RIGHTS_COUNT_MAX,
    AckSnapshot,
    Death,
    FlipcCommand,
    Hello,
    MachMessage,
    MnlHeader,
    Nak,
    NakReason,
    NodeCommand,
    Rights,
    RightsEntry,
    RightsOperation,
    Sub,
)
from emulator.protocol.wire_types import Disposition, MalformedMessage

__all__ = [
    "Arrival",
    "CreditBroken",
    "DeathTold",
    "IpcArrived",
    "NodeLeft",
    "Outcome",
    "OutcomeKind",
    "Pair",
    "PairStatistics",
    "RightsTold",
]

CONTROL_RESERVE: Final = 16  # control messages may run this far beyond the credit
OUTSTANDING_SLACK: Final = 64  # so many unsettled beyond our own window, whatever a peer allows
SEQUENCE_SPAN: Final = 1 << 30  # from the lowest unsettled number: serial arithmetic ends at 2^31
_MASK: Final = 0xFFFFFFFF
_WORD_SIZE: Final = 8


def _distance(a: int, b: int) -> int:
    """Return a - b modulo 2^32 as a signed number: negative if `a` comes before `b`."""
    delta = (a - b) & _MASK
    return delta - 0x1_0000_0000 if delta & 0x8000_0000 else delta


class OutcomeKind(Enum):
    """What became of a message, as its source knows it."""

    SETTLED = "settled"  # a receiver, or the kernel, took it
    FAILED = "failed"  # refused, or never transmitted when the peer died
    UNKNOWN = "unknown"  # transmitted; the peer died before settling it


@dataclass(frozen=True, slots=True)
class Outcome:
    """End of one enqueued message; `reason` is set if the peer refused it."""

    token: object
    kind: OutcomeKind
    reason: NakReason | None = None


@dataclass(frozen=True, slots=True)
class IpcArrived:
    """A message was accepted; answer with `Pair.consumed()` or `Pair.refuse()` of its sequence
    number."""

    sequence: int
    message: MachMessage


@dataclass(frozen=True, slots=True)
class DeathTold:
    """The peer says that an incarnation is dead."""

    death: Death


@dataclass(frozen=True, slots=True)
class CreditBroken:
    """A message came beyond the credit; the link has to close its direction as garbage."""

    sequence: int
    limit: int


@dataclass(frozen=True, slots=True)
class RightsTold:
    """The peer's accounts of rights changed."""

    entries: tuple[RightsEntry, ...]


@dataclass(frozen=True, slots=True)
class NodeLeft:
    """The peer says that its life ends."""


Arrival = IpcArrived | DeathTold | CreditBroken | RightsTold | NodeLeft


def _carried(message: MachMessage) -> Iterator[PortPart]:
    for part in message.parts:
        if isinstance(part, PortPart):
            yield part
        elif isinstance(part, PortsPart):
            yield from part.ports


def _given_back(message: MachMessage, node_id: int) -> tuple[RightsEntry, ...]:
    """Return what tells the giver that `node_id` keeps none of the rights of a message; a
    send-once reply right is kept for the answer."""
    entries = [
        RightsEntry(
            name=port.name,
            operation=RightsOperation.DROP_SEND
            if port.disposition is Disposition.SEND
            else RightsOperation.DEAD_ONCE,
        )
        for port in _carried(message)
        if port.name != 0 and port.home != node_id
    ]
    if message.local_disposition is Disposition.SEND and message.local_home != node_id:
        entries.append(RightsEntry(name=message.local, operation=RightsOperation.DROP_SEND))
    return tuple(entries)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairStatistics:
    """Counters of a pair; names as in `struct node_statistics`, plus what hostile or late input was
    dropped.

    Args:
        sent: Messages given a sequence number.
        settled: Of those, taken by the peer.
        failed: Refused, or never transmitted.
        unknown: Transmitted when the peer died.
        received: Messages accepted.
        refused: Of those, refused by us.
        duplicates: Dropped because accepted before.
        ahead: Dropped because one before them is missing.
        malformed: Dropped because they are no message, or acknowledge what was never sent.
        outstanding: Sent and not settled, now.
        queued: Not sent yet, now.
        unsettled: Accepted and not taken by a receiver, now.
    """

    sent: int
    settled: int
    failed: int
    unknown: int
    received: int
    refused: int
    duplicates: int
    ahead: int
    malformed: int
    outstanding: int
    queued: int
    unsettled: int


@dataclass(frozen=True, slots=True)
class _Sent:
    message: bytes
    token: object
    is_control: bool
    refuses: int | None  # control: the number that this NAK refuses


@dataclass(frozen=True, slots=True)
class _Queued:
    sub: Sub
    cmd: int
    name: int
    payload: bytes
    token: object = None
    refuses: int | None = None


class Pair:
    """Both streams between us and one incarnation of a peer; implements `Flow` less
    `peer_changed`."""

    def __init__(self, *, node_id: int, constants: ClusterConstants) -> None:
        """Begin with nothing sent and nothing received.

        Args:
            node_id: Ours, for the messages we create.
            constants: The cluster's.
        """
        self._node_id = node_id
        self._constants = constants
        self._outcomes: list[Outcome] = []
        # Source.
        self._next_seq = 0
        self._peer_credit = 0
        self._outstanding: dict[int, _Sent] = {}  # ascending
        self._resend: deque[int] = deque()
        self._control: deque[_Queued] = deque()
        self._queues: dict[int, deque[_Queued]] = {}  # by destination, in turn
        # Destination.
        self._expected = 0
        self._unsettled: dict[int, tuple[RightsEntry, ...]] = {}  # ascending
        self._settled_untold = 0
        self._ack_due_ns: int | None = None
        # Counters.
        self._settled = 0
        self._failed = 0
        self._unknown = 0
        self._received = 0
        self._refused = 0
        self._duplicates = 0
        self._ahead = 0
        self._malformed = 0

    def take_outcomes(self) -> list[Outcome]:
        """Return the outcomes since the last call, in order."""
        outcomes = self._outcomes
        self._outcomes = []
        return outcomes

    def statistics(self) -> PairStatistics:
        """Return the counters as they are now."""
        return PairStatistics(
            sent=self._next_seq,
            settled=self._settled,
            failed=self._failed,
            unknown=self._unknown,
            received=self._received,
            refused=self._refused,
            duplicates=self._duplicates,
            ahead=self._ahead,
            malformed=self._malformed,
            outstanding=len(self._outstanding),
            queued=len(self._control) + sum(len(queue) for queue in self._queues.values()),
            unsettled=len(self._unsettled),
        )

    # Source --------------------------------------------------------------------------------------

    def enqueue(self, message: MachMessage, token: object) -> None:
        """Queue a message behind those to the same port.

        Args:
            message: For a port of the peer.
            token: Comes back in its outcome.
        """
        queue = self._queues.setdefault(message.remote, deque())
        queue.append(
            _Queued(Sub.FLIPC, FlipcCommand.IPC, message.remote, message.serialize(), token)
        )

    def enqueue_death(self, death: Death) -> None:
        """Queue node 0's word that an incarnation is dead; it goes before every IPC message."""
        self._enqueue_control(Sub.NODE, NodeCommand.DEATH, death.serialize(), None)

    def enqueue_rights(self, entries: tuple[RightsEntry, ...]) -> None:
        """Queue accounts of rights, at most 64 of them."""
        payload = Rights(entries=entries).serialize()
        self._enqueue_control(Sub.FLIPC, FlipcCommand.RIGHTS, payload, None)

    def pump(self, send: Callable[[bytes], bool]) -> None:
        """Offer to a link whose transmit direction is up everything that may go out, in order.

        Args:
            send: Takes an mnl message; False: no room, offer it again later.
        """
        while self._resend:
            entry = self._outstanding.get(self._resend[0])
            if entry is not None and not send(entry.message):
                return
            self._resend.popleft()
        while self._control and self._credit_left() > -CONTROL_RESERVE:
            if not self._transmit(self._control[0], send):
                return
            self._control.popleft()
        while self._queues and self._may_send():
            name, queue = next(iter(self._queues.items()))
            if not self._transmit(queue[0], send):
                return
            queue.popleft()
            del self._queues[name]  # to the end of the turn
            if queue:
                self._queues[name] = queue

    def resume(self, flipc_next: int | None) -> None:
        """The transmit direction came up: send again what the peer has not received.

        Args:
            flipc_next: The number it expects next; None: unknown, everything outstanding is sent
                again.
        """
        start = self._base()
        if (
            flipc_next is not None
            and _distance(flipc_next, start) > 0
            and _distance(flipc_next, self._next_seq) <= 0
        ):
            start = flipc_next
        self._resend = deque(seq for seq in self._outstanding if _distance(seq, start) >= 0)
        if not self._header_tells_all():
            self._ack_due_ns = 0
            self._settled_untold = max(self._settled_untold, 1)

    def peer(self, flipc_ack: int, flipc_credit: int) -> None:
        """Take the peer's cumulative ack and credit; one that cannot be true is counted and
        ignored."""
        if _distance(flipc_ack, self._next_seq) > 0:
            self._malformed += 1
            return
        while self._outstanding and _distance(self._base(), flipc_ack) < 0:
            self._settle_sent(self._base())
        if _distance(flipc_credit, self._peer_credit) > 0:
            self._peer_credit = flipc_credit

    def died(self) -> None:
        """The peer's incarnation is dead: every message that has no outcome yet gets one."""
        for entry in self._outstanding.values():
            if not entry.is_control:
                self._unknown += 1
                self._outcomes.append(Outcome(entry.token, OutcomeKind.UNKNOWN))
        for queue in self._queues.values():
            for queued in queue:
                self._failed += 1
                self._outcomes.append(Outcome(queued.token, OutcomeKind.FAILED))
        self._outstanding.clear()
        self._resend.clear()
        self._control.clear()
        self._queues.clear()
        self._unsettled.clear()
        self._settled_untold = 0
        self._ack_due_ns = None

    # Destination ---------------------------------------------------------------------------------

    def receive(self, message: bytes, now_ns: int) -> Arrival | None:
        """Take an mnl message from a link; any bytes are allowed.

        Returns:
            What the owner has to act on, or None.
        """
        try:
            header = MnlHeader.parse(message)
            if header.sequenced:
                return self._take_sequenced(header, message[MNL_HEADER_SIZE:], now_ns)
            if (header.sub, header.cmd) != (Sub.FLIPC, FlipcCommand.ACK):
                raise MalformedMessage(f"unsequenced command {header.sub}/{header.cmd}")
            self._take_snapshot(AckSnapshot.parse(message[MNL_HEADER_SIZE:]))
        except MalformedMessage:
            self._malformed += 1
        return None

    def consumed(self, sequence: int, now_ns: int) -> None:
        """A receiver took the message off its port's queue: settle it."""
        if sequence not in self._unsettled:
            return
        given_back = self._unsettled.pop(sequence)
        self._note_settled(now_ns)
        for first in range(0, len(given_back), RIGHTS_COUNT_MAX):
            self.enqueue_rights(given_back[first : first + RIGHTS_COUNT_MAX])

    def refuse(self, sequence: int, reason: NakReason) -> None:
        """Send the message back; it stays unsettled until the peer knows."""
        self._refused += 1
        nak = Nak(sequence=sequence, reason=reason)
        self._enqueue_control(Sub.FLIPC, FlipcCommand.NAK, nak.serialize(), sequence)

    # Flow: what every frame header carries -------------------------------------------------------

    def ack(self) -> int:
        """Return the lowest unsettled number; the header that is being written tells it."""
        if self._header_tells_all():
            self._settled_untold = 0
            self._ack_due_ns = None
        return self._head()

    def credit(self) -> int:
        """Return the first number that the peer may not use yet."""
        return (self._expected - len(self._unsettled) + self._constants.window) & _MASK

    def flipc_next(self) -> int:
        """Return the number expected next."""
        return self._expected

    def ack_deadline_ns(self) -> int | None:
        """Return when a header has to tell what was settled; None if there is nothing it can
        tell."""
        return self._ack_due_ns if self._header_tells_all() else None

    def snapshot_deadline_ns(self) -> int | None:
        """Return when an ACK snapshot has to tell what no header can; None if there is nothing."""
        return None if self._header_tells_all() else self._ack_due_ns

    def snapshot(self) -> bytes:
        """Return the ACK snapshot as a message for `LinkEnd.send()`; call `snapshot_sent()` if it
        was taken."""
        payload = AckSnapshot(
            next_expected=self._expected, credit=self.credit(), unsettled=tuple(self._unsettled)
        ).serialize()
        header = MnlHeader(
            sub=Sub.FLIPC,
            cmd=FlipcCommand.ACK,
            sequenced=False,
            node_id=self._node_id,
            size=len(payload),
        )
        return header.serialize() + payload

    def snapshot_sent(self) -> None:
        """The snapshot is on its way: nothing is untold."""
        self._settled_untold = 0
        self._ack_due_ns = None

    # Inside --------------------------------------------------------------------------------------

    def _base(self) -> int:
        return next(iter(self._outstanding), self._next_seq)

    def _credit_left(self) -> int:
        return _distance(self._peer_credit, self._next_seq)

    def _may_send(self) -> bool:
        """Return whether the next IPC message may go out; what is outstanding is bounded by count,
        so that one stuck message does not hold up the others."""
        return (
            self._credit_left() > 0
            and len(self._outstanding) < self._constants.window + OUTSTANDING_SLACK
            and _distance(self._next_seq, self._base()) < SEQUENCE_SPAN
        )

    def _enqueue_control(self, sub: Sub, cmd: int, payload: bytes, refuses: int | None) -> None:
        self._control.append(_Queued(sub, cmd, 0, payload, refuses=refuses))

    def _transmit(self, queued: _Queued, send: Callable[[bytes], bool]) -> bool:
        """Give a message the next number, if the link takes it."""
        header = MnlHeader(
            sub=queued.sub,
            cmd=queued.cmd,
            sequenced=True,
            node_id=self._node_id,
            object=queued.name,
            options=self._next_seq,
            size=len(queued.payload),
        )
        message = header.serialize() + queued.payload
        if not send(message):
            return False
        is_control = queued.sub is not Sub.FLIPC or queued.cmd != FlipcCommand.IPC
        self._outstanding[self._next_seq] = _Sent(message, queued.token, is_control, queued.refuses)
        self._next_seq = (self._next_seq + 1) & _MASK
        return True

    def _settle_sent(self, seq: int) -> None:
        entry = self._outstanding.pop(seq)
        if entry.refuses is not None and entry.refuses in self._unsettled:
            del self._unsettled[entry.refuses]
            self._note_settled(0)
        if not entry.is_control:
            self._settled += 1
            self._outcomes.append(Outcome(entry.token, OutcomeKind.SETTLED))

    def _head(self) -> int:
        return next(iter(self._unsettled), self._expected)

    def _header_tells_all(self) -> bool:
        """Return whether no settled number lies above the lowest unsettled one."""
        return len(self._unsettled) == (self._expected - self._head()) & _MASK

    def _note_settled(self, now_ns: int) -> None:
        self._settled_untold += 1
        if self._settled_untold >= self._constants.ack_count:
            self._ack_due_ns = 0
        else:
            self._owe_ack(now_ns)

    def _owe_ack(self, now_ns: int) -> None:
        if self._ack_due_ns is None:
            self._ack_due_ns = now_ns + self._constants.ack_delay_ns

    def _take_snapshot(self, snapshot: AckSnapshot) -> None:
        if _distance(snapshot.next_expected, self._next_seq) > 0:
            raise MalformedMessage("ack of what was never sent")
        unsettled = frozenset(snapshot.unsettled)
        for seq in list(self._outstanding):
            if _distance(seq, snapshot.next_expected) >= 0:
                break
            if seq not in unsettled:
                self._settle_sent(seq)
        if _distance(snapshot.credit, self._peer_credit) > 0:
            self._peer_credit = snapshot.credit

    def _take_sequenced(self, header: MnlHeader, payload: bytes, now_ns: int) -> Arrival | None:
        seq = header.options
        order = _distance(seq, self._expected)
        if order < 0:
            self._duplicates += 1
            self._owe_ack(now_ns)
            return None
        is_ipc = (header.sub, header.cmd) == (Sub.FLIPC, FlipcCommand.IPC)
        limit = self.credit() if is_ipc else (self.credit() + CONTROL_RESERVE) & _MASK
        if _distance(seq, limit) >= 0:
            return CreditBroken(seq, limit)
        if order > 0:
            self._ahead += 1
            return None
        self._expected = (seq + 1) & _MASK
        self._received += 1
        if is_ipc:
            return self._accept_ipc(header, payload)
        self._note_settled(now_ns)
        return self._take_control(header, payload)

    def _accept_ipc(self, header: MnlHeader, payload: bytes) -> Arrival | None:
        self._unsettled[header.options] = ()
        try:
            message = MachMessage.parse(payload, header.object)
        except MalformedMessage:
            self.refuse(header.options, NakReason.BAD_MESSAGE)
            return None
        if any(port.disposition is Disposition.RECEIVE for port in _carried(message)):
            self.refuse(header.options, NakReason.NO_RESOURCES)
            return None
        self._unsettled[header.options] = _given_back(message, self._node_id)
        return IpcArrived(header.options, message)

    def _take_control(self, header: MnlHeader, payload: bytes) -> Arrival | None:
        """Act on a control message, which is settled already.

        Raises:
            MalformedMessage: There is no such command, or its payload is wrong.
        """
        if (header.sub, header.cmd) == (Sub.FLIPC, FlipcCommand.NAK):
            self._take_nak(Nak.parse(payload))
            return None
        if (header.sub, header.cmd) == (Sub.NODE, NodeCommand.DEATH):
            return DeathTold(Death.parse(payload))
        if (header.sub, header.cmd) == (Sub.FLIPC, FlipcCommand.RIGHTS):
            return RightsTold(Rights.parse(payload).entries)
        if header.sub == Sub.NODE:
            return _take_node_command(header.cmd, payload)
        raise MalformedMessage(f"command {header.sub}/{header.cmd}")

    def _take_nak(self, nak: Nak) -> None:
        entry = self._outstanding.get(nak.sequence)
        if entry is None or entry.is_control:
            raise MalformedMessage(f"refusal of {nak.sequence}, which is not outstanding")
        try:
            reason = NakReason(nak.reason)
        except ValueError:
            raise MalformedMessage(f"reason {nak.reason}") from None
        del self._outstanding[nak.sequence]
        self._failed += 1
        self._outcomes.append(Outcome(entry.token, OutcomeKind.FAILED, reason))


def _take_node_command(cmd: int, payload: bytes) -> Arrival | None:
    """Act on a NODE command other than DEATH; where bootstrap ports are is nothing to us.

    Raises:
        MalformedMessage: There is no such command, or its payload is wrong.
    """
    if cmd == NodeCommand.HELLO:
        Hello.parse(payload)
        return None
    if len(payload) != _WORD_SIZE:
        raise MalformedMessage(f"node command {cmd} of {len(payload)} bytes")
    if cmd in (NodeCommand.BOOTSTRAP_UP, NodeCommand.BOOTSTRAP_DOWN):
        return None
    if cmd == NodeCommand.LEAVE:
        return NodeLeft()
    raise MalformedMessage(f"node command {cmd}")
