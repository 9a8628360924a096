# SPDX-License-Identifier: MIT
"""Ports, port sets and messages of one life of the Python node, as its programs see them.

A thin shell of `IpcSpace` that knows the accounts of the simulated world: each port of this life has
its number there in `Port.context`, each message of this life its number as its token. Sending never
waits here: it answers that there is no room, and the program waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from emulator.protocol.flipc_types import Outcome, OutcomeKind
from emulator.protocol.ipc import Item, Message, Port, SendResult, Slot
from emulator.protocol.names import NAME_NULL
from emulator.protocol.wire_types import Disposition
from emulator.sim.agent.node import Life
from emulator.sim.agent.world import World

__all__ = ["Mach", "Owned", "PortSet", "Witness", "owned_of"]

_OUTCOMES: Final = {OutcomeKind.SETTLED: 1, OutcomeKind.FAILED: 2, OutcomeKind.UNKNOWN: 3}


@dataclass(slots=True, eq=False)
class PortSet:
    """Several ports to receive from; `ready` has those with messages, in turn."""

    is_dead: bool = False
    members: list[Port] = field(default_factory=list)
    ready: deque[Port] = field(default_factory=deque)


@dataclass(slots=True, eq=False)
class Owned:
    """What a program of this life knows of a port whose receive right it has."""

    account: int
    member_of: PortSet | None = None


class Witness:
    """What a space tells: the `Observer` of one life's."""

    def __init__(self, world: World) -> None:
        """Args:
        world: Keeps the accounts.
        """
        self._world = world

    def arrived(self, port: Port) -> None:
        """A message was queued."""
        owned = port.context
        if isinstance(owned, Owned) and owned.member_of is not None:
            ready = owned.member_of.ready
            if port not in ready:
                ready.append(port)

    def resolved(self, outcome: Outcome) -> None:
        """A message of this life has its outcome."""
        assert isinstance(outcome.token, int)
        self._world.outcome(outcome.token, _OUTCOMES[outcome.kind])


class Mach:
    """All ports of one life."""

    def __init__(self, life: Life) -> None:
        """Begin without ports.

        Args:
            life: Whose.
        """
        self._life = life
        self._world = life.world
        self._space = life.space

    @property
    def left(self) -> int:
        """Ports of this life and rights to others that there are."""
        return self._space.port_count

    # Ports ------------------------------------------------------------------------------------

    def create(self, account: int, well_known: int = NAME_NULL, *, is_named: bool = True) -> Port:
        """Return a new port.

        Args:
            account: Its number in the world.
            well_known: Its name; 0: one of its own.
            is_named: Somebody asks for its name now.
        """
        port = self._space.create(name=well_known)
        port.context = Owned(account)
        if well_known == NAME_NULL and is_named:
            self._world.port_named(account, self._space.name_of(port))
        return port

    def adopt(self, port: Port, account: int) -> None:
        """A port's receive right came."""
        port.context = Owned(account)

    def lift(self, port: Port) -> None:
        """A port's receive right is about to go into a message."""
        self.remove(port)
        port.context = None

    def ask_no_senders(self, port: Port, notify: Port) -> bool:
        """Have `notify` told when a port of this life has no senders; False: it cannot be."""
        return self._space.notify_no_senders(port, notify)

    def ask_dead(self, port: Port, notify: Port) -> None:
        """Have `notify` told when a port is dead."""
        self._space.notify_dead(port, notify)

    def destroy(self, port: Port) -> None:
        """End a port; whoever sent what is queued there is told."""
        owned = owned_of(port)
        self._world.port_died(owned.account)
        self.remove(port)
        self._space.destroy(port)
        self._world.port_gone(owned.account)

    def insert(self, members: PortSet, port: Port) -> None:
        """Put a port that is in no set into one."""
        owned = owned_of(port)
        if owned.member_of is None:
            owned.member_of = members
            members.members.append(port)
            if port.queue:
                members.ready.append(port)

    def remove(self, port: Port) -> None:
        """Take a port out of its set."""
        owned = owned_of(port)
        members, owned.member_of = owned.member_of, None
        if members is not None:
            members.members.remove(port)
            if port in members.ready:
                members.ready.remove(port)

    def end_set(self, members: PortSet) -> None:
        """End a set; its ports live on."""
        members.is_dead = True
        for port in list(members.members):
            self.remove(port)

    # Rights -----------------------------------------------------------------------------------

    def right_to(self, name: int) -> Port | None:
        """Return a send right to the port with that name; None: no living node could have it."""
        return self._space.right_to(name)

    def retain(self, right: Port) -> None:
        """Have one more send right."""
        self._space.make_send(right)

    def release(self, right: Port, disposition: Disposition = Disposition.SEND) -> None:
        """Give up a send or send-once right."""
        self._space.release(right, disposition)

    def life_of(self, right: Port) -> tuple[int, int] | None:
        """Return the node and incarnation where the port is, as far as is known; None: it is
        dead."""
        if right.is_here:
            return (self._life.setup.node_id, self._life.incarnation)
        return (right.node.node_id, right.node.incarnation) if right.node is not None else None

    # Messages ---------------------------------------------------------------------------------

    def message(self, items: Sequence[Item] = ()) -> Message | None:
        """Return a message with these items; None: one of them cannot be."""
        return self._space.message(0, items=items)

    def take(self, message: Message, slot: Slot) -> Port | None:
        """Take a right out of a message that is the program's."""
        return self._space.take(message, slot)

    def send(
        self,
        message: Message,
        right: Port,
        *,
        reply: Port | None = None,
        reply_disposition: Disposition = Disposition.SEND_ONCE,
        moves_reply: bool = False,
        is_once: bool = False,
    ) -> SendResult:
        """Send a message, or say why not."""
        self._life.did_something = True
        return self._space.send(
            message,
            right,
            reply=reply,
            reply_disposition=reply_disposition,
            moves_reply=moves_reply,
            is_once=is_once,
        )

    def discard(self, message: Message) -> None:
        """Let a message end that is the caller's, without an outcome."""
        message.token = None
        self._space.discard(message)

    def receive(self, source: Port | PortSet) -> Message | None:
        """Take the oldest message out of a port, or of the ports of a set in turn."""
        if isinstance(source, Port):
            return self._receive(source)
        while source.ready:
            message = self._receive(source.ready[0])
            if message is not None:
                return message
        return None

    def _receive(self, port: Port) -> Message | None:
        had_messages = bool(port.queue)
        message = self._space.next_message(port, self._life.now_ns)
        if had_messages:
            self._life.did_something = True
            owned = port.context
            members = owned.member_of if isinstance(owned, Owned) else None
            if members is not None and port in members.ready:
                members.ready.remove(port)
                if port.queue:
                    members.ready.append(port)
        return message


def owned_of(port: Port) -> Owned:
    """Return what is known of a port whose receive right this life's programs have."""
    assert isinstance(port.context, Owned)
    return port.context
