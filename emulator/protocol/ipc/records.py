# SPDX-License-Identifier: MIT
"""Ports, accounts, messages and neighbours of one life of a node: the records, and what each knows
by itself.

What changes several of them at once is in the modules beside this one; `IpcSpace` is what others
use. docs/design/rights.md says why accounts are kept like this.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, Flag, auto
from typing import Final, Self

from emulator.protocol.flipc import Pair
from emulator.protocol.message_parts import BytesPart, Part, PortPart, PortsPart
from emulator.protocol.mnl import MachMessage, NakReason
from emulator.protocol.names import NAME_NULL
from emulator.protocol.wire_types import Disposition

__all__ = [
    "COUNT_MAX",
    "ONCE_MAX",
    "Counts",
    "Kind",
    "Message",
    "Neighbour",
    "Place",
    "Port",
    "PortItem",
    "PortsItem",
    "Request",
    "RightsState",
    "Share",
    "Slot",
    "SlotArray",
    "Transfer",
    "Work",
]

COUNT_MAX: Final = 0x7FFFFFFF  # no count of rights goes beyond it
ONCE_MAX: Final = 0xFFFF  # send-once rights in one account, since each that dies is told


class Kind(Enum):
    """Where a port's receive right is."""

    PRINCIPAL = "principal"  # here
    PROXY = "proxy"  # at another node
    PREPRINCIPAL = "preprincipal"  # here; what was sent from here waits for what comes back
    POSTPRINCIPAL = "postprincipal"  # in a message


class Transfer(Enum):
    """How a right gets into a message: what it is made of."""

    MOVE_RECEIVE = "move receive"
    MOVE_SEND = "move send"
    COPY_SEND = "copy send"
    MAKE_SEND = "make send"
    MOVE_SEND_ONCE = "move send-once"
    MAKE_SEND_ONCE = "make send-once"

    @property
    def disposition(self) -> Disposition:
        """The right that the receiver gets."""
        if self is Transfer.MOVE_RECEIVE:
            return Disposition.RECEIVE
        if self in (Transfer.MOVE_SEND_ONCE, Transfer.MAKE_SEND_ONCE):
            return Disposition.SEND_ONCE
        return Disposition.SEND


@dataclass(frozen=True, slots=True)
class PortItem:
    """A right to be sent; `port` None: none."""

    port: Port | None
    transfer: Transfer


@dataclass(frozen=True, slots=True)
class PortsItem:
    """An out-of-line array of rights to be sent, all made in the same way."""

    transfer: Transfer
    ports: tuple[Port | None, ...]


class Work(Flag):
    """What is done for a port when everything else is."""

    NOTIFY = auto()  # tell its owner what became of rights to it
    DESTROY = auto()  # its receive right died in a message
    MOVE = auto()  # go on with a move


@dataclass(slots=True)
class Counts:
    """Rights of the two kinds that are counted."""

    send: int = 0
    once: int = 0

    def __bool__(self) -> bool:
        return self.send != 0 or self.once != 0

    def add(self, disposition: Disposition, count: int = 1) -> None:
        """Count more of one kind."""
        if disposition is Disposition.SEND:
            self.send += count
        else:
            self.once += count

    def take(self, disposition: Disposition, count: int) -> int:
        """Count fewer of one kind, at most as many as there are; return how many."""
        count = min(count, self.send if disposition is Disposition.SEND else self.once)
        self.add(disposition, -count)
        return count

    def take_all(self) -> Counts:
        """Return what is there; nothing is left."""
        taken = Counts(self.send, self.once)
        self.send = self.once = 0
        return taken


