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
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from emulator.protocol.constants import ClusterConstants
from emulator.protocol.mnl import (
    MNL_HEADER_SIZE,
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
    Sub,
)
from emulator.protocol.names import bootstrap_port
from emulator.protocol.peer import Peer
from emulator.protocol.wire_types import MalformedMessage

__all__ = [
    "RIGHTS_TAKEN",
    "Accounts",
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


class Accounts(Protocol):
    """What a pair asks whoever keeps the accounts of rights with the peer."""

    def may_transmit(self, name: int) -> bool:
        """Return whether messages to that port may go out; asked again at each turn."""

    def transmitted(self, token: object) -> None:
        """The message with that token got its number."""

    def take_news(self) -> tuple[RightsEntry, ...]:
        """Return what the peer has to be told, nothing if there is nothing; taken, it will be
        told, and is settled with the outcome of `RIGHTS_TAKEN`."""


RIGHTS_TAKEN: Final = object()  # token of the outcome of what `take_news()` returned


class OutcomeKind(Enum):
    """What became of a message, as its source knows it."""

    SETTLED = "settled"  # a receiver, or the kernel, took it
    FAILED = "failed"  # refused, or never transmitted when the peer died
    UNKNOWN = "unknown"  # transmitted; the peer died before settling it


@dataclass(frozen=True, slots=True)
class Outcome:
    """End of one enqueued message; `reason` is set if the peer refused it, `resend_to` is the node
    that it names then."""

    token: object
    kind: OutcomeKind
    reason: NakReason | None = None
    resend_to: int = -1


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
    """The peer tells accounts of rights."""

    entries: tuple[RightsEntry, ...]


@dataclass(frozen=True, slots=True)
class NodeLeft:
    """The peer says that its life ends."""


Arrival = IpcArrived | DeathTold | CreditBroken | RightsTold | NodeLeft


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
    qos: int = 0


class Pair:
    """Both streams between us and one incarnation of a peer; implements `Flow` less
    `peer_changed`."""

    def __init__(
        self,
        *,
        node_id: int,
        constants: ClusterConstants,
        accounts: Accounts | None = None,
    ) -> None:
        """Begin with nothing sent and nothing received.

        Args:
            node_id: Ours, for the messages we create.
            constants: The cluster's.
            accounts: Of the rights that messages carry; None: nobody keeps any.
        """
        self._node_id = node_id
        self._constants = constants
        self._accounts = accounts
        self._is_telling = False  # what `take_news()` returned is on its way
        self._peer: Peer | None = None
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
        self._unsettled: dict[int, None] = {}  # ascending
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

    def identify(self, peer: Peer) -> None:
        """Training told who the peer is: what it says of itself has to agree from now on."""
        self._peer = peer

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
        payload = message.serialize()
        queue.append(
            _Queued(Sub.FLIPC, FlipcCommand.IPC, message.remote, payload, token, qos=message.qos)
        )

    def recall(self, name: int) -> None:
        """Forget what waits for a port and was not transmitted; it gets no outcome."""
        self._queues.pop(name, None)

    def enqueue_death(self, death: Death) -> None:
        """Queue node 0's word that an incarnation is dead; it goes before every IPC message."""
        self._enqueue_control(Sub.NODE, NodeCommand.DEATH, death.serialize(), None)

    # Source, on a link ---------------------------------------------------------------------------

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
        while self._credit_left() > -CONTROL_RESERVE:
            if not self._control and not self._collect_news():
                break
            if not self._transmit(self._control[0], send):
                return
            self._control.popleft()
        while self._queues and self._may_send():
            name = self._next_to_send()
            if name is None:
                return
            queue = self._queues[name]
            if not self._transmit(queue[0], send):
                return
            queued = queue.popleft()
            if self._accounts is not None:
                self._accounts.transmitted(queued.token)
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
        self._is_telling = False
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
        """A receiver took the message with that number off its port's queue: settle it."""
        if sequence in self._unsettled:
            del self._unsettled[sequence]
            self._note_settled(now_ns)

    def refuse(self, sequence: int, reason: NakReason, resend_to: int = -1) -> None:
        """Send the message back, perhaps to another node; it stays unsettled until the peer
        knows."""
        self._refused += 1
        nak = Nak(sequence=sequence, reason=reason, resend_to=resend_to)
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

    def _next_to_send(self) -> int | None:
        """Return the port whose turn it is, None if all have to wait."""
        if self._accounts is None:
            return next(iter(self._queues))
        return next((name for name in self._queues if self._accounts.may_transmit(name)), None)

    def _collect_news(self) -> bool:
        """Queue what the accounts have to tell, one message at a time."""
        if self._accounts is None or self._is_telling:
            return False
        entries = self._accounts.take_news()
        if not entries:
            return False
        self._is_telling = True
        payload = Rights(entries=entries).serialize()
        self._control.append(
            _Queued(Sub.FLIPC, FlipcCommand.RIGHTS, 0, payload, token=RIGHTS_TAKEN)
        )
        return True

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
            qos=queued.qos,
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
        if entry.token is RIGHTS_TAKEN:
            self._is_telling = False
            self._outcomes.append(Outcome(entry.token, OutcomeKind.SETTLED))
        elif not entry.is_control:
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
        self._unsettled[header.options] = None
        try:
            message = MachMessage.parse(payload, header.object, header.qos)
        except MalformedMessage:
            self.refuse(header.options, NakReason.BAD_MESSAGE)
            return None
        return IpcArrived(header.options, message)

    def _take_control(self, header: MnlHeader, payload: bytes) -> Arrival | None:
        """Act on a control message, which is settled already.

        Raises:
            MalformedMessage: There is no such command, or its payload is wrong.
        """
        if (header.sub, header.cmd) == (Sub.FLIPC, FlipcCommand.NAK):
            self._take_nak(Nak.parse(payload))
            return None
        if (header.sub, header.cmd) == (Sub.FLIPC, FlipcCommand.RIGHTS):
            return RightsTold(Rights.parse(payload).entries)
        if header.sub == Sub.NODE:
            return _take_node_command(header.cmd, payload, self._peer)
        raise MalformedMessage(f"command {header.sub}/{header.cmd}")

    def _take_nak(self, nak: Nak) -> None:
        entry = self._outstanding.get(nak.sequence)
        if entry is None or entry.is_control:
            raise MalformedMessage(f"refusal of {nak.sequence}, which is not outstanding")
        try:
            reason = NakReason(nak.reason)
        except ValueError:
            reason = NakReason.UNKNOWN
        del self._outstanding[nak.sequence]
        self._failed += 1
        self._outcomes.append(Outcome(entry.token, OutcomeKind.FAILED, reason, nak.resend_to))


def _take_node_command(cmd: int, payload: bytes, peer: Peer | None) -> Arrival | None:
    """Act on a NODE command; where bootstrap ports are is nothing to us.

    Args:
        cmd: Any.
        payload: Any.
        peer: Who sent it, if that is known.

    Raises:
        MalformedMessage: There is no such command, or it says what cannot be.
    """
    if cmd == NodeCommand.DEATH:
        if peer is not None and peer.node_id != 0:
            raise MalformedMessage(f"node {peer.node_id} declares a node dead")
        return DeathTold(Death.parse(payload))
    if cmd == NodeCommand.HELLO:
        hello = Hello.parse(payload)
        if peer is not None and not peer.says(hello):
            raise MalformedMessage("the hello contradicts training")
        return None
    if len(payload) != _WORD_SIZE:
        raise MalformedMessage(f"node command {cmd} of {len(payload)} bytes")
    word = int.from_bytes(payload, "little")
    if cmd in (NodeCommand.BOOTSTRAP_UP, NodeCommand.BOOTSTRAP_DOWN):
        if peer is not None and word != bootstrap_port(peer.node_id):
            raise MalformedMessage(f"{word:#x} is not the bootstrap port of node {peer.node_id}")
        return None
    if cmd == NodeCommand.LEAVE:
        if peer is not None and word != peer.incarnation:
            raise MalformedMessage(f"another life ends, {word:#x}")
        return NodeLeft()
    raise MalformedMessage(f"node command {cmd}")
