# SPDX-License-Identifier: MIT
"""Node 0's end of the management link to one guest: a socket, a `LinkEnd` and the neighbour behind
it.

Glue only: bytes of the socket go into the protocol's state machines, what they put out goes to the
socket or to the owner (`HostNode`). Nothing here waits; a guest that does not read, or speaks
garbage, costs bounded memory and nobody else's time. The `LinkEnd` lives as long as the node id is
known, because epochs must rise for as long as node 0 lives; the neighbour lives as long as one
incarnation of the guest. Called on the event loop only.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from dataclasses import dataclass, replace
from typing import Final, Protocol

from emulator.errors import UsageError
from emulator.protocol.constants import (
    MESSAGE_MAX_DEFAULT,
    Admission,
    ClusterConstants,
    Direction,
    LinkDrop,
)
from emulator.protocol.flipc import Pair
from emulator.protocol.flipc_types import Arrival, CreditBroken, PairStatistics
from emulator.protocol.frames import FrameStream, cable_frame
from emulator.protocol.ipc import IpcSpace, Neighbour
from emulator.protocol.link import LinkEnd
from emulator.protocol.link_types import (
    ClockSample,
    Deliver,
    LinkConfig,
    LinkStatistics,
    Output,
    PeerTrained,
    Refused,
    StateChanged,
    Transmit,
)
from emulator.protocol.mnl import Death
from emulator.protocol.peer import Peer
from emulator.protocol.route import route_of

__all__ = ["LinkOwner", "ManagementLink"]

_MTU: Final = 16384
_READ_BYTES: Final = 65536
_BACKLOG_FULL_BYTES: Final = 256 * 1024  # no new messages beyond this
_BACKLOG_MAX_BYTES: Final = 1024 * 1024  # beyond this even acks are dropped; replay recovers


class LinkOwner(Protocol):
    """What a management link tells the node it belongs to; must not wait."""

    @property
    def space(self) -> IpcSpace:
        """The node's ports and rights."""

    def admit(self, node_id: int, incarnation: int, now_ns: int) -> Admission:
        """Decide about a claim."""

    def life_began(self, node_id: int, incarnation: int) -> None:
        """A new incarnation is about to train; an older one is dead."""

    def link_changed(self, node_id: int, change: StateChanged, now_ns: int) -> None:
        """A direction came up or went down."""

    def peer_trained(self, node_id: int, trained: PeerTrained) -> None:
        """The guest's direction comes up."""

    def refused(self, node_id: int, refusal: Refused) -> None:
        """A claim was refused, by us or by the guest."""

    def arrived(self, link: ManagementLink, arrival: Arrival) -> None:
        """A message arrived."""

    def work(self) -> None:
        """The space may have something for ports, for whoever waits, and for other links."""

    def pass_on(self, node_id: int, frame: bytes) -> LinkDrop | None:
        """A frame of a route arrived: send it on, or say why not."""

    def frames_received(self, node_id: int) -> None:
        """Bytes of the guest arrived and were acted upon."""

    def stream_closed(self, node_id: int) -> None:
        """The guest's end of the byte stream is gone."""


@dataclass(slots=True)
class _Carrier:
    up: bool = False
    generation: int = 0


class _Flow:
    """The pair behind the link, whichever it is just now."""

    def __init__(self, link: ManagementLink) -> None:
        self._link = link

    def peer_changed(self, incarnation: int) -> None:
        self._link.begin_life(incarnation)

    def ack(self) -> int:
        return self._link.pair.ack()

    def credit(self) -> int:
        return self._link.pair.credit()

    def flipc_next(self) -> int:
        return self._link.pair.flipc_next()

    def peer(self, flipc_ack: int, flipc_credit: int) -> None:
        self._link.pair.peer(flipc_ack, flipc_credit)

    def ack_deadline_ns(self) -> int | None:
        return self._link.pair.ack_deadline_ns()