@dataclass(slots=True, eq=False)
class Neighbour:
    """A living incarnation of another node.

    Args:
        node_id: Of it.
        incarnation: Its life; 0: not known yet.
        pair: The streams between it and us.
        message_max: Bytes of the largest message that it takes, mnl header included.
        is_to_be_served: Its pair may have something new to send; whoever looks clears it.
    """

    node_id: int
    incarnation: int
    pair: Pair
    message_max: int
    is_to_be_served: bool = False
    shares: dict[Share, None] = field(default_factory=dict)
    notices: dict[Share, None] = field(default_factory=dict)  # that have something to tell
    batch: list[Share] = field(default_factory=list)  # told in a message on its way
    proxies: dict[Port, None] = field(default_factory=dict)
    accepted: dict[int, Message] = field(default_factory=dict)  # unsettled, by sequence number


@dataclass(slots=True, eq=False)
class Share:
    """The account of one port with one other node; the same record at both ends of every relation.

    Args:
        node: The other node.
        name: Of the port.
        port: None: it ended, and the node has still to be told.
        given: The node has them from us, we answer for them.
        held: We have them, the node, the port's home, has our account.
        taken: We had them from the node, which answers for them until the home has our account.
        away: Send-once rights on their way to the node, their home.
        homeward: Send rights in messages to the node, their home: until those are settled none is
            dropped, or they would come to a port that ended.
        add: To be told: of `held`.
        drop: To be told.
        dead_once: To be told.
        keeps: The node was asked to stay as a former home.
        kept: We were asked by it.
        is_batched: It is in a message on its way.
        is_adding: ... with additions.
        is_refused: Messages of the node came back as moved: it has to begin anew.
        is_passed: Of what is given, something was passed on when the port was elsewhere.
    """

    node: Neighbour
    name: int
    port: Port | None
    given: Counts = field(default_factory=Counts)
    held: Counts = field(default_factory=Counts)
    taken: Counts = field(default_factory=Counts)
    away: int = 0
    homeward: int = 0
    add: Counts = field(default_factory=Counts)
    drop: Counts = field(default_factory=Counts)
    dead_once: int = 0
    tell_dead: bool = False
    tell_moved: bool = False
    tell_stay: bool = False
    tell_go: bool = False
    keeps: bool = False
    kept: bool = False
    is_batched: bool = False
    is_adding: bool = False
    is_refused: bool = False
    is_passed: bool = False

    def is_to_be_added(self) -> bool:
        """Return whether the node, the home, has still to hear of rights that we had or have."""
        return self.is_adding or bool(self.add)

    def has_news(self) -> bool:
        """Return whether there is something to tell."""
        return (
            bool(self.add)
            or bool(self.droppable())
            or self.dead_once != 0
            or self.tell_dead
            or self.tell_moved
            or self.tell_stay
            or self.tell_go
        )

    def droppable(self) -> Counts:
        """Return what may be dropped now."""
        return Counts(0 if self.homeward else self.drop.send, self.drop.once)

    def is_empty(self) -> bool:
        """Return whether nothing is left in it."""
        return not (
            self.is_batched
            or self.given
            or self.held
            or self.taken
            or self.away
            or self.homeward
            or self.keeps
            or self.kept
            or self.has_news()
        )

    def once_leaves(self) -> None:
        """A send-once right goes to its home, in a message or with the one that it is used for."""
        self.held.once -= 1
        self.away += 1

    def once_back(self) -> None:
        """It is not on its way any more."""
        self.away = max(self.away - 1, 0)


@dataclass(slots=True, eq=False)
class Request:
    """Somebody wants to be told: `message_id` of docs/spec/flipc.md, section 3.5."""

    notify: Port
    message_id: int


