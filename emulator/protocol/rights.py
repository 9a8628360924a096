# SPDX-License-Identifier: MIT
"""Rights that arrive in messages, for a node that holds them and passes none on.

Which rights a message carries, whether their names can be, and the account of what is held with one
incarnation of a peer: every right that was received is held, given back, used, or void since its
port or its node died (docs/spec/flipc.md, sections 3.1 and 3.2). No I/O, no clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from emulator.protocol.constants import ByteOrder, DataModel
from emulator.protocol.message_parts import PortPart, PortsPart
from emulator.protocol.mnl import (
    Hello,
    MachMessage,
    NakReason,
    RightsEntry,
    RightsOperation,
)
from emulator.protocol.names import (
    NAME_NULL,
    is_well_known,
    node_of,
    serial_of,
    tag_of,
    tag_of_incarnation,
)
from emulator.protocol.wire_types import Disposition

__all__ = [
    "Carried",
    "HeldRights",
    "Peer",
    "RightsStatistics",
    "Surroundings",
    "carried",
    "refusal_of",
]

PROTOCOL: Final = 1

_GIVING_BACK: Final = {
    Disposition.SEND: RightsOperation.DROP_SEND,
    Disposition.SEND_ONCE: RightsOperation.DEAD_ONCE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """The other node of a pair, as training told.

    Args:
        node_id: Which node.
        incarnation: Its life.
        byte_order: Of it.
        data_model: Of it.
    """

    node_id: int
    incarnation: int
    byte_order: int = ByteOrder.LITTLE
    data_model: int = DataModel.LP64

    def says(self, hello: Hello) -> bool:
        """Return whether a greeting is what training told."""
        return (
            hello.incarnation == self.incarnation
            and 1 <= hello.protocol_minimum <= PROTOCOL <= hello.protocol_maximum
            and (hello.byte_order, hello.data_model) == (self.byte_order, self.data_model)
        )


class Surroundings(Protocol):
    """What a node knows of ports and nodes, to judge the names in a message."""

    def incarnation(self, node_id: int) -> int:
        """Return the incarnation of a node that is alive as far as is known, 0 for none."""

    def is_here(self, name: int) -> bool:
        """Return whether the port with that name is on this node and alive."""

    def gave(self, name: int) -> bool:
        """Return whether this life ever gave out that name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """One right in a message; not that to its destination.

    Args:
        name: Of the port, not null.
        disposition: RECEIVE, SEND or SEND_ONCE.
        home: Node where the port is; None: the one that created the message.
        is_reply: It is to the reply port.
    """

    name: int
    disposition: Disposition
    home: int | None = None
    is_reply: bool = False

    def home_of(self, source: int) -> int:
        """Return the node where the port is; `source` created the message."""
        return source if self.home is None else self.home


def _ports(message: MachMessage) -> Iterator[PortPart]:
    for part in message.parts:
        if isinstance(part, PortPart):
            yield part
        elif isinstance(part, PortsPart):
            yield from part.ports


def carried(message: MachMessage) -> tuple[Carried, ...]:
    """Return the rights in a message, in order, that to the reply port first."""
    rights = [
        Carried(name=port.name, disposition=port.disposition, home=port.home)
        for port in _ports(message)
        if port.name != NAME_NULL
    ]
    if message.local != NAME_NULL:
        reply = Carried(
            name=message.local,
            disposition=message.local_disposition,
            home=message.local_home,
            is_reply=True,
        )
        rights.insert(0, reply)
    return tuple(rights)


def _is_possible(name: int, home: int, node_id: int, surroundings: Surroundings) -> bool:
    """Return whether a life that can be gave a name that nobody here knows. A name moves with its
    port, so its creator may be anybody."""
    creator = node_of(name)
    if is_well_known(name):
        return creator == home
    if creator == node_id:
        return surroundings.gave(name)
    life = surroundings.incarnation(creator)
    return creator != home or life == 0 or tag_of(name) == tag_of_incarnation(life)


def _refusal_of_one(
    right: Carried, home: int, node_id: int, surroundings: Surroundings
) -> NakReason | None:
    if surroundings.is_here(right.name):
        return NakReason.BAD_MESSAGE if right.disposition is Disposition.RECEIVE else None
    if not _is_possible(right.name, home, node_id, surroundings):
        return NakReason.BAD_MESSAGE
    if home != node_id and surroundings.incarnation(home) == 0:
        return NakReason.NO_ROUTE
    return None


