# SPDX-License-Identifier: MIT
"""Accounts of rights between this node and others, and the life of the ports they are about.

Nothing here knows messages. An account is a `Share`; a port ends when nobody on this node and no
account needs it (docs/spec/flipc.md, section 3.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emulator.protocol.ipc.records import (
    COUNT_MAX,
    ONCE_MAX,
    Counts,
    Kind,
    Neighbour,
    Port,
    Share,
    Work,
)
from emulator.protocol.names import NAME_NULL
from emulator.protocol.services import Notification
from emulator.protocol.wire_types import Disposition

if TYPE_CHECKING:
    from emulator.protocol.ipc.core import SpaceCore

__all__ = [
    "accepts",
    "all_told",
    "check_senders",
    "forget_untold",
    "give",
    "give_back",
    "hold_right_died",
    "keep_former",
    "once_died",
    "open_share",
    "port_dies",
    "refuse_from_now_on",
    "right_dies",
    "settle",
    "share_keep",
    "share_stay",
    "stop_lingering",
    "take_back_all",
    "tell",
    "tell_unknown",
    "unreference",
]


# Finding, making, ending ---------------------------------------------------------------------


def open_share(port: Port, node: Neighbour) -> Share:
    """Return the account of a port with a living node, made now if need be."""
    share = port.shares.get(node)
    if share is None:
        share = port.shares[node] = Share(node, port.name, port)
        node.shares[share] = None
    return share


def tell_unknown(node: Neighbour, name: int) -> None:
    """Tell a node that no port has that name."""
    share = Share(node, name, None, tell_dead=True)
    node.shares[share] = None
    tell(share)


def tell(share: Share) -> None:
    """Something to tell was entered: let the node have it soon."""
    if not share.is_batched:
        share.node.notices[share] = None
        share.node.is_to_be_served = True


def _set_refused(share: Share, is_refused: bool) -> None:
    if share.port is not None and share.is_refused is not is_refused:
        share.is_refused = is_refused
        share.port.refusals += 1 if is_refused else -1


def refuse_from_now_on(port: Port, node: Neighbour) -> None:
    """A message of the node to the port was refused as moved: keep the order of its messages by
    refusing all, also when the port comes back, until the node begins anew."""
    share = port.shares.get(node)
    if share is not None:
        _set_refused(share, True)


def accepts(port: Port, node: Neighbour, *, is_resumed: bool) -> bool:
    """Return whether a message of the node to the port, which is here, may be delivered."""
    share = port.shares.get(node) if port.refusals else None
    if share is None or not share.is_refused:
        return True
    _set_refused(share, not is_resumed)
    return is_resumed


def _end_share(share: Share) -> None:
    _set_refused(share, False)
    if share.port is not None and share.port.shares.get(share.node) is share:
        del share.port.shares[share.node]
    share.node.shares.pop(share, None)
    share.node.notices.pop(share, None)


def _is_still_needed(share: Share) -> bool:
    """That of a dead port stays as long as the port: a message that brings it may still be on its
    way, and its receiver has to be told then."""
    port = share.port
    return port is not None and (port.home is share or (port.is_dead and port.references != 0))


def settle(share: Share) -> None:
    """Tell what there is to tell; forget the share if nothing is left in it."""
    if share.has_news():
        tell(share)
    elif share.is_empty() and not _is_still_needed(share):
        _end_share(share)


# Giving --------------------------------------------------------------------------------------


def _before_given(port: Port) -> None:
    if not port.is_needed and port.kind is Kind.PROXY:
        port.references += 1


def _after_given(space: SpaceCore, port: Port) -> None:
    if not port.is_needed and port.kind is Kind.PROXY:
        unreference(space, port)


def give(share: Share, disposition: Disposition, count: int = 1) -> bool:
    """Put rights on the account; False: it is full, and stays as it is."""
    port = share.port
    assert port is not None
    is_send = disposition is Disposition.SEND
    room = COUNT_MAX - port.given.send if is_send else ONCE_MAX - share.given.once
    if not 0 < count <= room:
        return False
    _before_given(port)
    share.given.add(disposition, count)
    port.given.add(disposition, count)
    return True


def share_keep(share: Share, keep: bool) -> None:
    """Ask the node, a former home of the port, to stay and tell where it is, or not any more; once
    for each, and not what was not told yet."""
    if share.keeps is keep:
        return
    share.keeps = keep
    if share.tell_go if keep else share.tell_stay:
        share.tell_go = share.tell_stay = False
    elif keep:
        share.tell_stay = True
    else:
        share.tell_go = True


def share_stay(space: SpaceCore, share: Share, stay: bool) -> None:
    """The node asks that of us."""
    port = share.port
    assert port is not None
    if share.kept is stay:
        return
    if stay:
        _before_given(port)
    share.kept = stay
    port.kept += 1 if stay else -1
    if not stay:
        _after_given(space, port)


def keep_former(port: Port, former: Share) -> None:
    """Those to whom we passed rights on will put them on the account of the home that they know,
    which may be the former one: it has to be there to tell them of us, or of the new one. Whoever
    keeps a right for us in that way knows already where the port went."""
    others = [share for share in port.shares.values() if share is not former]
    for share in others:
        if share.given and not share.keeps:
            share.is_passed = True
    if any(share.is_passed for share in others):
        share_keep(former, True)


def _returned(space: SpaceCore, share: Share) -> None:
    """The former homes of a port need not be there any more when those for whom they were are gone,
    or have accounts of their own. A node that was asked to stay has a send right as long as it
    does."""
    port = share.port
    assert port is not None
    if not share.is_passed or share.given.once or share.given.send > int(share.keeps):
        return
    share.is_passed = False
    if any(other.is_passed for other in port.shares.values()):
        return
    for other in list(port.shares.values()):
        if other.keeps:
            share_keep(other, False)
            settle(other)
    all_told(space, port)


def _is_told(port: Port) -> bool:
    """Return whether those have heard of it who answer from now on: the home of our rights, and the
    former homes that are to stay."""
    if port.home is None:
        if port.is_dead or not port.is_here:
            return False
    elif port.home.is_to_be_added():
        return False
    return not any(
        share.tell_stay or (share.keeps and share.is_adding) for share in port.shares.values()
    )


def all_told(space: SpaceCore, port: Port) -> None:
    """If those who answer from now on know, those who answered for our rights need not any more: one
    of these rights may be why the port's former home is still there."""
    if not _is_told(port):
        return
    for share in port.shares.values():
        if share.taken:
            taken = share.taken.take_all()
            share.drop.send += taken.send
            share.drop.once += taken.once
            tell(share)
    stop_lingering(space, port)