@dataclass(slots=True, eq=False)
class Port:
    """A port that is here, or stands for one of another node.

    Args:
        name: 0: it has none yet.
        kind: Where its receive right is.
        limit: Of its queue.
        references: Rights on this node, and whatever else needs it.
        holds: References that are no send rights, those of send-once rights apart.
        once: Of a port that is here: send-once rights on this node.
        once_died: Deaths of send-once rights to be told, after `death_notice`.
        death_notice: That one died: waits here to be received.
        context: The user's.
        queue: What its owner will receive; of a proxy: what was not transmitted yet.
        held: Messages that came back, and what was sent after them.
        returned: So many at the head of `held` came back.
        doubted: Messages that bring a port which is elsewhere, as far as is known here, and what
            their sources sent after them.
        count: Messages that its limit bounds.
        in_flight: Transmitted and not settled.
        home: Of a proxy: with its node.
        transit: The local port in whose queue the receive right waits.
        move_to: Whereto, while it is moving or departed: node id and incarnation.
        departure: How often the receive right was sent to another node.
        is_departed: Of a postprincipal: bound for `move_to`, which may have it already.
        died_there: ... and which said that it is dead.
        is_moving: Of a proxy: bound for `move_to`; of a postprincipal: arrived there.
        lingers: Of a proxy: without rights, until its home has heard of those that it had.
        resumes: Of a proxy: the next message is the first after others came back.
        moves: Since a message was settled last.
        kept: `Share.kept` among the shares.
        refusals: `Share.is_refused` among the shares.
    """

    kind: Kind
    limit: int
    name: int = NAME_NULL
    references: int = 1
    holds: int = 0
    once: int = 0
    once_died: int = 0
    death_notice: Message | None = None
    is_dead: bool = False
    context: object = None
    node: Neighbour | None = None
    queue: deque[Message] = field(default_factory=deque)
    held: list[Message] = field(default_factory=list)
    returned: int = 0
    doubted: list[Message] = field(default_factory=list)
    count: int = 0
    in_flight: int = 0
    given: Counts = field(default_factory=Counts)
    shares: dict[Neighbour, Share] = field(default_factory=dict)
    home: Share | None = None
    requests: list[Request] = field(default_factory=list)
    work: Work = field(default_factory=lambda: Work(0))
    is_queued_for_work: bool = False
    transit: Port | None = None
    move_to: tuple[int, int] = (0, 0)
    departure: int = 0
    is_departed: bool = False
    died_there: bool = False
    is_moving: bool = False
    lingers: bool = False
    resumes: bool = False
    moves: int = 0
    kept: int = 0
    refusals: int = 0

    @property
    def is_here(self) -> bool:
        """Whether the receive right is on this node, in somebody's hands or in a message."""
        return self.kind is not Kind.PROXY

    @property
    def is_receivable(self) -> bool:
        """Whether its receive right is in somebody's hands here."""
        return self.kind in (Kind.PRINCIPAL, Kind.PREPRINCIPAL)

    @property
    def is_needed(self) -> bool:
        """Whether other nodes have rights from this one, or need it to find the port."""
        return bool(self.given) or self.kept != 0

    @property
    def has_once(self) -> bool:
        """Whether there is a send-once right to it on this node."""
        if self.is_here:
            return self.once != 0
        return self.home is not None and self.home.held.once != 0

    def has_senders(self) -> bool:
        """Return whether anybody has a send right to this port, which is here."""
        return self.given.send != 0 or self.references != self.holds + self.once

    def is_without_senders(self) -> bool:
        """Return whether its lack of senders is something to tell. While the receive right is on
        its way to another node, who may have it already, senders there are not counted here."""
        is_ours = self.is_here and not self.is_dead and not self.is_departed
        return is_ours and not self.has_senders()


@dataclass(slots=True, eq=False)
class Slot:
    """The place of a right in a message.

    Args:
        disposition: Of the right.
        port: None: none, dead, taken, or still a name.
        name: As on the wire.
        home: As on the wire: None: where the message was made.
        limit: Of a port whose receive right it is.
        departure: Of a receive right: `Port.departure`.
    """

    disposition: Disposition
    port: Port | None = None
    name: int = NAME_NULL
    home: int | None = None
    limit: int = 0
    departure: int = 0

    @classmethod
    def of_part(cls, part: PortPart) -> Self:
        """Return the place of a right that arrived."""
        return cls(part.disposition, None, part.name, part.home, part.limit)

    def part(self) -> PortPart:
        """Return the right as it is on the wire."""
        return PortPart(
            name=self.name, disposition=self.disposition, home=self.home, limit=self.limit
        )


