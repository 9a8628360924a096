# SPDX-License-Identifier: MIT
"""Ports that move: their receive right goes from node to node in a message, their name with it.

Order is kept by waiting: while a message of ours is on its way to a former home, nothing more is
sent to the port from here. It is settled there or comes back; then all that came back goes to the
new home, before what was sent since (docs/spec/flipc.md, section 3.3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from emulator.protocol.flipc_types import OutcomeKind
from emulator.protocol.ipc import accounts, outgoing
from emulator.protocol.ipc.records import (
    Counts,
    Kind,
    Message,
    Neighbour,
    Port,
    Share,
    Work,
)
from emulator.protocol.mnl import NakReason
from emulator.protocol.names import NAME_NULL
from emulator.protocol.wire_types import Disposition

if TYPE_CHECKING:
    from emulator.protocol.ipc.core import SpaceCore

__all__ = ["Moves"]

MOVES_MAX: Final = 16  # of a port without a message of ours received: then it counts as dead here


class Moves:
    """What happens to the ports of a space that move."""

    def __init__(self, space: SpaceCore) -> None:
        """Begin with none moving.

        Args:
            space: Of the ports.
        """
        self._space = space

    # Here ----------------------------------------------------------------------------------------

    def _is_home(self, port: Port, message: Message) -> None:
        """A message came back to the node where the port is now: it is one of this node's."""
        if message.remote is None:
            return
        message.was_sent_once = False
        message.remote = None
        port.holds -= 1
        accounts.unreference(self._space, port)

    def _settle_kind(self, port: Port) -> None:
        """What was sent after messages that are on their way waits for them."""
        if port.in_flight:
            port.kind = Kind.PREPRINCIPAL
            return
        port.kind = Kind.PRINCIPAL
        held, port.held, port.returned = port.held, [], 0
        for message in held:
            self._is_home(port, message)
            port.count -= 1  # counted already
            self._space.enqueue(port, message)

    def stay(self, port: Port) -> None:
        """A receiver on this node took the receive right out again, or it came back unread."""
        port.transit = None
        port.is_departed = False
        self._settle_kind(port)

    def back(self, port: Port, limit: int, giver: Neighbour) -> None:
        """The receive right of a port that departed came back before what became of the departure
        was known: it is as if it had stayed. Only the node that it went to counts a send right of
        ours, and the node that it comes from has one here."""
        node = self._bound_for(port)
        if node is not None:
            share = accounts.open_share(port, node)
            share.drop.send += 1
            accounts.tell(share)
        port.is_moving = False
        port.limit = limit
        accounts.give(accounts.open_share(port, giver), Disposition.SEND)
        self.stay(port)

    # Away ----------------------------------------------------------------------------------------

    def _bound_for(self, port: Port) -> Neighbour | None:
        node_id, incarnation = port.move_to
        node = self._space.neighbours.get(node_id)
        return node if node is not None and node.incarnation == incarnation else None

    def arrived(self, port: Port, node: Neighbour) -> None:
        """The node received the receive right: this port becomes a proxy."""
        port.is_moving = True
        port.move_to = (node.node_id, node.incarnation)
        if port.in_flight == 0:
            self._space.defer(port, Work.MOVE)

    def died(self, port: Port, node: Neighbour) -> None:
        """The node says that the port is dead. If that is where it went from here, and what became
        of the departure is not known here yet, it is remembered until it is."""
        if port.is_departed and self._bound_for(port) is node:
            port.died_there = True

    def _forward(self, port: Port, messages: list[Message]) -> None:
        """What is in a list of a port that is no longer here goes on, or back."""
        node = port.node
        assert node is not None
        for message in messages:
            if message.neighbour is not None:
                self._space.refuse(message, NakReason.MOVED, node.node_id)
                continue
            self._is_home(port, message)
            if self._space.fits(message, node):
                self._space.queue_for_node(port, message)
            else:
                self._space.end_message(message, OutcomeKind.FAILED)

    def _become_proxy(self, port: Port, node: Neighbour) -> None:
        """The new home counts one send right of ours, so that it does not think itself alone before
        our holders have told it of themselves; the send-once rights that we answer for are told
        now."""
        once = port.once + port.given.once
        port.is_moving = port.is_departed = False
        port.resumes = True
        port.kind = Kind.PROXY
        port.node = node
        home = port.home = accounts.open_share(port, node)
        home.held.send += 1
        home.held.once += once
        home.add.once += once + port.once_died
        home.dead_once += port.once_died  # the new home tells the owner
        has_news = once + port.once_died != 0
        port.once = port.once_died = 0
        port.death_notice = None
        node.proxies[port] = None
        if port.is_needed:
            port.references += 1
        for share in port.shares.values():
            share.tell_moved = share is not home and bool(share.given)
            if share.tell_moved:
                accounts.tell(share)
        if has_news:
            accounts.tell(home)
        port.count = 0
        waiting = [*port.queue, *port.held, *port.doubted]
        port.queue.clear()
        port.held, port.returned, port.doubted = [], 0, []
        self._forward(port, waiting)
        port.holds -= 1  # the receive right's reference
        accounts.unreference(self._space, port)

    # Back, or from elsewhere ---------------------------------------------------------------------

    def _recall(self, port: Port, former: Neighbour, home: Share) -> None:
        """What was sent from here and never left is local now."""
        former.pair.recall(port.name)
        while port.queue:
            message = port.queue.popleft()
            outgoing.return_all(self._space, message, former)
            if message.was_sent_once:
                home.once_back()
                home.drop.once += 1
            self._is_home(port, message)
            port.held.append(message)

    def _close_returned(self, port: Port, former: Share) -> None:
        """What came back from the former home and was going to follow the port is here already: the
        send-once rights that it was sent with need no account there any more."""
        former.drop.once += sum(message.was_sent_once for message in port.held)

    def _close_accounts(self, port: Port, former: Share) -> None:
        """Those of a proxy that becomes a principal: nobody has to answer for its rights now."""
        held = former.held.take_all()
        former.drop.send += held.send
        former.drop.once += held.once
        dead = accounts.forget_untold(former)
        port.once += dead  # for a moment
        accounts.once_died(self._space, port, dead)
        for share in port.shares.values():
            share.tell_moved = False
        accounts.keep_former(port, former)
        accounts.all_told(self._space, port)

    def _proxy_takes(self, port: Port) -> None:
        home, node = port.home, port.node
        assert home is not None
        assert node is not None
        port.is_moving = False
        node.proxies.pop(port, None)
        self._close_returned(port, home)
        self._recall(port, node, home)
        port.kind = Kind.PREPRINCIPAL
        port.once = max(home.held.once - port.given.once, 0)
        port.home = port.node = None
        self._close_accounts(port, home)
        if port.is_needed:
            accounts.unreference(self._space, port)
        accounts.stop_lingering(self._space, port)

    def take(self, port: Port, name: int, limit: int, giver: Neighbour) -> None:
        """A receive right came: `port`, a new one or the proxy of that name, is its principal."""
        port.holds += 1
        if port.name == NAME_NULL:
            port.kind = Kind.PRINCIPAL
            port.name = name
            self._space.names[name] = port
        else:
            port.references += 1
            self._proxy_takes(port)
        port.limit = limit
        accounts.give(accounts.open_share(port, giver), Disposition.SEND)
        self._settle_kind(port)
        for share in list(port.shares.values()):
            accounts.settle(share)
        self._space.review()

    # Following -----------------------------------------------------------------------------------

    def moved(self, port: Port, node_id: int) -> None:
        """A proxy's home says that the port is at that node."""
        node = self._space.neighbours.get(node_id)
        if port.is_moving or port.is_dead:
            return
        port.moves += 1
        if node is None or port.moves > MOVES_MAX:
            accounts.port_dies(self._space, port)
            return
        port.is_moving = True
        port.move_to = (node_id, node.incarnation)
        self._space.review()
        if port.in_flight == 0:
            self._space.defer(port, Work.MOVE)

    def returned(self, port: Port, message: Message, node: Neighbour, node_id: int) -> None:
        """A message of ours came back, because the port is at `node_id`: it waits for its turn to
        go there. Its rights are its own again."""
        port.held.insert(port.returned, message)
        port.returned += 1
        message.is_resumed = False
        former = port.shares.get(node) if message.was_sent_once else None
        if former is not None:
            former.once_back()
        if port.kind is Kind.PROXY:
            self.moved(port, node_id)
        elif former is not None:
            former.drop.once += 1
            accounts.tell(former)

    def landed(self, port: Port) -> None:
        """No message is on its way any more."""
        if port.is_dead:
            return
        if port.is_moving:
            self._space.defer(port, Work.MOVE)
        elif port.kind is Kind.PREPRINCIPAL:
            self._settle_kind(port)

    def _change_home(self, port: Port, node: Neighbour, once_in_messages: int) -> None:
        """Put what the former home has on its account on the new one's. The former one answers for
        it until that is done, like anybody who passes a right on."""
        former = port.home
        assert former is not None
        home = accounts.open_share(port, node)
        held = former.held.take_all()
        home.held.send += held.send
        home.held.once += held.once
        home.away += once_in_messages
        held.once += once_in_messages
        untold = Counts(min(held.send, former.add.send), min(held.once, former.add.once))
        former.add.send -= untold.send
        former.add.once -= untold.once
        dead = accounts.forget_untold(former)
        former.taken.send += held.send - untold.send
        former.taken.once += held.once - untold.once
        home.add.send += held.send
        home.add.once += held.once + dead
        home.dead_once += dead
        accounts.keep_former(port, former)
        port.home = home
        if port.node is not None:
            port.node.proxies.pop(port, None)
        port.node = node
        node.proxies[port] = None
        if held or dead:
            accounts.tell(home)

    def _send_after(self, port: Port, message: Message) -> None:
        """A queued message goes to the new home with its rights, unless that takes none so
        large."""
        node, home = port.node, port.home
        assert node is not None
        assert home is not None
        if self._space.fits(message, node):
            self._space.transmit_again(port, message)
            return
        port.queue.remove(message)
        if message.was_sent_once:
            home.dead_once += 1
            accounts.tell(home)
        self._space.message_done(message, node, OutcomeKind.FAILED)

    def _follow(self, port: Port, node: Neighbour) -> None:
        former, former_home = port.node, port.home
        assert former is not None
        assert former_home is not None
        once = 0
        port.is_moving = False
        former.pair.recall(port.name)
        for message in port.queue:
            outgoing.return_all(self._space, message, former)
            if message.was_sent_once:
                former_home.once_back()
                once += 1
        once += sum(message.was_sent_once for message in port.held)
        if node is not former:
            self._change_home(port, node, once)
        else:
            former_home.away += once  # it moved away and back
        port.resumes = True
        waiting = [*port.held, *port.queue]
        port.held, port.returned = [], 0
        port.queue.clear()
        port.queue.extend(waiting)
        for message in waiting:
            self._send_after(port, message)
        accounts.settle(former_home)
        accounts.all_told(self._space, port)

    # Work ----------------------------------------------------------------------------------------

    def work(self, port: Port) -> None:
        """Go on with a move."""
        if not port.is_moving or port.is_dead or port.in_flight:
            return
        node = self._bound_for(port)
        if node is None or (port.is_departed and port.died_there):
            was_here = port.is_here
            accounts.port_dies(self._space, port)
            if was_here:
                port.holds -= 1
                accounts.unreference(self._space, port)
        elif port.kind is Kind.PROXY:
            self._follow(port, node)
        else:
            self._become_proxy(port, node)
