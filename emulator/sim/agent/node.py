# SPDX-License-Identifier: MIT
"""One life of the Python node: a `LinkEnd` for each of its cables, an `IpcSpace` with a neighbour for
each peer, one `NodeTable`.

Glue as a kernel's link manager is: it knows no port, no program and no clock. Several links to one
peer are used one at a time, the first that is up. Frames that find no room wait, and nothing new is
offered meanwhile.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from emulator.protocol.constants import (
    Admission,
    ByteOrder,
    ClusterConstants,
    DataModel,
    Direction,
    LinkRefusal,
    NodeDeathCause,
)
from emulator.protocol.flipc import Pair
from emulator.protocol.flipc_types import CreditBroken
from emulator.protocol.ipc import IpcSpace, Neighbour, Observer
from emulator.protocol.link import LinkEnd
from emulator.protocol.link_types import (
    Deliver,
    Dropped,
    LinkConfig,
    Output,
    PeerTrained,
    Refused,
    StateChanged,
    Transmit,
)
from emulator.protocol.node import NodeDeath, NodeTable
from emulator.sim.agent.world import World

__all__ = ["Cable", "Life", "Peer", "Setup"]

_FULL: Final = -5  # ERROR_FULL
_LIFE: Final = struct.Struct("<Q")  # of a frame: the sender's incarnation
_LIFE_OFFSET: Final = 8
MESSAGE_MAX: Final = 16384  # bytes of an mnl message, as the other nodes have it


@dataclass(frozen=True, slots=True, kw_only=True)
class Cable:
    """One link of the world that ends at this node.

    Args:
        link: its number in the world.
        peer_id: the node at the other end.
        is_stream: it is a byte stream; else it is a ring.
        mtu: bytes.
        wants_crc: this end wants payload CRC, whatever the cable is.
        offers_replay: this end offers replay, whatever the cable is.
    """

    link: int
    peer_id: int
    is_stream: bool
    mtu: int
    wants_crc: bool
    offers_replay: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What all lives of the node have in common."""

    node_id: int
    byte_order: ByteOrder
    data_model: DataModel
    constants: ClusterConstants
    cables: tuple[Cable, ...]


@dataclass(slots=True)
class Peer:
    """A node at the other end of one or more cables, and the life of it that is known.

    `incarnation` 0: none is. `neighbour` belongs to that life.
    """

    node_id: int
    neighbour: Neighbour
    incarnation: int = 0
    was_told_up: bool = False
    ends: list[End] = field(default_factory=list)
    active: End | None = None

    @property
    def pair(self) -> Pair:
        """The streams between us and that life."""
        return self.neighbour.pair


class End:
    """Our end of one cable."""

    def __init__(self, life: Life, cable: Cable, peer: Peer) -> None:
        self.cable = cable
        self.peer = peer
        self.backlog: deque[bytes] = deque()
        self.rx_up = False
        self.tx_up = False
        self.flipc_next: int | None = None
        self.link = LinkEnd(life.link_config(cable), _Flow(self, life), life.admit_on(cable.link))


class _Flow:
    """What a `LinkEnd` asks about the pair behind it, whichever that is now."""

    def __init__(self, end: End, life: Life) -> None:
        self._end = end
        self._life = life

    def peer_changed(self, incarnation: int) -> None:
        self._life.begin_peer(self._end, incarnation)

    def ack(self) -> int:
        return self._end.peer.pair.ack()

    def credit(self) -> int:
        return self._end.peer.pair.credit()

    def flipc_next(self) -> int:
        return self._end.peer.pair.flipc_next()

    def peer(self, flipc_ack: int, flipc_credit: int) -> None:
        self._end.peer.pair.peer(flipc_ack, flipc_credit)

    def ack_deadline_ns(self) -> int | None:
        return self._end.peer.pair.ack_deadline_ns()


