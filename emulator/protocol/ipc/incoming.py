# SPDX-License-Identifier: MIT
"""Rights that arrive in messages: judged when the message arrives, made rights of when somebody
receives it.

A message that brings a receive right from somewhere else than where its port is known to be can be
neither believed nor refused: it waits for the word of the known home, and with it what its source
sends to the same port (docs/spec/flipc.md, section 3.3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emulator.protocol.ipc import accounts
from emulator.protocol.ipc.records import (
    Kind,
    Message,
    Neighbour,
    Port,
    RightsState,
    Slot,
)
from emulator.protocol.mnl import NakReason
from emulator.protocol.names import (
    NAME_NULL,
    is_of_later_life,
    is_well_known,
    node_of,
    serial_of,
)
from emulator.protocol.wire_types import Disposition

if TYPE_CHECKING:
    from emulator.protocol.ipc.core import SpaceCore

__all__ = ["are_doubtful", "doubt", "refusal_of", "take", "use_once"]


# Names ---------------------------------------------------------------------------------------


def _is_possible(space: SpaceCore, name: int, home: int) -> bool:
    """Return whether a life that can be gave a name that nobody here knows. A name moves with its
    port and outlives its creator, so that may be any life of anybody."""
    creator = node_of(name)
    if creator >= space.nodes_max:
        return False
    if is_well_known(name):
        return creator == home
    return creator != space.node_id or space.gave(name)


def _is_home_known(space: SpaceCore, name: int, home: int) -> bool:
    """Return whether a port of that name can be reached there; not if that is a life of which is not
    known here that it began: what is sent there would go to the one before."""
    node = space.neighbours.get(home)
    if node is None:
        return False
    return (
        node_of(name) != home
        or node.incarnation == 0
        or not is_of_later_life(name, node.incarnation)
    )


def _refusal_of_slot(space: SpaceCore, slot: Slot, source: Neighbour) -> NakReason | None:
    home = source.node_id if slot.home is None else slot.home
    if slot.name == NAME_NULL:
        return None
    if serial_of(slot.name) == 0:
        return NakReason.BAD_MESSAGE
    port = space.names.get(slot.name)
    if port is not None:
        is_ours = port.is_here and not port.is_departed
        is_wrong = is_ours and slot.disposition is Disposition.RECEIVE
        return NakReason.BAD_MESSAGE if is_wrong else None
    if not _is_possible(space, slot.name, home):
        return NakReason.BAD_MESSAGE
    if home != space.node_id and not _is_home_known(space, slot.name, home):
        return NakReason.NO_ROUTE
    return None


def refusal_of(space: SpaceCore, message: Message, source: Neighbour) -> NakReason | None:
    """Return why the names in a message cannot be such, None if they can."""
    for slot in message.slots():
        reason = _refusal_of_slot(space, slot, source)
        if reason is not None:
            return reason
    return None


# Doubt ---------------------------------------------------------------------------------------


def _may_bring(node: Neighbour, port: Port | None) -> bool:
    """From where the port is or is going to, or back from wherever it went from here."""
    if port is None or port.is_here:
        return True
    return port.node is node or (port.is_moving and port.move_to[0] == node.node_id)


def are_doubtful(space: SpaceCore, port: Port, message: Message) -> bool:
    """Return whether a message for `port`, which is here, brings a port that is elsewhere as far as
    is known, or comes after such a one."""
    node = message.neighbour
    assert node is not None
    for earlier in port.doubted:
        if earlier is message:
            break
        if earlier.neighbour is node:
            return True
    return any(
        slot.disposition is Disposition.RECEIVE and not _may_bring(node, space.names.get(slot.name))
        for slot in message.rights()
    )


def doubt(space: SpaceCore, port: Port, message: Message) -> None:
    """Let a message wait. If a right of ours is on no account it is entered on one: then the home,
    if it is that no more, answers where the port is."""
    node = message.neighbour
    assert node is not None
    message.is_doubted = True
    port.doubted.append(message)
    port.count += 1
    for slot in message.rights():
        brought = space.names.get(slot.name)
        if slot.disposition is not Disposition.RECEIVE or _may_bring(node, brought):
            continue
        assert brought is not None
        home = brought.home
        assert home is not None
        if home.held.send == 0:
            home.held.send += 1
            home.add.send += 1
            accounts.tell(home)


# Rights of names -----------------------------------------------------------------------------


def use_once(space: SpaceCore, port: Port, node: Neighbour) -> bool:
    """A send-once right to `port` that the node has was used; False: it has none."""
    share = port.shares.get(node)
    if share is None or not accounts.give_back(space, share, Disposition.SEND_ONCE):
        return False
    accounts.settle(share)
    return True


def _take_to_here(space: SpaceCore, giver: Neighbour, port: Port, slot: Slot) -> bool:
    """A right to a port that is here; False: the giver cannot have had it."""
    if slot.home == space.node_id:
        if slot.disposition is Disposition.SEND_ONCE and not use_once(space, port, giver):
            return False
    else:  # the giver thought it elsewhere, and has it on its own account
        share = accounts.open_share(port, giver)
        share.drop.add(slot.disposition)
        accounts.tell(share)
    port.references += 1
    if slot.disposition is Disposition.SEND_ONCE:
        port.once += 1
    return True


def _take_to_proxy(space: SpaceCore, giver: Neighbour, port: Port, slot: Slot) -> bool:
    """A right to a port that is at another node: on its account, or to be put there."""
    port.references += 1
    if slot.home == space.node_id:  # ours to answer for, as long as the giver had it
        if slot.disposition is Disposition.SEND_ONCE and not use_once(space, port, giver):
            accounts.unreference(space, port)
            return False
        return True
    home = port.home
    assert home is not None
    home.held.add(slot.disposition)
    if port.node is giver and slot.home in (None, giver.node_id):
        return True
    home.add.add(slot.disposition)
    accounts.tell(home)
    accounts.open_share(port, giver).taken.add(slot.disposition)
    return True


def _take_counted(space: SpaceCore, giver: Neighbour, slot: Slot) -> Port | None:
    """Return the right's port, with a reference; None: dead."""
    port = space.names.get(slot.name)
    if port is None:
        node = space.neighbours.get(giver.node_id if slot.home is None else slot.home)
        if node is None:
            return None
        port = space.make_proxy(slot.name, node)
        took = _take_to_proxy(space, giver, port, slot)
        accounts.unreference(space, port)  # that of its making
    elif port.is_here:
        took = _take_to_here(space, giver, port, slot)
    else:
        took = _take_to_proxy(space, giver, port, slot)
    if took:
        return port
    space.dropped += 1
    return None


def _take_receive(space: SpaceCore, giver: Neighbour, slot: Slot) -> Port | None:
    port = space.names.get(slot.name)
    if port is not None and port.is_departed:
        space.moves.back(port, slot.limit, giver)
        return port
    if port is not None and port.is_here:
        space.dropped += 1  # the same right twice
        return None
    if port is None:
        port = space.new_port(Kind.PROXY, slot.limit)
    space.moves.take(port, slot.name, slot.limit, giver)
    return port


def take(space: SpaceCore, port: Port, message: Message) -> NakReason | None:
    """Make rights of the names in a message that was just taken off the queue of `port`.

    Returns:
        Why the message has to be refused; then nothing was taken.
    """
    giver = message.neighbour
    assert giver is not None
    if message.was_sent_once and not use_once(space, port, giver):
        return NakReason.NO_RIGHT
    for slot in message.slots():
        if slot.name == NAME_NULL:
            slot.port = None
        elif slot.disposition is Disposition.RECEIVE:
            slot.port = _take_receive(space, giver, slot)
        else:
            slot.port = _take_counted(space, giver, slot)
    if message.reply.port is None:
        message.reply.disposition = Disposition.NONE
    message.state = RightsState.OURS
    return None
