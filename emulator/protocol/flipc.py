# SPDX-License-Identifier: MIT
"""FLIPC: the sequenced streams between our incarnation and one incarnation of a peer, one each way.

A `Pair` holds what must survive every cut: which messages are outstanding (`flipc_source.py`),
which numbers were accepted, what is settled (`flipc_destination.py`). It belongs to two
incarnations, never to a link or an epoch. No I/O, no clock: messages and the time go in; messages
for a link, arrivals for ports and outcomes for senders come out. It is the `Flow` of the link that
carries it.

Numbers are compared modulo 2^32. Specified in docs/spec/flipc.md, section 3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from emulator.protocol.constants import ClusterConstants
from emulator.protocol.flipc_destination import Destination
from emulator.protocol.flipc_source import Source
from emulator.protocol.flipc_types import (
    Accounts,
    Arrival,
    DeathTold,
    IpcArrived,
    NodeLeft,
    Outcome,
    PairStatistics,
    RightsTold,
)
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
    Sub,
)
from emulator.protocol.names import bootstrap_port
from emulator.protocol.peer import Peer
from emulator.protocol.wire_types import MalformedMessage

__all__ = ["Pair"]

_WORD_SIZE: Final = 8


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
        self._destination = Destination(constants)
        self._source = Source(
            node_id=node_id,
            constants=constants,
            accounts=accounts,
            refusal_told=self._refusal_told,
        )
        self._peer: Peer | None = None
        self._refused = 0
        self._malformed = 0

    def identify(self, peer: Peer) -> None:
        """Training told who the peer is: what it says of itself has to agree from now on."""
        self._peer = peer

    def statistics(self) -> PairStatistics:
        """Return the counters as they are now."""
        source, destination = self._source, self._destination
        return PairStatistics(
            sent=source.next_seq,
            settled=source.settled,
            failed=source.failed,
            unknown=source.unknown,
            received=destination.received,
            refused=self._refused,
            duplicates=destination.duplicates,
            ahead=destination.ahead,
            malformed=self._malformed,
            outstanding=source.outstanding_count,
            queued=source.queued_count,
            unsettled=destination.unsettled_count,
        )

    def died(self) -> None:
        """The peer's incarnation is dead: every message that has no outcome yet gets one."""
        self._source.died()
        self._destination.died()

    # Sending -------------------------------------------------------------------------------------

    def take_outcomes(self) -> list[Outcome]:
        """Return the outcomes since the last call, in order."""
        return self._source.take_outcomes()

    def enqueue(self, message: MachMessage, token: object) -> None:
        """Queue a message behind those to the same port.

        Args:
            message: For a port of the peer.
            token: Comes back in its outcome.
        """
        self._source.enqueue(message, token)

    def recall(self, name: int) -> None:
        """Forget what waits for a port and was not transmitted; it gets no outcome."""
        self._source.recall(name)

    def enqueue_death(self, death: Death) -> None:
        """Queue node 0's word that an incarnation is dead; it goes before every IPC message."""
        self._source.enqueue_control(Sub.NODE, NodeCommand.DEATH, death.serialize())

    def pump(self, send: Callable[[bytes], bool]) -> None:
        """Offer to a link whose transmit direction is up everything that may go out, in order.

        Args:
            send: Takes an mnl message; False: no room, offer it again later.
        """
        self._source.pump(send)

    def resume(self, flipc_next: int | None) -> None:
        """The transmit direction came up: send again what the peer has not received.

        Args:
            flipc_next: The number it expects next; None: unknown, everything outstanding is sent
                again.
        """
        self._source.resume(flipc_next)
        self._destination.resume()

    # Receiving -----------------------------------------------------------------------------------

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
            self._source.take_snapshot(AckSnapshot.parse(message[MNL_HEADER_SIZE:]))
        except MalformedMessage:
            self._malformed += 1
        return None

    def consumed(self, sequence: int, now_ns: int) -> None:
        """A receiver took the message with that number off its port's queue: settle it."""
        self._destination.settle(sequence, now_ns)

    def refuse(self, sequence: int, reason: NakReason, resend_to: int = -1) -> None:
        """Send the message back, perhaps to another node; it stays unsettled until the peer
        knows."""
        self._refused += 1
        nak = Nak(sequence=sequence, reason=reason, resend_to=resend_to)
        self._source.enqueue_control(Sub.FLIPC, FlipcCommand.NAK, nak.serialize(), sequence)

    # Flow: what every frame header carries -------------------------------------------------------

    def peer(self, flipc_ack: int, flipc_credit: int) -> None:
        """Take the peer's cumulative ack and credit; one that cannot be true is counted and
        ignored."""
        try:
            self._source.acknowledge(flipc_ack, flipc_credit)
        except MalformedMessage:
            self._malformed += 1

    def ack(self) -> int:
        """Return the lowest unsettled number; the header that is being written tells it."""
        return self._destination.ack()

    def credit(self) -> int:
        """Return the first number that the peer may not use yet."""
        return self._destination.credit()

    def flipc_next(self) -> int:
        """Return the number expected next."""
        return self._destination.expected

    def ack_deadline_ns(self) -> int | None:
        """Return when a header has to tell what was settled; None if there is nothing it can
        tell."""
        return self._destination.ack_deadline_ns()

    # What no header can tell ---------------------------------------------------------------------

    def snapshot_deadline_ns(self) -> int | None:
        """Return when an ACK snapshot has to tell what no header can; None if there is nothing."""
        return self._destination.snapshot_deadline_ns()

    def snapshot(self) -> bytes:
        """Return the ACK snapshot as a message for `LinkEnd.send()`; call `snapshot_sent()` if it
        was taken."""
        payload = self._destination.snapshot().serialize()
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
        self._destination.told()

    # Inside --------------------------------------------------------------------------------------

    def _refusal_told(self, sequence: int) -> None:
        self._destination.settle(sequence, 0)

    def _take_sequenced(self, header: MnlHeader, payload: bytes, now_ns: int) -> Arrival | None:
        is_ipc = (header.sub, header.cmd) == (Sub.FLIPC, FlipcCommand.IPC)
        accepted = self._destination.accept(header.options, now_ns, is_ipc=is_ipc)
        if not isinstance(accepted, bool):
            return accepted
        if not accepted:
            return None
        return self._accept_ipc(header, payload) if is_ipc else self._take_control(header, payload)

    def _accept_ipc(self, header: MnlHeader, payload: bytes) -> Arrival | None:
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
            self._source.take_nak(Nak.parse(payload))
            return None
        if (header.sub, header.cmd) == (Sub.FLIPC, FlipcCommand.RIGHTS):
            return RightsTold(Rights.parse(payload).entries)
        if header.sub == Sub.NODE:
            return _take_node_command(header.cmd, payload, self._peer)
        raise MalformedMessage(f"command {header.sub}/{header.cmd}")


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
