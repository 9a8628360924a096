# SPDX-License-Identifier: MIT
"""Ports, rights and queues of one life of the Python node: what a kernel's message layer is.

A principal's queue holds what a program of this life will receive; a proxy stands for a port of a
peer's life and counts what was sent to it and has no outcome yet. Sending never waits here: it
answers that there is no room, and the program waits.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from emulator.protocol.flipc import IpcArrived, Outcome, OutcomeKind, Pair
from emulator.protocol.mnl import MachMessage, NakReason
from emulator.protocol.names import (
    NameAllocator,
    is_well_known,
    node_of,
    serial_of,
    tag_of,
    tag_of_incarnation,
)
from emulator.protocol.wire_types import Disposition
from emulator.sim.agent.node import Life, Peer

__all__ = ["Mach", "Message", "Port", "PortSet", "Proxy", "Right", "Sent"]

_OUTCOMES: Final = {OutcomeKind.SETTLED: 1, OutcomeKind.FAILED: 2, OutcomeKind.UNKNOWN: 3}
_LIMIT_DEFAULT: Final = 64


class Sent(Enum):
    """What became of a send, at once."""

    DONE = "done"
    NO_ROOM = "no room"
    DEAD = "dead"
    TOO_LARGE = "too large"


@dataclass(slots=True, eq=False)
class Port:
    """A receive right of this life."""

    account: int
    name: int
    limit: int = _LIMIT_DEFAULT
    is_dead: bool = False
    queue: deque[Message] = field(default_factory=deque)
    member_of: PortSet | None = None


@dataclass(slots=True, eq=False)
class PortSet:
    """Several ports to receive from; `ready` has those with messages, in turn."""

    is_dead: bool = False
    members: list[Port] = field(default_factory=list)
    ready: deque[Port] = field(default_factory=deque)


@dataclass(slots=True, eq=False)
class Proxy:
    """A right to a port of a peer's life."""

    peer: Peer
    incarnation: int
    name: int
    limit: int
    is_dead: bool = False
    count: int = 0


Right = Port | Proxy


@dataclass(slots=True, eq=False)
class Message:
    """One in a queue of ours.

    Args:
        body: of it.
        source: node id and incarnation.
        reply: the right that it carries.
        pair: it came through; None: from this life.
        sequence: in that pair.
        account: of a message from this life.
    """

    body: bytes
    source: tuple[int, int]
    reply: Right | None = None
    pair: Pair | None = None
    sequence: int = 0
    account: int = 0


@dataclass(slots=True, eq=False)
class _OnItsWay:
    account: int
    proxy: Proxy