class ManagementLink:
    """One guest as node 0 sees it."""

    def __init__(
        self,
        *,
        node_id: int,
        incarnation: int,
        constants: ClusterConstants,
        owner: LinkOwner,
    ) -> None:
        """Begin without a stream.

        Args:
            node_id: The guest.
            incarnation: Node 0's.
            constants: The cluster's.
            owner: Told about everything.
        """
        self.node_id = node_id
        self.rx_up = False
        self.tx_up = False
        self._constants = constants
        self._owner = owner
        self._log = logging.getLogger(f"mnlab.host.{node_id}")
        self.neighbour: Neighbour = owner.space.neighbour(node_id)
        config = LinkConfig(
            node_id=0,
            incarnation=incarnation,
            peer_id=node_id,
            constants=constants,
            mtu=_MTU,
        )
        self._link = LinkEnd(
            config, _Flow(self), lambda node, life: owner.admit(node, life, time.monotonic_ns())
        )
        self._sock: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stream = FrameStream(_MTU)
        self._skipped_before = 0
        self._backlog = bytearray()
        self._is_writing = False
        self._carriers = {direction: _Carrier() for direction in Direction}
        self._timer: asyncio.TimerHandle | None = None
        self._is_busy = False

    # What the owner calls ------------------------------------------------------------------------

    @property
    def incarnation(self) -> int:
        """The guest's life; 0: none is known to be alive."""
        return self.neighbour.incarnation

    @property
    def pair(self) -> Pair:
        """The streams between node 0 and the incarnation that is known."""
        return self.neighbour.pair

    @property
    def is_attached(self) -> bool:
        """Whether there is a byte stream to the guest."""
        return self._sock is not None

    def attach(self, sock: socket.socket) -> None:
        """Take the host's end of the guest's byte stream and begin to train.

        Args:
            sock: A stream socket; made non-blocking and closed by `detach()`.

        Raises:
            UsageError: There is a stream already.
        """
        if self._sock is not None:
            raise UsageError(f"node {self.node_id} has a management stream already")
        sock.setblocking(False)
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._skipped_before += self._stream.skipped_bytes
        self._stream = FrameStream(_MTU)
        self._backlog.clear()
        self._loop.add_reader(sock.fileno(), self._on_readable)
        for direction in Direction:
            self._change_carrier(direction, up=True)
        self.service(time.monotonic_ns())

    def detach(self) -> None:
        """Let go of the byte stream and close it; both directions go down."""
        sock, loop = self._sock, self._loop
        if sock is None or loop is None:
            return
        self._sock = None
        loop.remove_reader(sock.fileno())
        if self._is_writing:
            loop.remove_writer(sock.fileno())
            self._is_writing = False
        sock.close()
        self._backlog.clear()
        for direction in Direction:
            self._change_carrier(direction, up=False)
        self.service(time.monotonic_ns())
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def set_carrier(self, direction: Direction, *, up: bool) -> None:
        """Cut or splice one direction, named as node 0's end sees it."""
        self._change_carrier(direction, up=up)
        self._write(self._cable_frames())
        self.service(time.monotonic_ns())

    def begin_life(self, incarnation: int) -> None:
        """Another incarnation of the guest trains: its pair is a new one."""
        self._owner.life_began(self.node_id, incarnation)
        self._end_neighbour()
        self._owner.space.came_up(self.neighbour, incarnation, MESSAGE_MAX_DEFAULT)

    def end_life(self, incarnation: int) -> None:
        """An incarnation of the guest was declared dead: everything sent to it gets its outcome."""
        now_ns = time.monotonic_ns()
        if self.incarnation and self.incarnation <= incarnation:
            self._end_neighbour()
        self._link.peer_dead(incarnation, now_ns)
        self.service(now_ns)

    def post_death(self, death: Death) -> None:
        """Tell the incarnation that is alive about a death, before all messages that wait."""
        self.pair.enqueue_death(death)
        self.service(time.monotonic_ns())

    def send_foreign(self, frame: bytes) -> bool:
        """Send a frame of a route as it is.

        Returns:
            False if the guest does not hear us, or has much to read already.
        """
        if not self.tx_up or len(self._backlog) >= _BACKLOG_FULL_BYTES:
            return False
        self._write(frame)
        self._flush()
        return True

    def clock(self) -> ClockSample | None:
        """Return the relation of the guest's clock to ours, None if not measured."""
        return self._link.clock()

    def statistics(self) -> LinkStatistics:
        """Return the link's counters; skipped bytes of the stream count as RESYNC."""
        statistics = self._link.statistics()
        drops = list(statistics.drops)
        drops[LinkDrop.RESYNC] += self._skipped_before + self._stream.skipped_bytes
        return replace(statistics, drops=tuple(drops))

    def pair_statistics(self) -> PairStatistics:
        """Return the counters of the pair with the incarnation that is alive."""
        return self.pair.statistics()

    # The state machines' outputs -----------------------------------------------------------------

    def service(self, now_ns: int) -> None:
        """Act until nothing is left to do now, then set the timer; safe to call from callbacks."""
        if self._is_busy:
            return
        self._is_busy = True
        try:
            deadline_ns = self._run(now_ns)
        finally:
            self._is_busy = False
        self._flush()
        if deadline_ns is not None:
            self._set_timer(deadline_ns)
        self._owner.work()

    def _run(self, now_ns: int) -> int | None:
        """Move messages and outputs until both rest; return when to look again."""
        while True:
            self._owner.space.drain(self.neighbour)
            self.neighbour.is_to_be_served = False
            if self.tx_up:
                self._send_what_may_go(now_ns)
            outputs = self._link.take_outputs()
            for output in outputs:
                self._act(output, now_ns)
            if outputs:
                continue
            deadline_ns = self._link.next_deadline_ns()
            if deadline_ns is not None and deadline_ns <= now_ns:
                self._link.tick(now_ns)
                continue
            snapshot_at_ns = self.pair.snapshot_deadline_ns() if self.tx_up else None
            if snapshot_at_ns is None or snapshot_at_ns <= now_ns:  # due, but waits for room
                return deadline_ns
            return snapshot_at_ns if deadline_ns is None else min(snapshot_at_ns, deadline_ns)

    def _send_what_may_go(self, now_ns: int) -> None:
        snapshot_at_ns = self.pair.snapshot_deadline_ns()
        if (
            snapshot_at_ns is not None
            and snapshot_at_ns <= now_ns
            and self._link.send(self.pair.snapshot(), now_ns)
        ):
            self.pair.snapshot_sent()
        self.pair.pump(lambda message: self._offer(message, now_ns))

    def _offer(self, message: bytes, now_ns: int) -> bool:
        return len(self._backlog) < _BACKLOG_FULL_BYTES and self._link.send(message, now_ns)

    def _act(self, output: Output, now_ns: int) -> None:
        match output:
            case Transmit(frame):
                self._write(frame if self.rx_up else self._cable_frames() + frame)
            case Deliver(message):
                self._deliver(message, now_ns)
            case StateChanged():
                self._take_change(output, now_ns)
            case PeerTrained():
                self.neighbour.message_max = output.record.message_max
                self.pair.identify(
                    Peer(
                        node_id=self.node_id,
                        incarnation=output.incarnation,
                        byte_order=output.record.byte_order,
                        data_model=output.record.data_model,
                    )
                )
                self._owner.peer_trained(self.node_id, output)
            case Refused():
                self._owner.refused(self.node_id, output)
            case _:  # drops are counted by the link; it confirms only what FLIPC settles later
                pass

    def _take_change(self, change: StateChanged, now_ns: int) -> None:
        came_up = change.tx_up and not self.tx_up
        self.rx_up = change.rx_up
        self.tx_up = change.tx_up
        if came_up:
            self.pair.resume(change.flipc_next)
        self._owner.link_changed(self.node_id, change, now_ns)

    def _deliver(self, message: bytes, now_ns: int) -> None:
        arrival = self._owner.space.receive(self.neighbour, message, now_ns)
        if isinstance(arrival, CreditBroken):
            self._log.warning(
                "message %d came beyond the credit %d", arrival.sequence, arrival.limit
            )
            self._link.garbage(now_ns)
        elif arrival is not None:
            self._owner.arrived(self, arrival)

    def _end_neighbour(self) -> None:
        """That life is over: give every message its outcome, and begin anew."""
        self._owner.space.died(self.neighbour)
        self.neighbour = self._owner.space.neighbour(self.node_id)

    # The socket ----------------------------------------------------------------------------------

    def _change_carrier(self, direction: Direction, *, up: bool) -> None:
        carrier = self._carriers[direction]
        carrier.up = up
        carrier.generation += 1
        self._link.carrier(direction, up, carrier.generation, True, time.monotonic_ns())

    def _cable_frames(self) -> bytes:
        """Return both directions' state as the guest's end has to see it.

        Repeated with every frame while the guest is not heard: after a reset it knows of no
        carrier. A generation that it knows changes nothing there.
        """
        return b"".join(
            cable_frame(guest_side, up=carrier.up, generation=carrier.generation)
            for carrier, guest_side in (
                (self._carriers[Direction.TX], Direction.RX),
                (self._carriers[Direction.RX], Direction.TX),
            )
        )

    def _write(self, data: bytes) -> None:
        if self._sock is not None and len(self._backlog) <= _BACKLOG_MAX_BYTES:
            self._backlog += data

    def _flush(self) -> None:
        if self._sock is None or not self._backlog or self._loop is None:
            return
        try:
            sent = self._sock.send(self._backlog)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self._backlog.clear()  # the reader sees the end of the stream
            return
        del self._backlog[:sent]
        if bool(self._backlog) is not self._is_writing:
            self._is_writing = not self._is_writing
            if self._is_writing:
                self._loop.add_writer(self._sock.fileno(), self._on_writable)
            else:
                self._loop.remove_writer(self._sock.fileno())

    def _on_writable(self) -> None:
        self._flush()
        self.service(time.monotonic_ns())

    def _on_readable(self) -> None:
        sock = self._sock
        if sock is None:
            return
        try:
            data = sock.recv(_READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self.detach()
            self._owner.stream_closed(self.node_id)
            return
        now_ns = time.monotonic_ns()
        for frame in self._stream.feed(data):
            if route_of(frame):
                self._pass_on(frame)
            else:
                self._link.receive(frame, now_ns)
        self.service(now_ns)
        self._owner.frames_received(self.node_id)

    def _pass_on(self, frame: bytes) -> None:
        """A frame of a route: what is not heard, or breaks the rules, is dropped and counted."""
        if self.rx_up:
            self._link.count_foreign(self._owner.pass_on(self.node_id, frame))
        else:
            self._link.count_foreign(LinkDrop.NOT_TRAINED)

    # Time ----------------------------------------------------------------------------------------

    def _set_timer(self, deadline_ns: int) -> None:
        """Arm the timer for the next deadline; one that fires too early only looks again."""
        if self._loop is None or self._sock is None:
            return
        at_s = deadline_ns / 1e9
        if self._timer is not None:
            if self._timer.when() <= at_s:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(at_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.service(time.monotonic_ns())
