# SPDX-License-Identifier: MIT
"""`IpcSpace`: ports, messages and rights of one life of a node, and its accounts with the others.

What a kernel's message layer is, without I/O, threads or a clock: messages of neighbours and the
deaths of their lives go in; messages for ports, outcomes, and through each neighbour's `Pair` what
it has to be told come out. Sending never waits: it answers that there is no room. Whoever has a
space lets its links pump the pairs after each call.

A right on this node is a count on its `Port`: who was given one by `receive()`, `make_send()` or
`right_to()` gives it back with `release()`, or moves it into a message.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from emulator.protocol.flipc import Pair
from emulator.protocol.flipc_types import RIGHTS_TAKEN, Arrival, IpcArrived, OutcomeKind, RightsTold
from emulator.protocol.ipc import accounts, incoming, outgoing, told
from emulator.protocol.ipc.core import SpaceCore
from emulator.protocol.ipc.records import (
    Kind,
    Message,
    Neighbour,
    Port,
    PortItem,
    PortsItem,
    RightsState,
    Slot,
    SlotArray,
    Transfer,
)
from emulator.protocol.message_parts import DESCRIPTORS_MAX, RIGHTS_MAX, BytesPart
from emulator.protocol.mnl import MachMessage, NakReason, RightsEntry
from emulator.protocol.names import (
    NAME_NULL,
    is_well_known,
    node_of,
    serial_of,
    tag_of,
    tag_of_incarnation,
)
from emulator.protocol.wire_types import Disposition

__all__ = ["IpcSpace", "Item", "SendResult"]

LIMIT_DEFAULT: Final = 64
_TRANSIT_DEPTH_MAX: Final = 16  # a receive right waits behind at most so many others

Item = PortItem | PortsItem | BytesPart


class SendResult(Enum):
    """What became of a send, at once; unless it is done the message is still the caller's."""

    DONE = "done"
    NO_ROOM = "no room"
    DEAD = "dead"
    TOO_LARGE = "too large"
    NO_RIGHT = "no right"


@dataclass(slots=True)
class _News:
    """The accounts with one neighbour, as its pair sees them."""

    space: SpaceCore
    node: Neighbour | None = None

    def may_transmit(self, name: int) -> bool:
        port = self.space.names.get(name)
        if port is None or port.home is None or port.kind is not Kind.PROXY:
            return False
        return not port.is_moving and not port.home.add

    def transmitted(self, token: object) -> None:
        assert isinstance(token, Message)
        port = token.remote
        assert port is not None
        port.queue.popleft()
        port.in_flight += 1

    def take_news(self) -> tuple[RightsEntry, ...]:
        return told.news(self.node) if self.node is not None else ()


