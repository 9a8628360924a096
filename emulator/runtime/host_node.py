# SPDX-License-Identifier: MIT
"""Node 0: the host as a peer of every guest, over one management link each.

It asks kernels for things and awaits their answers, owns ports that guests send to, tells every
guest at once when an incarnation died, and keeps the relation of each guest's clock to the host's.
It starts no task: sockets and timers of the running loop drive it, and everything that waits has a
deadline. Frames of guests it passes on only along the transits that it is given. Public methods are
called on the event loop only; the protocols themselves are in `emulator.protocol`.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from emulator.errors import DeadlineExpired, GuestError, NodeDied, UsageError
from emulator.protocol.constants import (
    Admission,
    ClusterConstants,
    Direction,
    LinkDrop,
    NodeDeathCause,
)
from emulator.protocol.flipc import (
    Arrival,
    IpcArrived,
    NodeLeft,
    Outcome,
    PairStatistics,
    RightsTold,
)
from emulator.protocol.link_types import (
    ClockSample,
    LinkStatistics,
    PeerTrained,
    Refused,
    StateChanged,
)
from emulator.protocol.mnl import Death, MachMessage, NakReason
from emulator.protocol.names import (
    NAME_NULL,
    NameAllocator,
    bootstrap_port,
    kernel_port,
    node_of,
    serial_of,
    tag_of,
    tag_of_incarnation,
)
from emulator.protocol.node import NodeDeath, NodeTable
from emulator.protocol.rights import carried
from emulator.protocol.route import Transit, TransitTable
from emulator.protocol.services import (
    REPLY_OFFSET,
    ErrorCode,
    NodeStatistics,
    Service,
    node_lookup_request,
    parse_node_lookup_reply,
    statistics_request,
)
from emulator.protocol.wire_types import Disposition
from emulator.runtime.deadline import Deadline
from emulator.runtime.host_calls import Call, CallTable
from emulator.runtime.host_link import ManagementLink
from emulator.runtime.receive_port import ListenPort, ReceivePort

__all__ = ["GuestStatistics", "HostNode", "HostObserver", "ListenPort", "ReceivePort"]

HOST_ID: Final = 0


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
    """

    incarnation: int
    link: LinkStatistics
    pair: PairStatistics


@dataclass(frozen=True, slots=True)
class _Posted:
    """The token of a message that nobody waits for."""

    settled: Callable[[], None]


@dataclass(slots=True)
class _Attached:
    """A guest's stream is there."""

    untold: list[Death] = field(default_factory=list)  # deaths since then; it had not trained yet


