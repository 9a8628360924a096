# SPDX-License-Identifier: MIT
"""What nodes tell each other of accounts: what ours have to tell, a batch at a time, and what a node
tells of its own (docs/spec/flipc.md, section 3.2).

To be told is state, not a queue: changes that cancel out are never told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from emulator.protocol.ipc import accounts
from emulator.protocol.ipc.records import Counts, Kind, Neighbour, Port, Share
from emulator.protocol.message_parts import home_of_wire, wire_of_home
from emulator.protocol.mnl import RIGHTS_COUNT_MAX, RightsEntry, RightsOperation
from emulator.protocol.wire_types import Disposition

if TYPE_CHECKING:
    from emulator.protocol.ipc.core import SpaceCore

__all__ = ["NOTICES_MAX", "news", "settled", "take"]

NOTICES_MAX: Final = 1024  # accounts that wait to be told; from a node with more nothing is taken
_ENTRIES_PER_SHARE: Final = 9


# To the node ---------------------------------------------------------------------------------


def _entries(share: Share) -> list[RightsEntry]:
    """Return what an account has to tell; the order matters: what is added is there before it is
    dropped."""
    operation = RightsOperation
    port = share.port
    dropped = share.droppable()
    moved_to = 0
    if share.tell_moved and port is not None and port.kind is Kind.PROXY and port.node is not None:
        moved_to = wire_of_home(port.node.node_id)
    values = (
        (operation.STAY, int(share.tell_stay)),
        (operation.ADD_SEND, share.add.send),
        (operation.ADD_ONCE, share.add.once),
        (operation.DROP_SEND, dropped.send),
        (operation.DROP_ONCE, dropped.once),
        (operation.DEAD_ONCE, share.dead_once),
        (operation.PORT_DEAD, int(share.tell_dead)),
        (operation.PORT_MOVED, moved_to),
        (operation.GO, int(share.tell_go)),
    )
    share.is_adding = bool(share.add) or share.tell_stay
    share.add, share.dead_once = Counts(), 0
    share.drop = Counts(share.drop.send - dropped.send, 0)
    share.tell_dead = share.tell_moved = share.tell_stay = share.tell_go = False
    return [
        RightsEntry(name=share.name, operation=operation, value=value)
        for operation, value in values
        if value
    ]


def news(node: Neighbour) -> tuple[RightsEntry, ...]:
    """Take a batch of what there is to tell the node."""
    entries: list[RightsEntry] = []
    while node.notices and len(entries) + _ENTRIES_PER_SHARE <= RIGHTS_COUNT_MAX:
        share = next(iter(node.notices))
        del node.notices[share]
        told = _entries(share)
        if not told:  # it cancelled out
            accounts.settle(share)
            continue
        node.batch.append(share)
        share.is_batched = True
        entries += told
    return tuple(entries)


def settled(space: SpaceCore, node: Neighbour) -> None:
    """The node took what `news()` returned."""
    batch, node.batch = node.batch, []
    node.is_to_be_served = True
    for share in batch:
        was_adding = share.is_adding
        share.is_batched = share.is_adding = False
        port = share.port
        if was_adding and port is not None:
            port.references += 1
            accounts.all_told(space, port)
            accounts.settle(share)
            accounts.unreference(space, port)
        else:
            accounts.settle(share)


# From the node -------------------------------------------------------------------------------


def _add(node: Neighbour, port: Port | None, entry: RightsEntry) -> bool:
    """A holder that we did not know of. If the port went on, it has to know where to; if it went to
    the holder itself, the holder will drop what it adds here."""
    if port is None:
        if len(node.notices) >= NOTICES_MAX:
            return False
        accounts.tell_unknown(node, entry.name)
        return True
    is_once = entry.operation == RightsOperation.ADD_ONCE
    share = accounts.open_share(port, node)
    if not accounts.give(
        share, Disposition.SEND_ONCE if is_once else Disposition.SEND, entry.value
    ):
        accounts.settle(share)
        return False
    if port.is_here:
        return True
    if is_once:
        assert port.home is not None
        port.home.held.once += entry.value
        port.home.add.once += entry.value
        accounts.tell(port.home)
    share.tell_moved = True
    accounts.tell(share)
    return True


def _drop_once(space: SpaceCore, port: Port, share: Share, value: int) -> int:
    port.references += 1
    count = accounts.give_back(space, share, Disposition.SEND_ONCE, value)
    if not port.is_here and port.home is not None:
        gone = min(count, port.home.held.once)
        port.home.held.once -= gone
        port.home.drop.once += gone
        accounts.tell(port.home)
    accounts.unreference(space, port)
    return count


def _drop(space: SpaceCore, node: Neighbour, port: Port | None, entry: RightsEntry) -> bool:
    share = port.shares.get(node) if port is not None else None
    if port is None or share is None:
        return port is None  # dead meanwhile, and the node does not know it yet
    port.references += 1
    match entry.operation:
        case RightsOperation.DROP_SEND:
            count = accounts.give_back(space, share, Disposition.SEND, entry.value)
        case RightsOperation.DEAD_ONCE:
            count = accounts.hold_right_died(space, share, entry.value)
        case _:
            count = _drop_once(space, port, share, entry.value)
    accounts.settle(share)
    accounts.unreference(space, port)
    return count == entry.value


def _go(space: SpaceCore, node: Neighbour, port: Port | None) -> bool:
    share = port.shares.get(node) if port is not None else None
    if port is None or share is None:
        return port is None
    port.references += 1
    accounts.share_stay(space, share, False)
    accounts.settle(share)
    accounts.unreference(space, port)
    return True


def _is_at(port: Port, node: Neighbour) -> bool:
    return not port.is_here and port.node is node


def _take_one(space: SpaceCore, node: Neighbour, entry: RightsEntry) -> bool:
    """Return whether it says what can be."""
    operation = RightsOperation
    port = space.names.get(entry.name)
    match entry.operation:
        case operation.ADD_SEND | operation.ADD_ONCE:
            return _add(node, port, entry)
        case operation.DROP_SEND | operation.DROP_ONCE | operation.DEAD_ONCE:
            return _drop(space, node, port, entry)
        case operation.PORT_DEAD:
            if port is not None and _is_at(port, node):
                assert port.home is not None
                port.home.held, port.home.add = Counts(), Counts()
                accounts.port_dies(space, port)
            elif port is not None and port.is_here:
                space.moves.died(port, node)
        case operation.PORT_MOVED:
            if port is not None and _is_at(port, node):
                home = home_of_wire(entry.value)
                space.moves.moved(port, -1 if home is None else home)
        case operation.STAY:
            if port is not None:
                accounts.share_stay(space, accounts.open_share(port, node), True)
        case operation.GO:
            return _go(space, node, port)
        case _:
            return False
    return True


def take(space: SpaceCore, node: Neighbour, entries: tuple[RightsEntry, ...]) -> None:
    """The node tells of its accounts; what cannot be is ignored and counted."""
    for entry in entries:
        if not _take_one(space, node, entry):
            space.dropped += 1
