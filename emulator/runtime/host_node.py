# SPDX-License-Identifier: MIT
"""Node 0: the host as a peer of every guest, over one management link each.

It tells every guest at once when an incarnation died, and keeps the relation of each guest's clock
to the host's; its ports, rights and messages are `HostSpace`'s. It starts no task: sockets and
timers of the running loop drive it, and everything that waits has a deadline. Frames of guests it
passes on only along the transits that it is given. Public methods are called on the event loop
only; the protocols themselves are in `emulator.protocol`.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from emulator.errors import DeadlineExpired, GuestError, NodeDied, UsageError
from emulator.protocol.constants import (
    Admission,
    ClusterConstants,
    Direction,
    LinkDrop,
    NodeDeathCause,
)
from emulator.protocol.flipc_types import Arrival, NodeLeft, PairStatistics
from emulator.protocol.link_types import (
    ClockSample,
    LinkStatistics,
    PeerTrained,
    Refused,
    StateChanged,
)
from emulator.protocol.mnl import Death
from emulator.protocol.node import NodeDeath, NodeTable
from emulator.protocol.route import Transit, TransitTable
from emulator.runtime.deadline import Deadline
from emulator.runtime.host_link import ManagementLink
from emulator.runtime.host_rights import HostMessage, HostRight, RightsStatistics
from emulator.runtime.host_space import HostSpace
from emulator.runtime.receive_port import ListenPort, ReceivePort

__all__ = [
    "GuestStatistics",
    "HostMessage",
    "HostNode",
    "HostObserver",
    "HostRight",
    "ListenPort",
    "ReceivePort",
]


class HostObserver:
    """What node 0 tells the rest of the tool; override what you need. Must not wait, and may call
    the node."""

    def link_changed(self, node_id: int, change: StateChanged) -> None:
        """A direction of a management link came up or went down, as node 0 sees it."""

    def peer_trained(self, node_id: int, trained: PeerTrained) -> None:
        """A guest's incarnation trained its direction."""

    def peer_died(self, death: NodeDeath) -> None:
        """An incarnation was declared dead; told once, before anything of a newer one."""

    def refused(self, node_id: int, refusal: Refused) -> None:
        """A claim was refused, by node 0 or by the guest."""

    def stream_closed(self, node_id: int) -> None:
        """The guest's end of its management stream is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestStatistics:
    """Node 0's side of everything between it and one guest.

    Args:
        incarnation: The one alive, 0 for none.
        link: Of the management link.
        pair: Of the pair with that incarnation.
        rights: Between node 0 and that incarnation.
    """

    incarnation: int
    link: LinkStatistics
    pair: PairStatistics
    rights: RightsStatistics


@dataclass(slots=True)
class _Attached:
    """A guest's stream is there."""

    untold: list[Death] = field(default_factory=list)  # deaths since then; it had not trained yet