class HostNode:
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
        self._constants = constants
        self._incarnation = incarnation
        self._observer = observer or HostObserver()
        self._table = NodeTable(constants)
        self._transits = TransitTable(transits)
        self._names = NameAllocator(HOST_ID, incarnation)
        self._links: dict[int, ManagementLink] = {}
        self._attached: dict[int, _Attached] = {}
        self._ports: dict[int, ReceivePort | ListenPort] = {}
        self._published: dict[str, Callable[[int], int]] = {}
        self._calls = CallTable()
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
        """Give back every right, then let go of every stream; whatever waits fails."""
        for node_id, link in self._links.items():
            link.give_all_back()
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
                incarnation=self._incarnation,
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
        )

    # Messages ------------------------------------------------------------------------------------

    def port(self) -> ReceivePort:
        """Return a new port with a name of its own."""
        port = ReceivePort(self._names.allocate(), self._forget_port)
        self._ports[port.name] = port
        return port

    def listen(self, handler: Callable[[int, MachMessage], None]) -> ListenPort:
        """Return a new port whose messages go to `handler`, with the guest's id."""
        port = ListenPort(self._names.allocate(), self._forget_port, handler)
        self._ports[port.name] = port
        return port

    def publish(self, service: str, port_of: Callable[[int], int]) -> None:
        """Answer LOOKUP of a service at node 0's kernel port.

        Args:
            service: Its name, at most 31 characters.
            port_of: Called with the asking guest's id; returns the name of its port, 0 for none.
        """
        self._published[service] = port_of

    def post(
        self, port_name: int, message_id: int, body: bytes, settled: Callable[[], None]
    ) -> bool:
        """Send a Mach message without waiting.

        Args:
            port_name: Of a guest's port.
            message_id: Any.
            body: Opaque.
            settled: Called when it is settled, refused or lost.

        Returns:
            False if the guest is dead, or cannot receive one that long; nothing is called then.
        """
        message = MachMessage(remote=port_name, id=message_id, body=body)
        return self._post(node_of(port_name), message, _Posted(settled))

    def reply(self, node_id: int, request: MachMessage, body: bytes) -> None:
        """Answer a guest's request at the port that it brought, if it brought one of its own.

        A guest that has died meanwhile, or asks for more than it can receive, is not answered.
        """
        if request.local and request.local_home in (None, node_id):
            message = MachMessage(
                remote=request.local,
                id=request.id + REPLY_OFFSET,
                body=body,
                remote_disposition=request.local_disposition,
            )
            self._post(node_id, message, None)

    async def send(
        self,
        port_name: int,
        message_id: int,
        body: bytes,
        deadline: Deadline,
        *,
        reply_port: ReceivePort | ListenPort | None = None,
    ) -> None:
        """Send a Mach message and wait until it is settled: a receiver took it.

        Args:
            port_name: Of a guest's port.
            message_id: Any.
            body: Opaque.
            deadline: By when it has to be settled.
            reply_port: Given to the receiver with a send right.

        Raises:
            GuestError: The guest refused the message.
            NodeDied: Its incarnation died first.
            DeadlineExpired: Nothing was heard in time; the message may still arrive.
            UsageError: It is longer than the guest receives.
        """
        message = MachMessage(
            remote=port_name,
            id=message_id,
            body=body,
            local=reply_port.name if reply_port is not None else 0,
            local_disposition=Disposition.SEND if reply_port is not None else Disposition.NONE,
        )
        call = Call(node_of(port_name), message, wants_reply=False)
        await self._exchange(call, deadline)

    async def call(
        self, node_id: int, port_name: int, message_id: int, body: bytes, deadline: Deadline
    ) -> bytes:
        """Send a request with a send-once reply right and wait for the reply.

        Args:
            node_id: The guest.
            port_name: Of the port that is asked.
            message_id: Of the request; the reply has this + 100.
            body: Of the request.
            deadline: By when the reply has to be there.

        Returns:
            The body of the reply.

        Raises:
            GuestError: The guest refused the request.
            NodeDied: Its incarnation died first.
            DeadlineExpired: No reply came in time; a late one is refused.
            UsageError: The request is longer than the guest receives.
        """
        message = self._request(port_name, message_id, body)
        return (await self._ask(node_id, message, deadline)).body

    async def ping(self, node_id: int, deadline: Deadline, *, body: bytes = b"") -> int:
        """Return the nanoseconds of one ECHO round trip to a guest's kernel port.

        Raises:
            GuestError: As `call()` does, or if other bytes came back.
        """
        started_ns = time.monotonic_ns()
        answer = await self.call(node_id, kernel_port(node_id), Service.ECHO, body, deadline)
        if answer != body:
            raise GuestError(f"node {node_id} echoed {len(answer)} other bytes")
        return time.monotonic_ns() - started_ns

    async def lookup(self, node_id: int, service: str, deadline: Deadline) -> int:
        """Ask a guest's node server for a service, and hold a send right to its port.

        One right to a port is held, however often it is looked up; `let_go()` gives it back.

        Args:
            node_id: The guest.
            service: Registered there, or a kernel server's name; at most 31 characters.
            deadline: By when the answer has to be there.

        Returns:
            The name of the port.

        Raises:
            GuestError: As `call()` does, or the service's port is on another node; `ServiceError`
                if there is no such service.
        """
        request = self._request(
            bootstrap_port(node_id), Service.NODE_LOOKUP, node_lookup_request(service, node_id)
        )
        reply = await self._ask(node_id, request, deadline, keeps_rights=True)
        wanted = 0
        try:
            port = parse_node_lookup_reply(reply.body, reply.parts)
            if port.name == NAME_NULL or port.home not in (None, node_id):
                raise GuestError(f"service {service!r} of node {node_id} is not there any more")
            wanted = port.name
        finally:
            for right in carried(reply):
                leave = int(right.name == wanted and right.disposition is Disposition.SEND)
                self._links[node_id].give_back(right.name, right.disposition, leave=leave)
        return wanted

    def let_go(self, node_id: int, port_name: int) -> None:
        """Give back the send right that a lookup at a guest brought; no effect if none is held."""
        link = self._links.get(node_id)
        if link is not None:
            link.give_back(port_name, Disposition.SEND)

    async def measure_clock(self, node_id: int, deadline: Deadline) -> ClockSample:
        """Return the relation of a guest's clock to ours as of now, measured by asking for it.

        Raises:
            GuestError: As `call()` does.
        """
        sent_ns = time.monotonic_ns()
        reply = await self.call(
            node_id, kernel_port(node_id), Service.STATISTICS, statistics_request(0, 0), deadline
        )
        uptime_ns = NodeStatistics.parse(reply).uptime_ns
        return ClockSample.of_echo(sent_ns, uptime_ns, uptime_ns, time.monotonic_ns())

    def _request(self, port_name: int, message_id: int, body: bytes) -> MachMessage:
        """Return a message with a send-once right to a reply port made for it."""
        return MachMessage(
            remote=port_name,
            id=message_id,
            body=body,
            local=self._names.allocate(),
            local_disposition=Disposition.SEND_ONCE,
        )

    async def _ask(
        self,
        node_id: int,
        request: MachMessage,
        deadline: Deadline,
        *,
        keeps_rights: bool = False,
    ) -> MachMessage:
        call = Call(node_id, request, wants_reply=True, keeps_rights=keeps_rights)
        return await self._exchange(call, deadline)

    async def _exchange(self, call: Call, deadline: Deadline) -> MachMessage:
        if self.incarnation(call.node_id) == 0:
            await self.wait_up(call.node_id, deadline)
        self._calls.open(call)
        try:
            self._links[call.node_id].post(call.message, call)
            return await self._calls.wait(call, deadline)
        finally:
            self._calls.close(call)

    # What management links tell (LinkOwner) ---------------------------------------------------

    def admit(self, node_id: int, incarnation: int, now_ns: int) -> Admission:
        """Decide about a claim; each guest has one link, so its index is the guest's id."""
        return self._table.admit(node_id, node_id, incarnation, now_ns)

    def is_here(self, name: int) -> bool:
        """Return whether a port of node 0 has that name, reply ports included."""
        return name in self._ports or name == kernel_port(HOST_ID) or self._calls.awaits(name)

    def gave(self, name: int) -> bool:
        """Return whether node 0 ever gave out that name."""
        return (
            node_of(name) == HOST_ID
            and tag_of(name) == tag_of_incarnation(self._incarnation)
            and 0 < serial_of(name) <= self._names.last_serial
        )

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
        """Give a message to its port, or refuse it."""
        if isinstance(arrival, RightsTold):
            self._calls.rights_told(link.node_id, arrival.entries)
            return
        if isinstance(arrival, NodeLeft):
            for death in self._table.declare_dead(
                link.node_id, link.incarnation, NodeDeathCause.LEFT
            ):
                self._bury(death)
            return
        if not isinstance(arrival, IpcArrived):
            return  # a guest's word about deaths means nothing: only node 0 declares them
        message = arrival.message
        call = self._calls.take_reply(link.node_id, message)
        if call is not None:
            link.consumed(link.pair, arrival.sequence, keep=call.keeps_rights)
        elif message.remote_disposition is Disposition.SEND_ONCE and self.is_here(message.remote):
            link.refuse(arrival.sequence, NakReason.NO_RIGHT)
        elif message.remote in self._ports:
            self._ports[message.remote].deliver(link, arrival)
        elif message.remote == kernel_port(HOST_ID):
            link.consumed(link.pair, arrival.sequence)
            self._answer(link, message)
        else:
            link.refuse(arrival.sequence, self._no_such_port(message.remote))
            return
        for right in carried(message):
            if right.disposition is Disposition.SEND_ONCE and right.home == HOST_ID:
                self._calls.once_gone(link.node_id, right.name)

    def resolved(self, outcome: Outcome) -> None:
        """End the wait of a message that failed, or whose settlement was awaited."""
        if isinstance(outcome.token, _Posted):
            outcome.token.settled()
        self._calls.resolved(outcome)

    # Inside --------------------------------------------------------------------------------------

    def _post(self, node_id: int, message: MachMessage, token: object) -> bool:
        """Give a message to a guest's link, if the guest lives and receives messages that long."""
        link = self._links.get(node_id)
        if link is None or not link.incarnation:
            return False
        try:
            link.post(message, token)
        except UsageError:
            return False
        return True

    def _forget_port(self, name: int) -> None:
        self._ports.pop(name, None)

    def _bury(self, death: NodeDeath) -> tuple[int, ...]:
        """Do everything that a new death asks for, at once; return who is being told."""
        notice = Death(
            node_id=death.node_id, cause=NodeDeathCause.HOST, incarnation=death.incarnation
        )
        told: tuple[int, ...] = ()
        if death.cause is not NodeDeathCause.SILENCE:  # silence to us alone is no word to others
            told = self._tell_others(notice)
        link = self._links.get(death.node_id)
        if link is not None and death.cause is not NodeDeathCause.INCARNATION:
            link.end_life(death.incarnation)
        self._calls.fail_all(
            death.node_id, NodeDied(f"node {death.node_id} died before it answered")
        )
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

    def _answer(self, link: ManagementLink, message: MachMessage) -> None:
        """Node 0's kernel port: ECHO and LOOKUP are served, everything else is unsupported."""
        if message.id == Service.ECHO:
            body = message.body
        elif message.id == Service.LOOKUP:
            body = self._look_up(link.node_id, message.body)
        else:
            body = _status(ErrorCode.UNSUPPORTED)
        self.reply(link.node_id, message, body)

    def _look_up(self, node_id: int, name: bytes) -> bytes:
        port_of = self._published.get(name.partition(b"\0")[0].decode("ascii", "replace"))
        port = 0 if port_of is None else port_of(node_id)
        if not port:
            return _status(ErrorCode.NOT_FOUND)
        return _status(ErrorCode.NONE) + port.to_bytes(8, "little")

    def _no_such_port(self, name: int) -> NakReason:
        if node_of(name) != HOST_ID:
            return NakReason.NOT_PRINCIPAL
        return NakReason.DEAD_PORT if self.gave(name) else NakReason.UNKNOWN_NAME

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


def _status(code: ErrorCode) -> bytes:
    """How a reply's body begins."""
    return code.to_bytes(4, "little", signed=True) + bytes(4)