class RightsState(Enum):
    """Whose the rights are that a message carries."""

    OURS = "ours"  # the message's: they die with it
    GIVEN = "given"  # the destination's, on its account
    WIRE = "wire"  # names, which a receiver makes rights of


@dataclass(slots=True, eq=False)
class SlotArray:
    """The places of an out-of-line array of rights."""

    disposition: Disposition
    slots: list[Slot]


Place = Slot | SlotArray | BytesPart


@dataclass(slots=True, eq=False)
class Message:
    """A Mach message and everything that is known about it.

    Args:
        id: Of it.
        body: Opaque.
        places: What it carries besides, in order.
        reply: The place of the reply right.
        token: The sender's; comes back in its outcome. None: nobody asks.
        source: Who sent it: node id and incarnation.
        sender: Who on that node; 0: its kernel.
        qos: Quality of service, as its sender set it.
    """

    id: int
    body: bytes = b""
    places: list[Place] = field(default_factory=list)
    reply: Slot = field(default_factory=lambda: Slot(Disposition.NONE))
    token: object = None
    source: tuple[int, int] = (0, 0)
    sender: int = 0
    was_sent_once: bool = False
    is_resumed: bool = False
    qos: int = 0
    is_doubted: bool = False
    state: RightsState = RightsState.OURS
    neighbour: Neighbour | None = None  # whom its settlement is owed
    sequence: int = 0
    destination: Port | None = None  # in whose queue it is
    remote: Port | None = None  # the proxy that it was sent to
    refusal: NakReason | None = None  # why it came back last

    def rights(self) -> Iterator[Slot]:
        """Return the places of the rights in its parts."""
        for place in self.places:
            if isinstance(place, Slot):
                yield place
            elif isinstance(place, SlotArray):
                yield from place.slots

    def slots(self) -> Iterator[Slot]:
        """Return the places of all rights, that of the reply right first."""
        yield self.reply
        yield from self.rights()

    @property
    def has_rights(self) -> bool:
        """Whether there is a place for one in it."""
        return self.reply.disposition is not Disposition.NONE or any(True for _ in self.rights())

    @classmethod
    def of_wire(cls, wire: MachMessage, source: Neighbour, sequence: int) -> Self:
        """Return a message that was accepted; its rights are names still."""
        places: list[Place] = []
        for part in wire.parts:
            match part:
                case PortPart():
                    places.append(Slot.of_part(part))
                case PortsPart():
                    slots = [Slot.of_part(port) for port in part.ports]
                    places.append(SlotArray(part.disposition, slots))
                case BytesPart():
                    places.append(part)
        return cls(
            id=wire.id,
            body=wire.body,
            places=places,
            reply=Slot(wire.local_disposition, None, wire.local, wire.local_home),
            source=(source.node_id, source.incarnation),
            sender=wire.sender,
            was_sent_once=wire.remote_disposition is Disposition.SEND_ONCE,
            is_resumed=wire.resumed,
            qos=wire.qos,
            neighbour=source,
            sequence=sequence,
        )

    def wire(self, name: int) -> MachMessage:
        """Return it as it is on the wire, for the port of that name."""
        has_reply = self.reply.name != NAME_NULL
        parts: list[Part] = []
        for place in self.places:
            match place:
                case Slot():
                    parts.append(place.part())
                case SlotArray(disposition, slots):
                    ports = tuple(slot.part() for slot in slots)
                    parts.append(PortsPart(disposition=disposition, ports=ports))
                case BytesPart():
                    parts.append(place)
        return MachMessage(
            remote=name,
            id=self.id,
            body=self.body,
            local=self.reply.name,
            local_disposition=self.reply.disposition if has_reply else Disposition.NONE,
            local_home=self.reply.home if has_reply else None,
            remote_disposition=Disposition.SEND_ONCE if self.was_sent_once else Disposition.SEND,
            sender=self.sender,
            resumed=self.is_resumed,
            qos=self.qos,
            parts=tuple(parts),
        )