class HostNode(HostSpace):
    """Node 0; an async context manager that lets go of every stream when left."""

    def __init__(
        self,
        constants: ClusterConstants,
        incarnation: int,
        observer: HostObserver | None = None,
        transits: Iterable[Transit] = (),
    ) -> None:
        """Begin with no guest.

        Args:
            constants: The cluster's.
            incarnation: Node 0's life, not 0.
            observer: Told about links and lives.
            transits: Routes between guests to pass on; links are known by the guest's id.
        """
        super().__init__(constants, incarnation)
        self._constants = constants
        self._observer = observer or HostObserver()
        self._table = NodeTable(constants)
        self._transits = TransitTable(transits)
        self._links: dict[int, ManagementLink] = {}
        self._attached: dict[int, _Attached] = {}
        self._changed = asyncio.Event()
        self._silence_timer: asyncio.TimerHandle | None = None
        self._frame_listeners: list[Callable[[int], None]] = []
        self._link_listeners: list[Callable[[int], None]] = []
        self._death_listeners: list[Callable[[NodeDeath], None]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Give back every right that a lookup brought, then let go of every stream; whatever waits
        fails."""
        self._forget_rights()
        for node_id in self._links:
            self.detach(node_id)
            self._calls.fail_all(
                node_id, GuestError(f"the host left the cluster before node {node_id} answered")
            )
        if self._silence_timer is not None:
            self._silence_timer.cancel()
            self._silence_timer = None

    # Guests --------------------------------------------------------------------------------------

    def attach(self, node_id: int, sock: socket.socket) -> None:
        """Take the host's end of a guest's management stream and begin to train.

        Args:
            node_id: The guest, 1 .. nodes_max-1.
            sock: A stream socket; the node owns it from now on.

        Raises:
            UsageError: The id is out of range, or has a stream already.
        """
        if not 0 < node_id < self._constants.nodes_max:
            raise UsageError(f"node id {node_id} is not in 1 .. {self._constants.nodes_max - 1}")
        link = self._links.get(node_id)
        if link is None:
            link = ManagementLink(
                node_id=node_id,
                incarnation=self.space.incarnation,
                constants=self._constants,
                owner=self,
            )
            self._links[node_id] = link
        self._attached[node_id] = _Attached()
        link.attach(sock)
        for listener in self._link_listeners:
            listener(node_id)

    def detach(self, node_id: int) -> None:
        """Let go of a guest's stream and close it. Its incarnation is not dead by that."""
        self._attached.pop(node_id, None)
        link = self._links.get(node_id)
        if link is not None:
            link.detach()

    def set_carrier(self, node_id: int, direction: Direction, *, up: bool) -> None:
        """Cut or splice a direction of a management link, as node 0's end sees it.

        Raises:
            UsageError: The node has no stream.
        """
        link = self._links.get(node_id)
        if link is None or not link.is_attached:
            raise UsageError(f"node {node_id} has no management stream")
        link.set_carrier(direction, up=up)

    def on_frames(self, listener: Callable[[int], None]) -> None:
        """Call `listener` with a guest's id after each arrival of frames from it."""
        self._frame_listeners.append(listener)

    def on_links(self, listener: Callable[[int], None]) -> None:
        """Call `listener` with a guest's id when its management link changed."""
        self._link_listeners.append(listener)

    def on_deaths(self, listener: Callable[[NodeDeath], None]) -> None:
        """Call `listener` with each death of a guest's life."""
        self._death_listeners.append(listener)

    def announce_death(self, node_id: int, incarnation: int) -> tuple[int, ...]:
        """Tell every other guest, now, that an incarnation is dead; a second word about it is
        ignored.

        Args:
            node_id: Whose.
            incarnation: It and all older ones.

        Returns:
            The guests to whom the word is on its way.
        """
        told: tuple[int, ...] = ()
        for death in self._table.declare_dead(node_id, incarnation, NodeDeathCause.HOST):
            told = self._bury(death)
        return told

    def incarnation(self, node_id: int) -> int:
        """Return the incarnation of a guest that is alive as far as node 0 knows, 0 for none."""
        return self._table.incarnation(node_id)

    def is_up(self, node_id: int) -> bool:
        """Return whether both directions of the guest's management link are up."""
        link = self._links.get(node_id)
        return link is not None and link.rx_up and link.tx_up

    def directions_up(self, node_id: int) -> tuple[bool, bool]:
        """Return whether node 0 hears a guest, and whether the guest hears node 0."""
        link = self._links.get(node_id)
        return (link.rx_up, link.tx_up) if link is not None else (False, False)

    async def wait_up(self, node_id: int, deadline: Deadline, *, newer_than: int = 0) -> int:
        """Wait until both directions of a guest's management link are up.

        Args:
            node_id: The guest.
            deadline: By when.
            newer_than: Only a larger incarnation counts.

        Returns:
            The guest's incarnation.

        Raises:
            DeadlineExpired: It did not come up in time.
        """
        try:
            async with deadline.timeout():
                while not (self.is_up(node_id) and self.incarnation(node_id) > newer_than):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise DeadlineExpired(
                f"the management link of node {node_id} did not come up "
                f"within {deadline.within_s:g} s",
                hint="its console in the run folder shows how far it booted",
                details=(self._link_in_words(node_id),),
            ) from None
        return self.incarnation(node_id)

    def clock(self, node_id: int) -> ClockSample | None:
        """Return how a guest's clock relates to `time.monotonic_ns()`, None while unknown."""
        link = self._links.get(node_id)
        return link.clock() if link is not None else None

    def statistics(self, node_id: int) -> GuestStatistics:
        """Return the counters of everything between node 0 and a guest.

        Raises:
            UsageError: The node never had a stream.
        """
        link = self._links.get(node_id)
        if link is None:
            raise UsageError(f"node {node_id} has no management stream")
        return GuestStatistics(
            incarnation=link.incarnation,
            link=link.statistics(),
            pair=link.pair_statistics(),
            rights=RightsStatistics.of(link.neighbour),
        )

    # What management links tell (LinkOwner) ---------------------------------------------------

    def admit(self, node_id: int, incarnation: int, now_ns: int) -> Admission:
        """Decide about a claim; each guest has one link, so its index is the guest's id."""
        return self._table.admit(node_id, node_id, incarnation, now_ns)

    def life_began(self, node_id: int, incarnation: int) -> None:
        """Bury the older life before anything of the new one, then tell the new one what it
        missed."""
        death = self._table.trained(node_id, incarnation)
        if death is not None:
            self._bury(death)

    def link_changed(self, node_id: int, change: StateChanged, now_ns: int) -> None:
        """Note whether the guest can be reached, and tell it deaths that it was not told."""
        self._table.link_changed(node_id, node_id, change.peer_incarnation, change.rx_up, now_ns)
        self._set_silence_timer()
        attached = self._attached.get(node_id)
        if attached is not None and self._links[node_id].incarnation:
            untold, attached.untold = attached.untold, []
            for death in untold:
                self._links[node_id].post_death(death)
        self._changed.set()
        self._observer.link_changed(node_id, change)
        for listener in self._link_listeners:
            listener(node_id)

    def peer_trained(self, node_id: int, trained: PeerTrained) -> None:
        """Pass it on."""
        self._observer.peer_trained(node_id, trained)

    def refused(self, node_id: int, refusal: Refused) -> None:
        """Pass it on."""
        self._observer.refused(node_id, refusal)

    def pass_on(self, node_id: int, frame: bytes) -> LinkDrop | None:
        """Give a frame of a route to the next guest on its path, if that is heard."""
        next_id = self._transits.next_link(node_id, frame)
        if isinstance(next_id, LinkDrop):
            return next_id
        link = self._links.get(next_id)
        is_sent = link is not None and link.send_foreign(frame)
        return None if is_sent else LinkDrop.NOT_FORWARDED

    def frames_received(self, node_id: int) -> None:
        """Tell those who asked with `on_frames()`."""
        for listener in self._frame_listeners:
            listener(node_id)

    def stream_closed(self, node_id: int) -> None:
        """Pass it on; whether the guest is dead, only the owner of its process knows."""
        self._attached.pop(node_id, None)
        self._observer.stream_closed(node_id)

    def arrived(self, link: ManagementLink, arrival: Arrival) -> None:
        """Act on what is no message for a port. A guest's word about deaths means nothing: only
        node 0 declares them."""
        if isinstance(arrival, NodeLeft):
            for death in self._table.declare_dead(
                link.node_id, link.incarnation, NodeDeathCause.LEFT
            ):
                self._bury(death)

    # Inside --------------------------------------------------------------------------------------

    def _serve_links(self) -> bool:
        """Let links send; return whether one had something to."""
        links = [link for link in self._links.values() if link.neighbour.is_to_be_served]
        for link in links:
            link.neighbour.is_to_be_served = False
            link.service(time.monotonic_ns())
        return bool(links)

    def _bury(self, death: NodeDeath) -> tuple[int, ...]:
        """Do everything that a new death asks for, at once; return who is being told."""
        notice = Death(
            node_id=death.node_id, cause=NodeDeathCause.HOST, incarnation=death.incarnation
        )
        told: tuple[int, ...] = ()
        if death.cause is not NodeDeathCause.SILENCE:  # silence to us alone is no word to others
            told = self._tell_others(notice)
        was_working, self._is_working = self._is_working, True
        link = self._links.get(death.node_id)
        if link is not None and death.cause is not NodeDeathCause.INCARNATION:
            link.end_life(death.incarnation)
        for outcome in self._witness.outcomes:
            self._calls.resolved(outcome)
        self._calls.fail_all(
            death.node_id, NodeDied(f"node {death.node_id} died before it answered")
        )
        self._is_working = was_working
        self.work()
        self._observer.peer_died(death)
        for listener in self._death_listeners:
            listener(death)
        self._changed.set()
        self._set_silence_timer()
        return told

    def _tell_others(self, notice: Death) -> tuple[int, ...]:
        told: list[int] = []
        for node_id, attached in self._attached.items():
            if node_id == notice.node_id:
                continue
            link = self._links[node_id]
            if link.incarnation:
                link.post_death(notice)
                told.append(node_id)
            else:
                attached.untold.append(notice)
        return tuple(told)

    def _link_in_words(self, node_id: int) -> str:
        link = self._links.get(node_id)
        if link is None or not link.is_attached:
            return f"node {node_id} has no management stream"
        statistics = link.statistics()
        hears = "hears" if link.rx_up else "does not hear"
        heard = "is heard by" if link.tx_up else "is not heard by"
        return (
            f"node 0 {hears} node {node_id} and {heard} it; {statistics.rx_frames} frames "
            f"received, {sum(statistics.drops)} dropped"
        )

    def _set_silence_timer(self) -> None:
        """Arm the timer for the next death by silence."""
        if self._silence_timer is not None:
            self._silence_timer.cancel()
            self._silence_timer = None
        deadline_ns = self._table.next_deadline_ns()
        if deadline_ns is not None:
            loop = asyncio.get_running_loop()
            self._silence_timer = loop.call_at(deadline_ns / 1e9, self._on_silence)

    def _on_silence(self) -> None:
        self._silence_timer = None
        for death in self._table.tick(time.monotonic_ns()):
            self._bury(death)
        self._set_silence_timer()