class Mach:
    """All ports of one life; implements `emulator.sim.agent.node.Ports`."""

    def __init__(self, life: Life) -> None:
        """Begin without ports.

        Args:
            life: whose.
        """
        self._life = life
        self._world = life.world
        self._names = NameAllocator(life.setup.node_id, life.incarnation)
        self._ports: dict[int, Port] = {}
        self._proxies: dict[tuple[int, int], Proxy] = {}  # by name and incarnation

    @property
    def left(self) -> int:
        """Ports, messages and rights to living ports that there are."""
        queued = sum(len(port.queue) for port in self._ports.values())
        return len(self._ports) + queued + sum(proxy.count for proxy in self._proxies.values())

    # Ports ------------------------------------------------------------------------------------

    def create(self, account: int, well_known: int | None = None) -> Port:
        """Return a new port.

        Args:
            account: its number in the world.
            well_known: its name; None: one of its own.
        """
        name = self._names.allocate() if well_known is None else well_known
        port = self._ports[name] = Port(account, name)
        if well_known is None:
            self._world.port_named(account, name)
        return port

    def destroy(self, port: Port) -> None:
        """End a port; whoever sent what is queued there is told."""
        self._world.port_died(port.account)
        port.is_dead = True
        del self._ports[port.name]
        self.remove(port)
        while port.queue:
            message = port.queue.popleft()
            if message.pair is not None:
                message.pair.refuse(message.sequence, NakReason.DEAD_PORT)
            else:
                self._world.outcome(message.account, _OUTCOMES[OutcomeKind.FAILED])
        self._world.port_gone(port.account)

    def insert(self, members: PortSet, port: Port) -> None:
        """Put a port that is in no set into one."""
        if port.member_of is None:
            port.member_of = members
            members.members.append(port)
            if port.queue:
                members.ready.append(port)

    def remove(self, port: Port) -> None:
        """Take a port out of its set."""
        members = port.member_of
        if members is not None:
            port.member_of = None
            members.members.remove(port)
            if port in members.ready:
                members.ready.remove(port)

    def end_set(self, members: PortSet) -> None:
        """End a set; its ports live on."""
        members.is_dead = True
        for port in list(members.members):
            self.remove(port)

    def right_to(self, name: int) -> Right | None:
        """Return a right to the port with that name; None: there is no such living port known."""
        if node_of(name) == self._life.setup.node_id:
            return self._ports.get(name)
        peer = self._life.peers.get(node_of(name))
        if peer is None or peer.incarnation == 0 or serial_of(name) == 0:
            return None
        if not is_well_known(name) and tag_of(name) != tag_of_incarnation(peer.incarnation):
            return None
        key = (name, peer.incarnation)
        proxy = self._proxies.get(key)
        if proxy is None:
            window = self._life.setup.constants.window
            proxy = self._proxies[key] = Proxy(peer, peer.incarnation, name, window)
        return proxy

    # Messages ---------------------------------------------------------------------------------

    def send(self, right: Right, account: int, body: bytes, reply: Port | None) -> Sent:
        """Send a message, or say why not."""
        if right.is_dead:
            return Sent.DEAD
        if isinstance(right, Port):
            if len(right.queue) >= right.limit:
                return Sent.NO_ROOM
            source = (self._life.setup.node_id, self._life.incarnation)
            self._enqueue(right, Message(body, source, reply, account=account))
            return Sent.DONE
        if right.count >= right.limit:
            return Sent.NO_ROOM
        if len(body) + 56 > right.peer.message_max:
            return Sent.TOO_LARGE
        is_alive = reply is not None and not reply.is_dead
        message = MachMessage(
            remote=right.name,
            id=0,
            body=body,
            local=reply.name if reply is not None and is_alive else 0,
            local_disposition=Disposition.SEND_ONCE if is_alive else Disposition.NONE,
        )
        right.count += 1
        right.peer.pair.enqueue(message, _OnItsWay(account, right))
        return Sent.DONE

    def receive(self, source: Port | PortSet) -> Message | None:
        """Take the oldest message out of a port, or of the ports of a set in turn."""
        if isinstance(source, PortSet):
            if not source.ready:
                return None
            source = source.ready[0]
        if not source.queue:
            return None
        message = source.queue.popleft()
        if source.member_of is not None:
            ready = source.member_of.ready
            ready.remove(source)
            if source.queue:
                ready.append(source)
        if message.pair is not None:
            message.pair.consumed(message.sequence, self._life.now_ns)
        else:
            self._world.outcome(message.account, _OUTCOMES[OutcomeKind.SETTLED])
        return message

    def _enqueue(self, port: Port, message: Message) -> None:
        port.queue.append(message)
        if port.member_of is not None and len(port.queue) == 1:
            port.member_of.ready.append(port)

    # What the life tells ----------------------------------------------------------------------

    def arrived(self, peer: Peer, arrival: IpcArrived) -> None:
        """Queue a message of a peer's life at its port, or refuse it."""
        message = arrival.message
        port = self._ports.get(message.remote)
        if port is None:
            peer.pair.refuse(arrival.sequence, self._why_not(message.remote))
            return
        reply: Right | None = None
        if message.local:
            reply = self.right_to(message.local)
            is_ours = node_of(message.local) == self._life.setup.node_id
            if reply is None and not is_ours:
                peer.pair.refuse(arrival.sequence, NakReason.BAD_MESSAGE)
                return
        source = (peer.node_id, peer.incarnation)
        self._enqueue(port, Message(message.body, source, reply, peer.pair, arrival.sequence))

    def resolved(self, outcome: Outcome) -> None:
        """A message to a proxy has its outcome."""
        token = outcome.token
        assert isinstance(token, _OnItsWay)
        token.proxy.count -= 1
        self._world.outcome(token.account, _OUTCOMES[outcome.kind])

    def before_death(self, peer: Peer) -> None:
        """What is in our queues of that life is ours already."""
        for port in self._ports.values():
            for message in port.queue:
                if message.pair is peer.pair:
                    self._world.note_accepted(message.body, message.source)

    def died(self, peer: Peer) -> None:
        """Rights to ports of that life are dead."""
        for key, proxy in list(self._proxies.items()):
            if proxy.peer is peer:
                proxy.is_dead = True
                del self._proxies[key]

    def _why_not(self, name: int) -> NakReason:
        if node_of(name) != self._life.setup.node_id:
            return NakReason.NOT_PRINCIPAL
        was_ours = (
            tag_of(name) == tag_of_incarnation(self._life.incarnation)
            and 0 < serial_of(name) <= self._names.last_serial
        )
        return NakReason.DEAD_PORT if was_ours else NakReason.UNKNOWN_NAME