def give_back(space: SpaceCore, share: Share, disposition: Disposition, count: int = 1) -> int:
    """Take rights off the account, as many as there are; return how many those were."""
    port = share.port
    assert port is not None
    count = share.given.take(disposition, count)
    if count:
        port.given.take(disposition, count)
        _returned(space, share)
        check_senders(space, port)
        _after_given(space, port)
    return count


def hold_right_died(space: SpaceCore, share: Share, count: int) -> int:
    """Given send-once rights died with the node or at it: the port's owner is told."""
    port = share.port
    assert port is not None
    port.references += 1  # the last right may have been one of these
    count = give_back(space, share, Disposition.SEND_ONCE, count)
    if port.is_here:
        port.once += count  # for a moment: they die here
    once_died(space, port, count)
    unreference(space, port)
    return count


# Ends ----------------------------------------------------------------------------------------


def _release_held(share: Share) -> None:
    """What we have is given back; what was not added yet is added before that."""
    share.drop.send += share.held.send + share.taken.send
    share.drop.once += share.taken.once
    share.dead_once += share.held.once
    share.held, share.taken = Counts(), Counts()
    share_keep(share, False)


def forget_untold(share: Share) -> int:
    """Forget rights that the node was not told of, and that are gone: it never will be.

    Returns:
        How many send-once rights among them died, which somebody has to be told.
    """
    send = min(share.add.send, share.drop.send)
    once = min(share.add.once, share.drop.once)
    dead = min(share.add.once - once, share.dead_once)
    share.add.send -= send
    share.drop.send -= send
    share.add.once -= once + dead
    share.drop.once -= once
    share.dead_once -= dead
    return dead


def _port_ended(port: Port) -> None:
    """What we owe is told, the rest is forgotten."""
    port.home = None
    for share in list(port.shares.values()):
        _release_held(share)
        _set_refused(share, False)
        share.port = None
        settle(share)
    port.shares.clear()


def _void(space: SpaceCore, port: Port) -> None:
    """The port is dead: its holders are told, all accounts are void."""
    gave = port.is_needed
    port.given, port.kept, port.home = Counts(), 0, None
    for share in list(port.shares.values()):
        if share.given:
            share.tell_dead = True
        share.given = Counts()
        share.tell_moved = share.kept = False
        _release_held(share)
        settle(share)
    if gave and port.kind is Kind.PROXY:
        unreference(space, port)