class Life:
    """One incarnation."""

    def __init__(
        self,
        world: World,
        setup: Setup,
        incarnation: int,
        observer: Observer,
    ) -> None:
        """Boot without carrier.

        Args:
            world: where it lives.
            setup: the node's.
            incarnation: not 0.
            observer: told of messages for its ports.
        """
        self.world = world
        self.setup = setup
        self.incarnation = incarnation
        self.table = NodeTable(setup.constants)
        self.peers: dict[int, Peer] = {}
        self.now_ns = 0
        self.did_something = False
        self.ends: dict[int, End] = {}
        self.space = IpcSpace(
            node_id=setup.node_id,
            incarnation=incarnation,
            constants=setup.constants,
            observer=observer,
        )
        for cable in setup.cables:
            peer = self.peers.get(cable.peer_id)
            if peer is None:
                neighbour = self.space.neighbour(cable.peer_id)
                peer = self.peers[cable.peer_id] = Peer(cable.peer_id, neighbour)
            end = self.ends[cable.link] = End(self, cable, peer)
            peer.ends.append(end)

    # What the world does to it ----------------------------------------------------------------

    def carrier(
        self,
        link: int,
        direction: Direction,
        generation: int,
        now_ns: int,
        *,
        up: bool,
        checked: bool,
    ) -> None:
        """A ring's cable says how one of its directions is."""
        self.now_ns = now_ns
        self.ends[link].link.carrier(direction, up, generation, checked, now_ns)
        self._act(self.ends[link])

    def frame(self, link: int, frame: bytes, now_ns: int) -> None:
        """A frame arrived; any bytes."""
        self.now_ns = now_ns
        end = self.ends[link]
        end.link.receive(frame, now_ns)
        self._act(end)
        if end.rx_up and _LIFE.unpack_from(frame, _LIFE_OFFSET)[0] == end.peer.incarnation:
            self.table.heard(link, end.cable.peer_id, now_ns)

    def notice(self, node_id: int, incarnation: int, now_ns: int) -> None:
        """Node 0 says that a life is over."""
        self.now_ns = now_ns
        if node_id == self.setup.node_id:
            if incarnation == self.incarnation:
                self.world.stale()
            return
        for death in self.table.declare_dead(node_id, incarnation, NodeDeathCause.HOST):
            self._bury(death)

    def work(self, now_ns: int) -> None:
        """Do everything that is due and that cables have room for."""
        self.now_ns = now_ns
        for death in self.table.tick(now_ns):
            self._bury(death)
        for end in self.ends.values():
            self._flush(end)
            deadline_ns = end.link.next_deadline_ns()
            if deadline_ns is not None and deadline_ns <= now_ns:
                end.link.tick(now_ns)
                self._act(end)
        for peer in self.peers.values():
            self.space.drain(peer.neighbour)
        for peer in self.peers.values():
            self._pump(peer)

    def next_deadline_ns(self) -> int | None:
        """Return when `work()` has something to do; None: when something happens."""
        deadlines = [end.link.next_deadline_ns() for end in self.ends.values()]
        deadlines.append(self.table.next_deadline_ns())
        deadlines.extend(
            peer.pair.snapshot_deadline_ns()
            for peer in self.peers.values()
            if peer.active is not None and not peer.active.backlog
        )
        return min((at_ns for at_ns in deadlines if at_ns is not None), default=None)

    # What links ask ---------------------------------------------------------------------------

    def link_config(self, cable: Cable) -> LinkConfig:
        """Return what our end of a cable is to know."""
        return LinkConfig(
            node_id=self.setup.node_id,
            incarnation=self.incarnation,
            peer_id=cable.peer_id,
            constants=self.setup.constants,
            mtu=cable.mtu,
            message_max=MESSAGE_MAX,
            wants_crc=cable.is_stream or cable.wants_crc,
            offers_replay=cable.is_stream or cable.offers_replay,
            cable_frames=cable.is_stream,
            byte_order=self.setup.byte_order,
            data_model=self.setup.data_model,
        )

    def admit_on(self, link: int) -> Callable[[int, int], Admission]:
        """Return the judge of claims on one link."""
        return lambda node_id, incarnation: self.table.admit(
            link, node_id, incarnation, self.now_ns
        )

    def begin_peer(self, end: End, incarnation: int) -> None:
        """A link trains with a life: it is the peer's from now on, and an older one is dead."""
        peer = end.peer
        if peer.incarnation == incarnation:
            return
        death = self.table.trained(peer.node_id, incarnation)
        if death is not None:
            self._bury(death, trained_on=end)
        peer.incarnation = incarnation
        peer.was_told_up = False
        self.space.came_up(peer.neighbour, incarnation, MESSAGE_MAX)

    # Inside -----------------------------------------------------------------------------------

    def _bury(self, death: NodeDeath, trained_on: End | None = None) -> None:
        """Tell a death, then give everything of that life its end."""
        peer = self.peers.get(death.node_id)
        self.world.dead(death.node_id, death.incarnation, death.cause)
        if peer is None:
            return
        if 0 < peer.incarnation <= death.incarnation:
            self.space.died(peer.neighbour)
            peer.neighbour = self.space.neighbour(peer.node_id)
            peer.incarnation = 0
            peer.active = None
        for end in peer.ends:
            if end is not trained_on:
                end.link.peer_dead(death.incarnation, self.now_ns)
                self._act(end)

    @property
    def left(self) -> int:
        """Lives that are not dead, and messages to and from them."""
        return sum(
            (peer.incarnation != 0) + peer.pair.statistics().outstanding
            for peer in self.peers.values()
        )

    def _act(self, end: End) -> None:
        """Do what came out of a link."""
        while outputs := end.link.take_outputs():
            self.did_something = True
            for output in outputs:
                self._take(end, output)

    def _take(self, end: End, output: Output) -> None:
        world, link = self.world, end.cable.link
        match output:
            case Transmit(frame):
                self._transmit(end, frame)
            case Deliver(message):
                self._deliver(end, message)
            case StateChanged():
                self._change(end, output)
            case Dropped(reason):
                world.dropped(link, reason)
            case Refused():
                world.refused(link, output.reason, output.incarnation, output.by_us)
                if not output.by_us and output.reason is LinkRefusal.STALE:
                    world.stale()
            case PeerTrained():
                end.peer.neighbour.message_max = output.record.message_max
            case _:
                pass

    def _change(self, end: End, change: StateChanged) -> None:
        peer = end.peer
        end.rx_up, end.tx_up = change.rx_up, change.tx_up
        if change.flipc_next is not None:
            end.flipc_next = change.flipc_next
        self.world.link(
            end.cable.link,
            change.rx_up,
            change.tx_up,
            change.reason,
            change.epoch,
            change.peer_epoch,
        )
        self.table.link_changed(
            end.cable.link, peer.node_id, change.peer_incarnation, change.rx_up, self.now_ns
        )
        self._choose(peer, end if change.tx_up else None, change.flipc_next)
        if not peer.was_told_up and peer.incarnation != 0 and self._is_reachable(peer):
            peer.was_told_up = True
            self.world.up(peer.node_id, peer.incarnation)

    def _is_reachable(self, peer: Peer) -> bool:
        return any(end.rx_up for end in peer.ends) and any(end.tx_up for end in peer.ends)

    def _choose(self, peer: Peer, risen: End | None, flipc_next: int | None) -> None:
        """Messages take the first link that is up; whoever takes over starts where the peer is."""
        if peer.active is not None and peer.active.tx_up and peer.active is not risen:
            return
        peer.active = next((end for end in peer.ends if end.tx_up), None)
        if peer.active is not None:
            peer.pair.resume(flipc_next if peer.active is risen else None)

    def _deliver(self, end: End, message: bytes) -> None:
        arrival = self.space.receive(end.peer.neighbour, message, self.now_ns)
        if isinstance(arrival, CreditBroken):
            end.link.garbage(self.now_ns)

    # Into cables ------------------------------------------------------------------------------

    def _transmit(self, end: End, frame: bytes) -> None:
        if end.backlog or self.world.transmit(end.cable.link, frame, len(frame)) == _FULL:
            end.backlog.append(frame)

    def _flush(self, end: End) -> None:
        while end.backlog:
            frame = end.backlog[0]
            if self.world.transmit(end.cable.link, frame, len(frame)) == _FULL:
                return
            end.backlog.popleft()

    def _pump(self, peer: Peer) -> None:
        end = peer.active
        if end is None or end.backlog:
            return
        pair, now_ns = peer.pair, self.now_ns
        snapshot_at_ns = pair.snapshot_deadline_ns()
        if (
            snapshot_at_ns is not None
            and snapshot_at_ns <= now_ns
            and end.link.send(pair.snapshot(), now_ns)
        ):
            pair.snapshot_sent()
        pair.pump(lambda message: self._offer(end, message))
        self._act(end)

    def _offer(self, end: End, message: bytes) -> bool:
        if end.backlog or not end.link.send(message, self.now_ns):
            return False
        self._act(end)
        return True