def refusal_of(
    rights: Iterable[Carried],
    *,
    node_id: int,
    source: int,
    nodes_max: int,
    surroundings: Surroundings,
) -> NakReason | None:
    """Return why a message with these rights has to be refused, None if it has not.

    Args:
        rights: All of them.
        node_id: The receiver.
        source: Node that created the message.
        nodes_max: Of the cluster.
        surroundings: What the receiver knows.
    """
    for right in rights:
        if serial_of(right.name) == 0 or node_of(right.name) >= nodes_max:
            return NakReason.BAD_MESSAGE
        reason = _refusal_of_one(right, right.home_of(source), node_id, surroundings)
        if reason is not None:
            return reason
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class RightsStatistics:
    """Send and send-once rights to ports of other nodes:
    received = held + given_back + used + void.

    Args:
        received: Those that came in messages.
        held: Those of them that are there.
        given_back: The giver was told that there is no account needed any more, or that they died.
        used: Send-once rights that became a message.
        void: Their port, or the giver, died.
    """

    received: int
    held: int
    given_back: int
    used: int
    void: int


_Key = tuple[int, Disposition]


class HeldRights:
    """The account of one node with one incarnation of a peer, which gave it rights.

    Methods that give rights back return what to tell the peer, in RIGHTS messages.
    """

    def __init__(self, node_id: int, peer_id: int | None) -> None:
        """Begin with none.

        Args:
            node_id: The holder.
            peer_id: The giver, if it is known.
        """
        self._node_id = node_id
        self._peer_id = peer_id
        self._held: Counter[_Key] = Counter()
        self._received = 0
        self._given_back = 0
        self._used = 0
        self._void = 0

    def statistics(self) -> RightsStatistics:
        """Return the counters as they are now."""
        return RightsStatistics(
            received=self._received,
            held=self._held.total(),
            given_back=self._given_back,
            used=self._used,
            void=self._void,
        )

    def count(self, name: int, disposition: Disposition) -> int:
        """Return how many rights of a kind are held to a port."""
        return self._held[name, disposition]

    def take(self, rights: Iterable[Carried], *, keep: bool) -> tuple[RightsEntry, ...]:
        """Receive the rights of a message.

        Send-once rights to reply are held until they are used or given back, the others only if
        `keep` says so; what is at a third node is always given back, since it would have to be
        registered there.
        """
        back: Counter[_Key] = Counter()
        for right in rights:
            if right.disposition not in _GIVING_BACK or right.home == self._node_id:
                continue
            self._received += 1
            wanted = keep or (right.is_reply and right.disposition is Disposition.SEND_ONCE)
            is_at_giver = right.home is None or right.home == self._peer_id
            if wanted and is_at_giver:
                self._held[right.name, right.disposition] += 1
            else:
                back[right.name, right.disposition] += 1
        return self._give_back(back)

    def release(
        self, name: int, disposition: Disposition, *, leave: int = 0
    ) -> tuple[RightsEntry, ...]:
        """Give back the rights of a kind to a port, but `leave` of them."""
        count = self._held[name, disposition] - leave
        if count <= 0:
            return ()
        self._forget(name, disposition, count)
        return self._give_back(Counter({(name, disposition): count}))

    def release_all(self) -> tuple[RightsEntry, ...]:
        """Give back everything."""
        held, self._held = self._held, Counter()
        return self._give_back(held)

    def use_once(self, name: int) -> None:
        """A message is sent with a send-once right; it needs no other word."""
        if self._held[name, Disposition.SEND_ONCE]:
            self._forget(name, Disposition.SEND_ONCE, 1)
            self._used += 1

    def told(self, entries: Iterable[RightsEntry]) -> tuple[RightsEntry, ...]:
        """The peer says that ports died, or went elsewhere: what is held to them is void, or given
        back, for this holder follows no port."""
        back: list[RightsEntry] = []
        for entry in entries:
            for disposition in _GIVING_BACK:
                if entry.operation == RightsOperation.PORT_DEAD:
                    self._void += self._held.pop((entry.name, disposition), 0)
                elif entry.operation == RightsOperation.PORT_MOVED:
                    back += self.release(entry.name, disposition)
        return tuple(back)

    def died(self) -> None:
        """The peer's incarnation is dead, and so is everything that it gave."""
        self._void += self._held.total()
        self._held.clear()

    def _forget(self, name: int, disposition: Disposition, count: int) -> None:
        self._held[name, disposition] -= count
        if not self._held[name, disposition]:
            del self._held[name, disposition]

    def _give_back(self, rights: Counter[_Key]) -> tuple[RightsEntry, ...]:
        self._given_back += rights.total()
        return tuple(
            RightsEntry(name=name, operation=_GIVING_BACK[disposition], value=count)
            for (name, disposition), count in rights.items()
        )
