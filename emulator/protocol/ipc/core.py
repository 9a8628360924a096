# SPDX-License-Identifier: MIT
"""The ports of one life of a node, and what the pieces of `emulator.protocol.ipc` ask of each other.

What programs and links call is `IpcSpace`'s, which is this and more.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Protocol

from emulator.protocol.constants import ClusterConstants
from emulator.protocol.flipc_types import Outcome, OutcomeKind
from emulator.protocol.ipc import accounts, incoming, outgoing
from emulator.protocol.ipc.migration import Moves
from emulator.protocol.ipc.notices import Notices
from emulator.protocol.ipc.records import (
    Kind,
    Message,
    Neighbour,
    Port,
    Request,
    RightsState,
    Work,
)
from emulator.protocol.mnl import MNL_HEADER_SIZE, NakReason
from emulator.protocol.names import (
    NAME_NULL,
    NameAllocator,
    is_well_known,
    node_of,
    serial_of,
    tag_of,
    tag_of_incarnation,
)

__all__ = ["Observer", "SpaceCore"]


_NOT_KNOWN: Final = (NakReason.NOT_PRINCIPAL, NakReason.DEAD_PORT, NakReason.UNKNOWN_NAME)


def _may_follow(port: Port, node: Neighbour, outcome: Outcome) -> bool:
    """Return whether a message that was refused may be sent again, or received here. If the port is
    here by now, the node may have had it between and know nothing of it any more."""
    has_moved = outcome.reason is NakReason.MOVED and outcome.resend_to >= 0
    if port.is_dead:
        return False
    if port.kind is Kind.PROXY:
        return has_moved and port.node is node
    return has_moved or outcome.reason in _NOT_KNOWN


class Observer(Protocol):
    """Told by a space; must not call it back."""

    def arrived(self, port: Port) -> None:
        """A message was queued at a port that is here."""

    def resolved(self, outcome: Outcome) -> None:
        """A message of this node that had a token has its outcome."""


class SpaceCore:
    """One life's."""

    def __init__(
        self,
        *,
        node_id: int,
        incarnation: int,
        constants: ClusterConstants,
        observer: Observer,
        proxy_limit: int | None = None,
    ) -> None:
        """Begin without ports and neighbours.

        Args:
            node_id: Ours.
            incarnation: Our life.
            constants: The cluster's.
            observer: Told of messages and outcomes.
            proxy_limit: Messages that may wait at a proxy; None: the cluster's window.
        """
        self.node_id = node_id
        self.incarnation = incarnation
        self.nodes_max = constants.nodes_max
        self.neighbours: dict[int, Neighbour] = {}  # those alive
        self.names: dict[int, Port] = {}
        self.moves = Moves(self)
        self.dropped = 0  # words about accounts that cannot be
        self.moved = 0  # messages that came back as moved
        self.port_count = 0
        self._constants = constants
        self._observer = observer
        self._proxy_limit = constants.window if proxy_limit is None else proxy_limit
        self._allocator = NameAllocator(node_id, incarnation)
        self._notices = Notices(self)
        self._work: deque[Port] = deque()
        self._is_working = False
        self._now_ns = 0

    # Ports -------------------------------------------------------------

    def name_of(self, port: Port) -> int:
        """Return a port's name, given now if it has none; 0: it is dead."""
        if port.is_dead:
            return NAME_NULL
        if port.name == NAME_NULL:
            port.name = self._allocator.allocate()
            self.names[port.name] = port
        return port.name

    def gave(self, name: int) -> bool:
        """Return whether this life ever gave out that ordinary name, or a past one may have."""
        if node_of(name) != self.node_id or is_well_known(name) or serial_of(name) == 0:
            return False
        is_of_this_life = tag_of(name) == tag_of_incarnation(self.incarnation)
        return not is_of_this_life or serial_of(name) <= self._allocator.last_serial

    def defer(self, port: Port, work: Work) -> None:
        """Do work for a port when everything else is done."""
        port.work |= work
        if not port.is_queued_for_work:
            port.references += 1
            port.holds += 1
            port.is_queued_for_work = True
            self._work.append(port)

    def new_port(self, kind: Kind, limit: int) -> Port:
        """Return a port with one reference, in no table."""
        self.port_count += 1
        return Port(kind, limit)

    def make_proxy(self, name: int, node: Neighbour) -> Port:
        """Return a new port that stands for one of the neighbour, with one reference."""
        port = self.new_port(Kind.PROXY, self._proxy_limit)
        port.name, port.node = name, node
        port.home = accounts.open_share(port, node)
        node.proxies[port] = None
        self.names[name] = port
        return port

    def forget_name(self, port: Port) -> None:
        """The port has no place in the table any more."""
        if self.names.get(port.name) is port:
            del self.names[port.name]

    def port_ended(self, _port: Port) -> None:
        """Nobody needs it any more."""
        self.port_count -= 1

    def leave_hands(self, port: Port) -> None:
        """The receive right goes into a message."""
        port.kind = Kind.POSTPRINCIPAL

    def depart(self, port: Port, node: Neighbour) -> int:
        """The message with the receive right goes to a node; return the number of the departure."""
        self.leave_hands(port)
        port.is_departed = True
        port.died_there = False
        port.move_to = (node.node_id, node.incarnation)
        port.departure += 1
        return port.departure

    def fits(self, message: Message, node: Neighbour) -> bool:
        """Return whether the neighbour takes a message that long."""
        return MNL_HEADER_SIZE + message.wire(NAME_NULL).size_bytes <= node.message_max

    def queue_for_node(self, proxy: Port, message: Message) -> None:
        """Queue a message for another node, whatever the limit."""
        message.remote = proxy
        proxy.references += 1
        proxy.holds += 1
        proxy.count += 1
        proxy.queue.append(message)
        self.transmit_again(proxy, message)

    def transmit_again(self, proxy: Port, message: Message) -> None:
        """A message in a proxy's queue goes out in its turn, with its rights."""
        node = proxy.node
        assert node is not None
        outgoing.give(self, message, node)
        message.is_resumed, proxy.resumes = proxy.resumes, False
        node.pair.enqueue(message.wire(proxy.name), message)
        node.is_to_be_served = True

    def deliver(self, port: Port, message: Message) -> None:
        """A message of this node is queued at a port of this node, or held while that has to
        wait."""
        if port.in_flight == 0 and not port.held:
            self.enqueue(port, message)
        else:
            port.held.append(message)
            port.count += 1

    def enqueue(self, port: Port, message: Message) -> None:
        """Queue a message at a port that is here."""
        message.destination = port
        port.queue.append(message)
        port.count += 1
        self._observer.arrived(port)

    def refuse(self, message: Message, reason: NakReason, resend_to: int = -1) -> None:
        """Send a message back to where it came from; its rights never were ours. One whose source
        died meanwhile just ends."""
        node, port = message.neighbour, message.destination
        if node is None:
            return
        if reason is NakReason.MOVED and port is not None:
            accounts.refuse_from_now_on(port, node)
        is_used = reason not in (NakReason.MOVED, NakReason.NO_RIGHT)
        if (
            message.state is RightsState.WIRE
            and message.was_sent_once
            and is_used
            and port is not None
            and port.is_here
            and incoming.use_once(self, port, node)
        ):
            port.once += 1  # for a moment: it dies here
            accounts.once_died(self, port, 1)
        message.is_doubted = False
        message.destination = message.neighbour = None
        node.accepted.pop(message.sequence, None)
        node.pair.refuse(message.sequence, reason, resend_to)
        node.is_to_be_served = True

    def refuse_queues(self, port: Port) -> None:
        """What waits at a port that died will never be received."""
        waiting = [*port.held, *port.queue, *port.doubted]
        if port.kind is Kind.PROXY and port.node is not None:
            port.node.pair.recall(port.name)
        port.held, port.returned, port.doubted = [], 0, []
        port.queue.clear()
        for message in waiting:
            if message.neighbour is not None:
                self.refuse(message, NakReason.DEAD_PORT)
            elif message.remote is not None:
                self.message_done(message, message.remote.node, OutcomeKind.FAILED)
            else:
                self.end_message(message, OutcomeKind.FAILED)

    def message_done(
        self,
        message: Message,
        node: Neighbour | None,
        kind: OutcomeKind,
    ) -> None:
        """A message to another node is at its end; `node` None: that died with it."""
        proxy = message.remote
        assert proxy is not None
        if kind is OutcomeKind.FAILED and node is not None and message.state is RightsState.GIVEN:
            outgoing.return_all(self, message, node)
        if message.state is RightsState.GIVEN:
            outgoing.leave(self, message, node)
        else:
            outgoing.die(self, message)
        if node is not None and message.was_sent_once:
            outgoing.once_arrived(proxy, node)
        message.remote = None
        self._tell_outcome(message, kind)
        proxy.count -= 1
        proxy.holds -= 1
        accounts.unreference(self, proxy)

    def end_message(self, message: Message, kind: OutcomeKind | None) -> None:
        """A message of this node is at its end; rights that are in it die."""
        outgoing.die(self, message)
        if kind is not None:
            self._tell_outcome(message, kind)

    def review(self) -> None:
        """The home of a port changed: deliver what is not doubtful any more."""
        for node in list(self.neighbours.values()):
            for message in list(node.accepted.values()):
                port = message.destination
                if (
                    not message.is_doubted
                    or port is None
                    or incoming.are_doubtful(self, port, message)
                ):
                    continue
                port.doubted.remove(message)
                message.is_doubted = False
                port.count -= 1  # counted already
                self.enqueue(port, message)

    def release_request(self, request: Request) -> None:
        """Somebody will not be told any more, or was."""
        request.notify.holds -= 1
        accounts.unreference(self, request.notify)

    def answer_dead_name(self, port: Port) -> None:
        """A port died: tell those who asked."""
        self._notices.answer_dead_name(port)

    # Outcomes ----------------------------------------------------------------------------

    def _message_back(self, port: Port) -> None:
        """One that was transmitted is so no longer."""
        port.in_flight -= 1
        if port.in_flight == 0 and (port.is_moving or port.kind is Kind.PREPRINCIPAL):
            self.moves.landed(port)

    def _refused(self, node: Neighbour, message: Message, outcome: Outcome) -> None:
        """A message that did not find its port goes after it."""
        port = message.remote
        assert port is not None
        message.refusal = outcome.reason
        if not _may_follow(port, node, outcome):
            self._message_back(port)
            self.message_done(message, node, OutcomeKind.FAILED)
            return
        self.moved += 1
        outgoing.return_all(self, message, node)
        port.references += 1
        self.moves.returned(port, message, node, outcome.resend_to)
        if not port.is_dead:
            self._message_back(port)
        accounts.unreference(self, port)

    def _tell_outcome(self, message: Message, kind: OutcomeKind) -> None:
        if message.token is not None:
            token, message.token = message.token, None
            reason = message.refusal if kind is OutcomeKind.FAILED else None
            self._observer.resolved(Outcome(token, kind, reason))

    # Work ----------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """Do what had to wait; what it leads to is done after it, never within."""
        if self._is_working:
            return
        self._is_working = True
        while self._work:
            port = self._work.popleft()
            while port.work:
                work, port.work = port.work, Work(0)
                if Work.DESTROY in work:
                    accounts.port_dies(self, port)
                    port.holds -= 1
                    accounts.unreference(self, port)
                if Work.MOVE in work:
                    self.moves.work(port)
                if Work.NOTIFY in work:
                    self._notices.work(port)
            port.is_queued_for_work = False
            port.holds -= 1
            accounts.unreference(self, port)
        self._is_working = False
