# SPDX-License-Identifier: MIT
"""Rights that leave in messages: put on the account of the node that they go to when the message is
queued, and the receiver's, or ours again, when it is known what became of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emulator.protocol.ipc import accounts
from emulator.protocol.ipc.records import (
    Message,
    Neighbour,
    Port,
    RightsState,
    Slot,
    Transfer,
)
from emulator.protocol.names import NAME_NULL, is_well_known
from emulator.protocol.wire_types import Disposition

if TYPE_CHECKING:
    from emulator.protocol.ipc.core import SpaceCore

__all__ = ["die", "give", "is_gone", "leave", "put_in", "return_all", "take_out"]


# Into a message of ours ----------------------------------------------------------------------


def put_in(space: SpaceCore, port: Port, transfer: Transfer) -> bool:
    """Make the right that a message is to carry; False: the caller cannot have what it is made
    of."""
    match transfer:
        case Transfer.MOVE_RECEIVE:
            if port.is_dead or not port.is_receivable or is_well_known(port.name):
                return False
            space.leave_hands(port)
        case Transfer.MAKE_SEND:
            if not port.is_dead and not port.is_receivable:
                return False
            port.references += 1
        case Transfer.COPY_SEND:
            port.references += 1
        case Transfer.MAKE_SEND_ONCE:
            if not port.is_dead and not port.is_receivable:
                return False
            port.references += 1
            port.once += 0 if port.is_dead else 1
        case Transfer.MOVE_SEND_ONCE:
            return port.is_dead or port.has_once
        case Transfer.MOVE_SEND:
            pass
    return True


def take_out(space: SpaceCore, port: Port, transfer: Transfer) -> None:
    """As if it had never been put in."""
    match transfer:
        case Transfer.MOVE_RECEIVE:
            space.moves.stay(port)
        case Transfer.MAKE_SEND_ONCE:
            if port.once and not port.is_dead:
                port.once -= 1
            accounts.unreference(space, port)
        case Transfer.MAKE_SEND | Transfer.COPY_SEND:
            accounts.unreference(space, port)
        case _:
            pass


# To a node -----------------------------------------------------------------------------------


def is_gone(port: Port, departure: int) -> bool:
    """Return whether it matters what becomes of that departure: not if the right is back."""
    return port.is_departed and port.departure == departure


def _goes_home(slot: Slot, port: Port, node: Neighbour) -> bool:
    """Return whether the right goes home from the account that the home has for it. A send-once
    right of which the home has still to hear would come sooner than that word: it goes as one that
    we answer for."""
    home = port.home
    if port.is_here or home is None or port.node is not node:
        return False
    return slot.disposition is not Disposition.SEND_ONCE or home.held.once > home.add.once


def _give_slot(space: SpaceCore, slot: Slot, node: Neighbour) -> bool:
    """Put a right on the account of the node; False: the account is full."""
    port = slot.port
    assert port is not None
    if _goes_home(slot, port, node):
        assert port.home is not None
        slot.home = node.node_id
        if slot.disposition is Disposition.SEND_ONCE:
            port.home.once_leaves()
        else:
            port.home.homeward += 1
        return True
    if slot.disposition is Disposition.RECEIVE:
        slot.departure = space.depart(port, node)
        return True
    if not accounts.give(accounts.open_share(port, node), slot.disposition):
        return False
    if port.node is not None and port.node is not node:
        slot.home = port.node.node_id
    if slot.disposition is Disposition.SEND_ONCE and port.is_here:
        port.once -= 1
    return True


def give(space: SpaceCore, message: Message, node: Neighbour) -> None:
    """Write the names of the rights into the message, and put them on the account of the node."""
    for slot in message.slots():
        port = slot.port
        slot.name, slot.home, slot.limit = NAME_NULL, None, 0
        if port is None:
            continue
        if slot.disposition is not Disposition.RECEIVE:
            port.holds += 1
        name = space.name_of(port)  # an account has a name from its beginning
        if port.is_dead or not _give_slot(space, slot, node):
            continue
        slot.name = name
        if slot.disposition is Disposition.RECEIVE:
            slot.limit = port.limit
    message.state = RightsState.GIVEN


# The node has them ---------------------------------------------------------------------------


def _tell_again(port: Port, node: Neighbour) -> None:
    """The port died or moved while its name was on its way: what the node was told of it may have
    come before the right, so it is told again."""
    share = port.shares.get(node)
    if share is None or (port.is_here and not port.is_dead):
        return
    if port.is_dead:
        share.tell_dead = True
    elif share.given:
        share.tell_moved = True
    else:
        return
    accounts.tell(share)


def once_arrived(port: Port, node: Neighbour) -> None:
    """A send-once right that was on its way home is there."""
    share = port.shares.get(node)
    if share is not None:
        share.once_back()
        accounts.settle(share)


def _send_arrived(port: Port, node: Neighbour) -> None:
    """A send right that went home in a message to the node is there, or came back."""
    share = port.shares.get(node)
    if share is not None and share.homeward:
        share.homeward -= 1
        accounts.settle(share)


def _leave_slot(space: SpaceCore, slot: Slot, node: Neighbour | None) -> None:
    port = slot.port
    assert port is not None
    if slot.disposition is Disposition.RECEIVE:
        if not is_gone(port, slot.departure):
            return
        # Its reference is the right's, and goes with the end of the move.
        if node is not None and slot.name != NAME_NULL:
            space.moves.arrived(port, node)
        else:
            accounts.right_dies(space, port, Disposition.RECEIVE)
        return
    if node is not None and slot.name != NAME_NULL:
        _tell_again(port, node)
        if slot.home == node.node_id and slot.disposition is Disposition.SEND_ONCE:
            once_arrived(port, node)
        elif slot.home == node.node_id:
            _send_arrived(port, node)
    port.holds -= 1
    accounts.unreference(space, port)


def _forget(message: Message) -> None:
    message.state = RightsState.OURS
    for slot in message.slots():
        slot.port = None


def leave(space: SpaceCore, message: Message, node: Neighbour | None) -> None:
    """The node has the rights now; None: it died with them."""
    for slot in message.slots():
        if slot.port is not None:
            _leave_slot(space, slot, node)
    _forget(message)


# They come back ------------------------------------------------------------------------------


def _return_home(port: Port, node: Neighbour) -> None:
    """A send-once right that went home came back. If the home is another by now, the former one
    still answers for it."""
    former = port.shares.get(node)
    if former is not None:
        former.once_back()
    if port.is_dead or (not port.is_here and port.home is None):
        return
    if port.is_here:
        port.once += 1
        if former is not None:
            former.drop.once += 1
        return
    assert port.home is not None
    port.home.held.once += 1
    if former is port.home:
        return
    port.home.add.once += 1
    accounts.tell(port.home)
    if former is not None:
        former.taken.once += 1


def _return_slot(space: SpaceCore, slot: Slot, node: Neighbour) -> bool:
    """Return whether the right is there again; not if the node died with it, or the port did."""
    port = slot.port
    assert port is not None
    if slot.disposition is Disposition.RECEIVE:
        port.is_departed = False
        return True
    if slot.home == node.node_id:
        if slot.disposition is Disposition.SEND_ONCE:
            _return_home(port, node)
        else:
            _send_arrived(port, node)
        return True
    share = port.shares.get(node)
    count = accounts.give_back(space, share, slot.disposition) if share is not None else 0
    if slot.disposition is Disposition.SEND:
        return True
    if count == 0:
        return False
    if port.is_here:
        port.once += 1
    return True


def return_all(space: SpaceCore, message: Message, node: Neighbour) -> None:
    """The message came back from the node unread: its rights are its own again."""
    for slot in message.slots():
        port = slot.port
        if port is None:
            continue
        if slot.disposition is Disposition.RECEIVE:
            if not is_gone(port, slot.departure):
                slot.port = None
                continue
        else:
            port.holds -= 1
        if slot.name == NAME_NULL or not _return_slot(space, slot, node):
            slot.port = None
            accounts.unreference(space, port)
            continue
        share = port.shares.get(node)
        if share is not None:
            accounts.settle(share)
    message.state = RightsState.OURS


def die(space: SpaceCore, message: Message) -> None:
    """The rights die with the message."""
    if message.state is RightsState.OURS:
        for slot in message.slots():
            if slot.port is not None:
                accounts.right_dies(space, slot.port, slot.disposition)
    _forget(message)
