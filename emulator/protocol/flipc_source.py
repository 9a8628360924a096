# SPDX-License-Identifier: MIT
"""The source half of a pair's streams: what we send to one incarnation of a peer.

It queues messages by their port, numbers them as the peer's credit allows, keeps each until the
peer settled or refused it, and sends it again over the next link. What came from the peer is told
to it as records and numbers: it parses nothing. Used by `Pair` only. Specified in
docs/spec/flipc.md, section 3.

Invariant: every IPC message that was enqueued, and not recalled, gets exactly one outcome.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from emulator.protocol.constants import ClusterConstants
from emulator.protocol.flipc_types import (
    CONTROL_RESERVE,
    RIGHTS_TAKEN,
    Accounts,
    Outcome,
    OutcomeKind,
)
from emulator.protocol.mnl import (
    AckSnapshot,
    FlipcCommand,
    MachMessage,
    MnlHeader,
    Nak,
    NakReason,
    Rights,
    Sub,
)
from emulator.protocol.serial import distance, following
from emulator.protocol.wire_types import MalformedMessage

__all__ = ["Source"]

OUTSTANDING_SLACK: Final = 64  # so many unsettled beyond our own window, whatever a peer allows
SEQUENCE_SPAN: Final = 1 << 30  # from the lowest unsettled number: serial arithmetic ends at 2^31


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


class Source:
    """What is queued, what is outstanding, and what became of it.

    Attributes:
        next_seq: The number of the next message, which is how many were sent modulo 2^32.
        settled: Messages that the peer took.
        failed: Messages that it refused, or that were never transmitted.
        unknown: Messages that were outstanding when it died.
    """

    def __init__(
        self,
        *,
        node_id: int,
        constants: ClusterConstants,
        accounts: Accounts | None,
        refusal_told: Callable[[int], None],
    ) -> None:
        """Begin with nothing sent.

        Args:
            node_id: Ours, for the messages we create.
            constants: The cluster's.
            accounts: Of the rights that messages carry; None: nobody keeps any.
            refusal_told: Called with the number of a message that we refused, when the peer knows.
        """
        self._node_id = node_id
        self._constants = constants
        self._accounts = accounts
        self._refusal_told = refusal_told
        self.next_seq = 0
        self.settled = 0
        self.failed = 0
        self.unknown = 0
        self._is_telling = False  # what `take_news()` returned is on its way
        self._outcomes: list[Outcome] = []
        self._peer_credit = 0
        self._outstanding: dict[int, _Sent] = {}  # ascending
        self._resend: deque[int] = deque()
        self._control: deque[_Queued] = deque()
        self._queues: dict[int, deque[_Queued]] = {}  # by destination, in turn

    @property
    def outstanding_count(self) -> int:
        """How many messages are sent and not settled."""
        return len(self._outstanding)

    @property
    def queued_count(self) -> int:
        """How many messages are not sent yet."""
        return len(self._control) + sum(len(queue) for queue in self._queues.values())

    def take_outcomes(self) -> list[Outcome]:
        """Return the outcomes since the last call, in order."""
        outcomes = self._outcomes
        self._outcomes = []
        return outcomes

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

    def enqueue_control(
        self, sub: Sub, cmd: int, payload: bytes, refuses: int | None = None
    ) -> None:
        """Queue a control message; it goes before every IPC message.

        Args:
            sub: Part of the node layer.
            cmd: Command within it.
            payload: Of the command.
            refuses: The number that it refuses, if it does.
        """
        self._control.append(_Queued(sub, cmd, 0, payload, refuses=refuses))

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
            and distance(flipc_next, start) > 0
            and distance(flipc_next, self.next_seq) <= 0
        ):
            start = flipc_next
        self._resend = deque(seq for seq in self._outstanding if distance(seq, start) >= 0)

    def acknowledge(self, flipc_ack: int, flipc_credit: int) -> None:
        """Take the peer's cumulative ack and credit.

        Raises:
            MalformedMessage: It acknowledges what was never sent; nothing changed.
        """
        if distance(flipc_ack, self.next_seq) > 0:
            raise MalformedMessage("ack of what was never sent")
        while self._outstanding and distance(self._base(), flipc_ack) < 0:
            self._settle_sent(self._base())
        if distance(flipc_credit, self._peer_credit) > 0:
            self._peer_credit = flipc_credit

    def take_snapshot(self, snapshot: AckSnapshot) -> None:
        """Take the peer's exact account of what it settled.

        Raises:
            MalformedMessage: It acknowledges what was never sent; nothing changed.
        """
        if distance(snapshot.next_expected, self.next_seq) > 0:
            raise MalformedMessage("ack of what was never sent")
        unsettled = frozenset(snapshot.unsettled)
        for seq in list(self._outstanding):
            if distance(seq, snapshot.next_expected) >= 0:
                break
            if seq not in unsettled:
                self._settle_sent(seq)
        if distance(snapshot.credit, self._peer_credit) > 0:
            self._peer_credit = snapshot.credit

    def take_nak(self, nak: Nak) -> None:
        """Take back a message that the peer refused.

        Raises:
            MalformedMessage: It is not outstanding, or no IPC message.
        """
        entry = self._outstanding.get(nak.sequence)
        if entry is None or entry.is_control:
            raise MalformedMessage(f"refusal of {nak.sequence}, which is not outstanding")
        try:
            reason = NakReason(nak.reason)
        except ValueError:
            reason = NakReason.UNKNOWN
        del self._outstanding[nak.sequence]
        self.failed += 1
        self._outcomes.append(Outcome(entry.token, OutcomeKind.FAILED, reason, nak.resend_to))

    def died(self) -> None:
        """The peer's incarnation is dead: every message that has no outcome yet gets one."""
        self._is_telling = False
        for entry in self._outstanding.values():
            if not entry.is_control:
                self.unknown += 1
                self._outcomes.append(Outcome(entry.token, OutcomeKind.UNKNOWN))
        for queue in self._queues.values():
            for queued in queue:
                self.failed += 1
                self._outcomes.append(Outcome(queued.token, OutcomeKind.FAILED))
        self._outstanding.clear()
        self._resend.clear()
        self._control.clear()
        self._queues.clear()

    # Inside --------------------------------------------------------------------------------------

    def _base(self) -> int:
        return next(iter(self._outstanding), self.next_seq)

    def _credit_left(self) -> int:
        return distance(self._peer_credit, self.next_seq)

    def _may_send(self) -> bool:
        """Return whether the next IPC message may go out; what is outstanding is bounded by count,
        so that one stuck message does not hold up the others."""
        return (
            self._credit_left() > 0
            and len(self._outstanding) < self._constants.window + OUTSTANDING_SLACK
            and distance(self.next_seq, self._base()) < SEQUENCE_SPAN
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

    def _transmit(self, queued: _Queued, send: Callable[[bytes], bool]) -> bool:
        """Give a message the next number, if the link takes it."""
        header = MnlHeader(
            sub=queued.sub,
            cmd=queued.cmd,
            sequenced=True,
            node_id=self._node_id,
            object=queued.name,
            options=self.next_seq,
            size=len(queued.payload),
            qos=queued.qos,
        )
        message = header.serialize() + queued.payload
        if not send(message):
            return False
        is_control = queued.sub is not Sub.FLIPC or queued.cmd != FlipcCommand.IPC
        self._outstanding[self.next_seq] = _Sent(message, queued.token, is_control, queued.refuses)
        self.next_seq = following(self.next_seq)
        return True

    def _settle_sent(self, seq: int) -> None:
        entry = self._outstanding.pop(seq)
        if entry.refuses is not None:
            self._refusal_told(entry.refuses)
        if entry.token is RIGHTS_TAKEN:
            self._is_telling = False
            self._outcomes.append(Outcome(entry.token, OutcomeKind.SETTLED))
        elif not entry.is_control:
            self.settled += 1
            self._outcomes.append(Outcome(entry.token, OutcomeKind.SETTLED))
