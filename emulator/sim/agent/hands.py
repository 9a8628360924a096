# SPDX-License-Identifier: MIT
"""What the program of the Python node has in its hands: ports, rights and sets in slots.

Every right is in the accounts of the world, by a number; NO_PORT is one that nobody accounts for.
What is given into a message is lifted out of its slot first, so nobody gives it twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from emulator.protocol.ipc import Item, Message, Port, PortItem, PortsItem, Transfer
from emulator.protocol.message_parts import BytesPart
from emulator.protocol.wire_types import Disposition
from emulator.sim.agent.ports import Mach, PortSet, owned_of
from emulator.sim.agent.world import FOREIGN, NO_PORT, World

__all__ = ["PORTS", "RIGHTS", "SETS", "Hands", "Held", "Packed"]

PORTS: Final = 6
RIGHTS: Final = 8
SETS: Final = 2

# How something goes into a message: SIM_GIVE_* of firmware/sim/sim.h.
_RECEIVE, _MOVE, _COPY, _MAKE, _MAKE_ONCE, _NULL, _BYTES = range(1, 8)
_MOVES: Final = {
    Disposition.RECEIVE: Transfer.MOVE_RECEIVE,
    Disposition.SEND: Transfer.MOVE_SEND,
    Disposition.SEND_ONCE: Transfer.MOVE_SEND_ONCE,
}


@dataclass(slots=True, eq=False)
class Held:
    """A right, its number in the world, and the account of the port that it leads to."""

    right: Port
    account: int
    kind: Disposition = Disposition.SEND
    number: int = NO_PORT


@dataclass(slots=True, eq=False)
class _Thing:
    """What goes into a message; a moved right has its number already, a copied one that of its
    origin. `transfer` None: bytes."""

    transfer: Transfer | None
    port: Port | None = None
    account: int = NO_PORT
    number: int = NO_PORT
    data: bytes = b""

    @property
    def is_moved(self) -> bool:
        return self.port is not None and self.transfer in _MOVES.values()


@dataclass(slots=True, eq=False)
class Packed:
    """A message in the making, and the numbers of the rights that are in it."""

    message: Message
    numbers: list[int] = field(default_factory=list)


class Hands:
    """The slots of one life's program."""

    def __init__(self, world: World, mach: Mach) -> None:
        """Begin with nothing.

        Args:
            world: keeps the accounts.
            mach: the ports of the life.
        """
        self._world = world
        self._mach = mach
        self.ports: list[Port | None] = [None] * PORTS
        self.rights: list[Held | None] = [None] * RIGHTS
        self.sets: list[PortSet | None] = [None] * SETS

    # Ends -------------------------------------------------------------------------------------

    def end(self, held: Held) -> None:
        """Give a right up."""
        if held.kind is not Disposition.RECEIVE:
            self._world.right_ended(held.number)
            self._mach.release(held.right, held.kind)
            return
        if held.account != NO_PORT:
            self._world.port_died(held.account)
        self._world.right_ended(held.number)
        self._mach.release(held.right, held.kind)
        if held.account != NO_PORT:
            self._world.port_gone(held.account)

    def drop_right(self, slot: int) -> None:
        """Empty a slot for a right."""
        held, self.rights[slot] = self.rights[slot], None
        if held is not None:
            self.end(held)

    def drop_port(self, slot: int) -> None:
        """End the port in a slot."""
        port, self.ports[slot] = self.ports[slot], None
        if port is not None:
            self._mach.destroy(port)

    def drop_set(self, slot: int) -> None:
        """End the set in a slot."""
        members, self.sets[slot] = self.sets[slot], None
        if members is not None:
            self._mach.end_set(members)

    def drop_all(self) -> None:
        """Empty every slot."""
        for slot in range(RIGHTS):
            self.drop_right(slot)
        for slot in range(SETS):
            self.drop_set(slot)
        for slot in range(PORTS):
            self.drop_port(slot)

    # Arrivals ---------------------------------------------------------------------------------

    def keep(self, held: Held) -> None:
        """Put a right where there is an empty slot for it, else give it up."""
        if held.account == NO_PORT:
            self.end(held)
        elif held.kind is Disposition.RECEIVE and None in self.ports:
            self._mach.adopt(held.right, held.account)
            self.ports[self.ports.index(None)] = held.right
        elif held.kind is not Disposition.RECEIVE and None in self.rights:
            self.rights[self.rights.index(None)] = held
        else:
            self.end(held)

    def unpack(self, message: Message, numbers: list[int] | None) -> None:
        """Keep the rights of a message; `numbers` as the world has them, None: they are a
        suspect's and given back."""
        slots = list(message.rights())
        if numbers is not None and len(numbers) != len(slots):
            self._world.violated(14, f"{len(slots)} rights where {len(numbers)} were sent")
        for index, slot in enumerate(slots):
            kind = slot.disposition
            port = self._mach.take(message, slot)
            number = numbers[index] if numbers is not None and index < len(numbers) else NO_PORT
            account = self._world.right_port(number)
            self.note_arrival(number, port, kind)
            if port is not None:
                is_port = kind is Disposition.RECEIVE
                self.keep(Held(port, account, kind, NO_PORT if is_port else number))

    def note_arrival(self, number: int, port: Port | None, kind: Disposition) -> None:
        """Tell the world what was found for a right."""
        name = port.name if port is not None else 0
        self._world.right_arrived(number, port is not None, name, kind)

    # Giving -----------------------------------------------------------------------------------

    def lift_right(self, slot: int) -> Held | None:
        """Take a right out of its slot."""
        held, self.rights[slot] = self.rights[slot], None
        return held

    def _of_port(self, how: int, slot: int) -> _Thing | None:
        port = self.ports[slot]
        if port is None:
            return None
        account = owned_of(port).account
        if how != _RECEIVE:
            made = Transfer.MAKE_SEND if how == _MAKE else Transfer.MAKE_SEND_ONCE
            return _Thing(made, port, account)
        self.ports[slot] = None
        self._mach.lift(port)
        number = self._world.right(account, Disposition.RECEIVE, NO_PORT)
        return _Thing(Transfer.MOVE_RECEIVE, port, account, number)

    def _of_right(self, how: int, slot: int, to: Held | None) -> _Thing | None:
        held = self.rights[slot]
        if held is None or held is to:
            return None
        if how == _MOVE:
            self.rights[slot] = None
            return _Thing(_MOVES[held.kind], held.right, held.account, held.number)
        if held.kind is Disposition.SEND:
            return _Thing(Transfer.COPY_SEND, held.right, held.account, held.number)
        return None

    def _thing(self, what: int, to: Held | None) -> _Thing | None:
        how, slot = what & 7, what >> 3 & 31
        if how in (_RECEIVE, _MAKE, _MAKE_ONCE):
            return self._of_port(how, slot % PORTS)
        if how in (_MOVE, _COPY):
            return self._of_right(how, slot % RIGHTS, to)
        if how == _NULL:
            return _Thing(Transfer.COPY_SEND, number=FOREIGN)
        return _Thing(None, data=bytes(8 * slot)) if how == _BYTES else None

    def pack(self, what: int, to: Held | None, *, wants_array: bool) -> Packed | None:
        """Make a message of four bytes of the schedule; of the destination's own slot nothing is
        given, since its right may be used up.

        Returns:
            None: it cannot be; everything is where it was, or ended.
        """
        found = (self._thing(what >> shift & 0xFF, to) for shift in range(0, 32, 8))
        things = [thing for thing in found if thing is not None]
        in_array = 0
        if wants_array and things and things[0].transfer is not None:
            first = things[0].transfer
            things.sort(key=lambda thing: thing.transfer is not first)
            in_array = sum(thing.transfer is first for thing in things)
        message = self._mach.message(_items(things, in_array))
        if message is None:
            self._keep_things(things)
            return None
        packed = Packed(message)
        for thing in things:
            if thing.transfer is None:
                continue
            number = thing.number
            if thing.port is not None and not thing.is_moved:
                number = self._world.right(thing.account, thing.transfer.disposition, number)
            packed.numbers.append(number)
        return packed

    def _keep_things(self, things: list[_Thing]) -> None:
        """There is no message: what was moved is kept as if it had come."""
        for thing in things:
            if thing.port is None or thing.transfer is None or not thing.is_moved:
                continue
            kind, number = thing.transfer.disposition, thing.number
            if kind is Disposition.RECEIVE:
                self._world.right_ended(number)
                number = NO_PORT
            self.keep(Held(thing.port, thing.account, kind, number))


def _items(things: list[_Thing], in_array: int) -> list[Item]:
    items: list[Item] = []
    if in_array and things[0].transfer is not None:
        ports = tuple(thing.port for thing in things[:in_array])
        items.append(PortsItem(things[0].transfer, ports))
    for thing in things[in_array:]:
        if thing.transfer is None:
            items.append(BytesPart(thing.data))
        else:
            items.append(PortItem(thing.port, thing.transfer))
    return items