class IpcSpace(SpaceCore):
    """One life's."""

    # Neighbours ----------------------------------------------------------------------------------

    def neighbour(self, node_id: int) -> Neighbour:
        """Return a neighbour whose life is not known yet; `came_up()` tells it."""
        news = _News(self)
        pair = Pair(node_id=self.node_id, constants=self._constants, accounts=news)
        news.node = Neighbour(node_id, 0, pair, 0)
        return news.node

    def came_up(self, node: Neighbour, incarnation: int, message_max: int) -> None:
        """A life of a neighbour is known; an older one was told dead.

        Args:
            node: New, of `neighbour()`.
            incarnation: Its life.
            message_max: Bytes of the largest message that it takes, mnl header included.
        """
        node.incarnation, node.message_max = incarnation, message_max
        self.neighbours[node.node_id] = node

    def died(self, node: Neighbour) -> None:
        """A neighbour's life is over: nothing of it is received any more, what it had comes back,
        and rights to its ports are dead."""
        if self.neighbours.get(node.node_id) is node:
            del self.neighbours[node.node_id]
        self.drain(node)
        node.pair.died()
        outcomes = node.pair.take_outcomes()
        for message in list(node.accepted.values()):
            self._drop_accepted(node, message)
        node.accepted.clear()
        for outcome in outcomes:
            sent = outcome.token
            if outcome.kind is OutcomeKind.UNKNOWN and isinstance(sent, Message):
                assert sent.remote is not None
                self._message_back(sent.remote)
                self.message_done(sent, None, OutcomeKind.UNKNOWN)
        accounts.take_back_all(self, node)
        while node.proxies:
            accounts.port_dies(self, next(iter(node.proxies)))
        self._finish()

    def _drop_accepted(self, node: Neighbour, message: Message) -> None:
        """It was received here, so a send-once right that it was sent with is used."""
        port = message.destination
        message.is_doubted = False
        message.neighbour = None
        if port is None:
            return
        if message.state is RightsState.WIRE and message.was_sent_once:
            incoming.use_once(self, port, node)
        (port.doubted if message in port.doubted else port.queue).remove(message)
        port.count -= 1

    def receive(self, node: Neighbour, message: bytes, now_ns: int) -> Arrival | None:
        """Take an mnl message of a neighbour from a link; any bytes are allowed.

        Returns:
            What the owner of the link has to act on, or None.
        """
        self._now_ns = now_ns
        arrival = node.pair.receive(message, now_ns)
        self.drain(node)
        if isinstance(arrival, IpcArrived):
            self._arrive(node, arrival.message, arrival.sequence)
            arrival = None
        elif isinstance(arrival, RightsTold):
            told.take(self, node, arrival.entries)
            arrival = None
        self._finish()
        return arrival

    def drain(self, node: Neighbour) -> None:
        """Act on what became of messages to a neighbour."""
        for outcome in node.pair.take_outcomes():
            message = outcome.token
            if message is RIGHTS_TAKEN:
                told.settled(self, node)
                continue
            assert isinstance(message, Message)
            port = message.remote
            assert port is not None
            if outcome.kind is OutcomeKind.SETTLED:
                port.moves = 0
                self._message_back(port)
                self.message_done(message, node, OutcomeKind.SETTLED)
            else:
                self._refused(node, message, outcome)
        self._finish()

    # Ports ---------------------------------------------------------------------------------------

    def create(self, *, name: int = NAME_NULL, limit: int = LIMIT_DEFAULT) -> Port:
        """Return a new port; the caller has its receive right.

        Args:
            name: A well-known one of this node; 0: one of its own, when it needs it.
            limit: Of its queue.
        """
        port = self.new_port(Kind.PRINCIPAL, limit)
        port.name, port.holds = name, 1
        if name != NAME_NULL:
            self.names[name] = port
        return port

    def destroy(self, port: Port) -> None:
        """End a port that is in the caller's hands; whoever sent what is queued there is told."""
        accounts.port_dies(self, port)
        port.holds -= 1
        accounts.unreference(self, port)
        self._finish()

    def make_send(self, port: Port) -> None:
        """Make a send right on this node of the receive right, or of another send right."""
        port.references += 1

    def make_send_once(self, port: Port) -> None:
        """Make a send-once right on this node of the receive right."""
        port.references += 1
        port.once += 1

    def right_to(self, name: int, at: Neighbour | None = None) -> Port | None:
        """Return a send right, on no account, to the port of that name.

        Args:
            name: Any.
            at: Where a port that is not known is; None: at the node that made the name, if the
                name can be one of its life.

        Returns:
            None: no such port is known, and no living node could have it.
        """
        port = self.names.get(name)
        if port is None:
            node = at or self.neighbours.get(node_of(name))
            if node is None or serial_of(name) == 0:
                return None
            is_of_life = is_well_known(name) or tag_of(name) == tag_of_incarnation(node.incarnation)
            if at is None and not is_of_life:
                return None
            return self.make_proxy(name, node)
        port.references += 1
        return port

    def release(self, port: Port, disposition: Disposition = Disposition.SEND) -> None:
        """Give up a right; a receive right ends its port."""
        if disposition is Disposition.RECEIVE:
            self.destroy(port)
            return
        accounts.right_dies(self, port, disposition)
        self._finish()

    def notify_no_senders(self, port: Port, notify: Port) -> bool:
        """Have `notify` told, once, when nobody has a send right to `port` any more.

        Returns:
            False: the port is not here, or somebody asked for that already.
        """
        done = self._notices.ask_no_senders(port, notify)
        self._finish()
        return done

    def notify_dead(self, port: Port, notify: Port) -> None:
        """Have `notify` told when the port dies, or at once if it is dead."""
        self._notices.ask_dead_name(port, notify)
        self._finish()

    # Messages ------------------------------------------------------------------------------------

    def message(
        self, message_id: int, body: bytes = b"", items: Sequence[Item] = (), token: object = None
    ) -> Message | None:
        """Make a message; rights that move into it are not the caller's any more.

        Args:
            message_id: Any.
            body: Opaque.
            items: What it carries besides.
            token: Comes back in its outcome; None: nobody asks.

        Returns:
            None: a right among them cannot be; nothing happened.

        Raises:
            ValueError: They are more than a message carries; nothing happened.
        """
        rights = sum(len(item.ports) for item in items if isinstance(item, PortsItem))
        rights += sum(isinstance(item, PortItem) for item in items)
        if len(items) > DESCRIPTORS_MAX or rights > RIGHTS_MAX:
            raise ValueError(f"{len(items)} parts with {rights} rights are too many")
        message = Message(id=message_id, body=body, token=token)
        done: list[tuple[Port, Transfer]] = []
        for item in items:
            if isinstance(item, BytesPart):
                message.places.append(item)
                continue
            ports = (item.port,) if isinstance(item, PortItem) else item.ports
            slots = [Slot(item.transfer.disposition, port) for port in ports]
            for port in ports:
                if port is None and item.transfer is not Transfer.MOVE_RECEIVE:
                    continue
                if port is None or not outgoing.put_in(self, port, item.transfer):
                    for earlier, transfer in reversed(done):
                        outgoing.take_out(self, earlier, transfer)
                    self._finish()
                    return None
                done.append((port, item.transfer))
            if isinstance(item, PortItem):
                message.places.extend(slots)
            else:
                message.places.append(SlotArray(item.transfer.disposition, slots))
        return message

    def send(
        self,
        message: Message,
        remote: Port,
        *,
        reply: Port | None = None,
        reply_disposition: Disposition = Disposition.SEND_ONCE,
        moves_reply: bool = False,
        is_once: bool = False,
    ) -> SendResult:
        """Send a message.

        Args:
            message: Of `message()`, or one that was received.
            remote: Whereto; the caller keeps its right unless it is a send-once one.
            reply: To answer to; a right of that kind is made of the caller's, of another node's
                port a send-once right is the caller's own that goes.
            reply_disposition: SEND or SEND_ONCE.
            moves_reply: The caller's own right of that kind goes.
            is_once: The caller uses a send-once right.
        """
        result = self._check(message, remote, reply, reply_disposition, is_once=is_once)
        if result is not SendResult.DONE:
            return result
        self._attach_reply(message, reply, reply_disposition)
        if moves_reply and reply is not None:
            self._give_up_own(reply, reply_disposition)
        message.source = (self.node_id, self.incarnation)
        if is_once:
            if remote.is_here:
                remote.once -= 1
            else:
                assert remote.home is not None
                remote.home.once_leaves()
                message.was_sent_once = True
        if remote.kind is Kind.PROXY:
            self.queue_for_node(remote, message)
        else:
            for slot in message.rights():
                if slot.disposition is Disposition.RECEIVE and slot.port is not None:
                    slot.port.transit = remote
            self.deliver(remote, message)
        if is_once:
            accounts.unreference(self, remote)
        self._finish()
        return SendResult.DONE

    def next_message(self, port: Port, now_ns: int) -> Message | None:
        """Receive from a port in the caller's hands; its rights are the caller's from then on.

        Returns:
            None: there is nothing.
        """
        self._now_ns = now_ns
        taken: Message | None = None
        while port.is_receivable and port.queue and taken is None:
            message = port.queue.popleft()
            port.count -= 1
            message.destination = None
            if message is port.death_notice:
                self._notices.received(port)
            reason = None
            if message.state is RightsState.WIRE:
                reason = incoming.take(self, port, message)
            elif message.neighbour is None:
                self._receive_rights_arrived(message)
            if reason is not None:
                self.refuse(message, reason)
            else:
                taken = message
        if taken is not None:
            self._settle(taken)
        self._finish()
        return taken

    def take(self, message: Message, slot: Slot) -> Port | None:
        """Take a right out of a message that is the caller's; None: none, dead, or taken.

        A receive right that was put into a message and never sent is in the caller's hands again.
        """
        port, slot.port = slot.port, None
        if slot.disposition is Disposition.RECEIVE and port is not None:
            if port.kind is Kind.POSTPRINCIPAL:
                self.moves.stay(port)
            self._finish()
        return port

    def discard(self, message: Message) -> None:
        """Let a message end that is the caller's; rights that are still in it die."""
        self.end_message(message, None)
        self._finish()

    # Sending, inside -----------------------------------------------------------------------------

    def _check(
        self,
        message: Message,
        remote: Port,
        reply: Port | None,
        reply_disposition: Disposition,
        *,
        is_once: bool,
    ) -> SendResult:
        if remote.is_dead:
            return SendResult.DEAD
        if not is_once and remote.count >= remote.limit:
            return SendResult.NO_ROOM
        if remote.node is not None and not self.fits(message, remote.node):
            return SendResult.TOO_LARGE
        has_reply_right = (
            reply is None
            or reply.is_dead
            or reply_disposition is not Disposition.SEND_ONCE
            or reply.is_here
            or reply.has_once
        )
        if (
            (is_once and not remote.has_once)
            or not has_reply_right
            or _is_circular(message, remote)
        ):
            return SendResult.NO_RIGHT
        return SendResult.DONE

    def _attach_reply(self, message: Message, reply: Port | None, kind: Disposition) -> None:
        """A dead reply port is none."""
        former = message.reply
        if former.port is not None:  # of a received message that is sent on, if nobody took it
            accounts.right_dies(self, former.port, former.disposition)
        message.reply = Slot(Disposition.NONE)
        message.was_sent_once = False
        if reply is None or reply.is_dead:
            return
        if kind is Disposition.SEND:
            reply.references += 1
        elif reply.is_here:
            self.make_send_once(reply)
        message.reply = Slot(kind, reply)

    def _give_up_own(self, reply: Port, kind: Disposition) -> None:
        """The message got a right of its own; a send-once right of another node's port moved."""
        if not reply.is_dead and kind is Disposition.SEND_ONCE:
            if not reply.is_here:
                return
            reply.once -= 1
        accounts.unreference(self, reply)

    # Receiving, inside ---------------------------------------------------------------------------

    def _destination(self, name: int) -> tuple[Port | None, NakReason | None]:
        port = self.names.get(name)
        if port is not None and port.is_here:
            return port, None
        if port is not None and port.home is not None and port.home.held.send:
            return port, NakReason.MOVED
        if node_of(name) != self.node_id:
            return None, NakReason.NOT_PRINCIPAL
        return None, NakReason.DEAD_PORT if self.gave(name) else NakReason.UNKNOWN_NAME

    def _arrive(self, node: Neighbour, wire: MachMessage, sequence: int) -> None:
        message = Message.of_wire(wire, node, sequence)
        if message.has_rights or message.was_sent_once:
            message.state = RightsState.WIRE
        port, reason = self._destination(wire.remote)
        if reason is None and port is not None:
            if not accounts.accepts(port, node, is_resumed=message.is_resumed):
                reason = NakReason.MOVED
            elif message.has_rights and len(node.notices) >= told.NOTICES_MAX:
                reason = NakReason.NO_RESOURCES
            elif message.has_rights:
                reason = incoming.refusal_of(self, message, node)
        message.is_resumed = False
        message.destination = port
        node.accepted[sequence] = message
        if port is None or reason is not None:
            resend_to = -1
            if reason is NakReason.MOVED and port is not None:
                resend_to = self.node_id if port.node is None else port.node.node_id
            self.refuse(message, reason or NakReason.UNKNOWN_NAME, resend_to)
        elif incoming.are_doubtful(self, port, message):
            incoming.doubt(self, port, message)
        else:
            self.enqueue(port, message)

    def _receive_rights_arrived(self, message: Message) -> None:
        """The receive rights in a message of this node are somebody's again."""
        for slot in message.rights():
            port = slot.port
            if (
                slot.disposition is Disposition.RECEIVE
                and port is not None
                and port.kind is Kind.POSTPRINCIPAL
            ):
                self.moves.stay(port)

    def _settle(self, message: Message) -> None:
        node = message.neighbour
        if node is not None:
            message.neighbour = None
            node.accepted.pop(message.sequence, None)
            node.pair.consumed(message.sequence, self._now_ns)
            node.is_to_be_served = True
        self._tell_outcome(message, OutcomeKind.SETTLED)


def _is_circular(message: Message, remote: Port) -> bool:
    """Return whether the message could wait in the queue of a port whose receive right it has."""
    for slot in message.rights():
        if slot.disposition is not Disposition.RECEIVE:
            continue
        port: Port | None = remote
        for _ in range(_TRANSIT_DEPTH_MAX):
            if port is None or port is slot.port:
                break
            port = port.transit
        if port is not None:
            return True
    return False