def _take_back(space: SpaceCore, share: Share) -> None:
    """What the dead node had of our port, or of one whose home has us on its account for it."""
    port = share.port
    assert port is not None
    port.references += 1  # the last right may have been the dead node's
    give_back(space, share, Disposition.SEND, share.given.send)
    hold_right_died(space, share, share.given.once)
    share_stay(space, share, False)
    share.held, share.taken, share.add, share.drop = Counts(), Counts(), Counts(), Counts()
    share.dead_once = share.away = share.homeward = 0
    share.tell_dead = share.tell_moved = share.tell_stay = share.tell_go = False
    share.is_batched = share.keeps = share.is_passed = False
    if port.home is share:
        port.home = None
    _end_share(share)
    all_told(space, port)
    unreference(space, port)


def take_back_all(space: SpaceCore, node: Neighbour) -> None:
    """The node is dead: what it had comes back, what it answered for is gone."""
    while node.shares:
        share = next(iter(node.shares))
        if share.port is not None and share.port.references != 0:
            _take_back(space, share)
        else:
            _end_share(share)
    node.batch.clear()


# Ports ---------------------------------------------------------------------------------------


def _must_linger(port: Port) -> bool:
    """Who gave us rights answers for them until the home has heard of them, even if they are gone
    by then: it is told that they need no answer when the home was told."""
    return (
        port.kind is Kind.PROXY
        and not port.is_dead
        and port.home is not None
        and port.home.is_to_be_added()
    )


def stop_lingering(space: SpaceCore, port: Port) -> None:
    """The home has heard of all rights, or there is none any more."""
    if port.lingers:
        port.lingers = False
        unreference(space, port)


def unreference(space: SpaceCore, port: Port) -> None:
    """Give a reference back; the last one ends the port."""
    port.references -= 1
    if port.references:
        if port.requests:
            check_senders(space, port)
        return
    if _must_linger(port):
        port.lingers = True
        port.references = 1
        return
    if port.kind is Kind.PROXY and not port.is_dead:
        space.forget_name(port)
        assert port.node is not None
        port.node.proxies.pop(port, None)
        _forget_requests(space, port)
        space.review()
    _port_ended(port)
    space.port_ended(port)


def once_died(space: SpaceCore, port: Port, count: int) -> None:
    """Send-once rights died unused: the owner is told, here or at the proxy's home."""
    if port.is_dead or count == 0:
        return
    if port.is_here:
        port.once -= min(count, port.once)
        port.once_died += count
        space.defer(port, Work.NOTIFY)
    elif port.home is not None:
        count = min(count, port.home.held.once)
        port.home.held.once -= count
        port.home.dead_once += count
        if count:
            tell(port.home)


def right_dies(space: SpaceCore, port: Port, disposition: Disposition) -> None:
    """A right of any kind on this node dies, with its reference."""
    match disposition:
        case Disposition.NONE:
            return
        case Disposition.RECEIVE:
            port.transit = None
            space.defer(port, Work.DESTROY)
            return
        case Disposition.SEND_ONCE:
            once_died(space, port, 1)
        case Disposition.SEND:
            pass
    unreference(space, port)


def check_senders(space: SpaceCore, port: Port) -> None:
    """Send rights may have become fewer; who asked for that is told when all else is done."""
    is_asked = any(request.message_id == Notification.NO_SENDERS for request in port.requests)
    if is_asked and port.is_without_senders():
        space.defer(port, Work.NOTIFY)


def _forget_requests(space: SpaceCore, port: Port) -> None:
    requests, port.requests = port.requests, []
    for request in requests:
        space.release_request(request)


def port_dies(space: SpaceCore, port: Port) -> None:
    """The receive right is gone; or the proxy's node, or its port."""
    if port.is_dead:
        return
    port.references += 1
    port.is_dead = True
    if port.name != NAME_NULL:
        space.forget_name(port)
    port.once = 0
    port.is_moving = False
    port.transit = None
    node = port.node
    if node is not None:
        node.proxies.pop(port, None)
    space.refuse_queues(port)
    if port.is_here:
        port.count = port.in_flight
    _void(space, port)
    port.node = None
    space.answer_dead_name(port)
    _forget_requests(space, port)
    stop_lingering(space, port)
    space.review()
    unreference(space, port)
