# SPDX-License-Identifier: MIT
"""Two nodes joined by a link in memory, under a clock that only moves when told: for tests of the
protocols.

The wire loses, duplicates, delays, reorders and damages frames as its `Faults` say, all decided by
one seed; directions are cut and spliced, nodes get new lives. Each node is the real `LinkEnd` (or
another implementation of it) with a `Pair` on top. Not a model of QEMU's timing.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from emulator.protocol.constants import (
    Admission,
    ClusterConstants,
    Direction,
    LinkRefusal,
    Verdict,
)
from emulator.protocol.flipc import Pair
from emulator.protocol.flipc_types import CreditBroken, IpcArrived, Outcome
from emulator.protocol.link_types import (
    Admit,
    Deliver,
    Flow,
    LinkConfig,
    LinkStatistics,
    Output,
    Refused,
    StateChanged,
    Transmit,
)
from emulator.protocol.mnl import MachMessage
from emulator.protocol.names import make_name

__all__ = ["Faults", "MakeLink", "MemoryLink", "MemoryNode", "SansIoLink"]


class SansIoLink(Protocol):
    """A link end of either implementation; see `emulator.protocol.link.LinkEnd`."""

    def carrier(
        self, direction: Direction, up: bool, generation: int, checked: bool, now_ns: int
    ) -> None:
        """Take the state of one direction from the cable."""

    def receive(self, frame: bytes, now_ns: int) -> None:
        """Take a frame from the PHY."""

    def send(self, message: bytes, now_ns: int) -> bool:
        """Send one whole mnl message."""

    def tick(self, now_ns: int) -> None:
        """Do everything whose deadline has come."""

    def next_deadline_ns(self) -> int | None:
        """Return when `tick()` has something to do."""

    def close(self, now_ns: int) -> None:
        """Stop in order."""

    def garbage(self, now_ns: int) -> None:
        """Close the receive direction."""

    def peer_dead(self, incarnation: int, now_ns: int) -> None:
        """Forget a dead incarnation."""

    def take_outputs(self) -> list[Output]:
        """Return what came out."""

    def statistics(self) -> LinkStatistics:
        """Return the counters."""


MakeLink = Callable[[LinkConfig, Flow, Admit], SansIoLink]


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Probabilities per frame."""

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    damage: float = 0.0


@dataclass(slots=True)
class _Wire:
    """One direction."""

    up: bool = False
    generation: int = 0
    free_ns: int = 0  # when the frame before has arrived: order is kept
    faults: Faults = field(default_factory=Faults)


class MemoryNode:
    """One node: a link end, the pair behind it, and a record of what happened to its messages."""

    def __init__(
        self,
        make_link: MakeLink,
        config: LinkConfig,
    ) -> None:
        """Power up with no carrier.

        Args:
            make_link: Makes a link end of the implementation under test.
            config: Of this end.
        """
        self.config = config
        self.pair = Pair(node_id=config.node_id, constants=config.constants)
        self.peer_incarnation = 0
        self.rx_up = False
        self.tx_up = False
        self.peer_epoch = 0
        self.changes: list[StateChanged] = []
        self.refusals: list[Refused] = []
        self.outcomes: list[Outcome] = []
        self.received: list[tuple[int, MachMessage]] = []  # (source incarnation, message)
        self.delivered: dict[tuple[int, int], list[bytes]] = {}  # by source life and epoch
        self.sent: dict[int, list[bytes]] = {}  # by epoch of ours
        self._epoch = 0
        self._next_id = 0
        self.link = make_link(config, self, self._admit)

    # Flow ----------------------------------------------------------------------------------------

    def peer_changed(self, incarnation: int) -> None:
        """The peer has another life: the pair with the old one is dead."""
        self._bury_pair()
        self.peer_incarnation = incarnation

    def ack(self) -> int:
        """As the pair says."""
        return self.pair.ack()

    def credit(self) -> int:
        """As the pair says."""
        return self.pair.credit()

    def flipc_next(self) -> int:
        """As the pair says."""
        return self.pair.flipc_next()

    def peer(self, flipc_ack: int, flipc_credit: int) -> None:
        """Tell the pair."""
        self.pair.peer(flipc_ack, flipc_credit)

    def ack_deadline_ns(self) -> int | None:
        """As the pair says."""
        return self.pair.ack_deadline_ns()

    # Messages ------------------------------------------------------------------------------------

    def post(self, body: bytes) -> int:
        """Queue a message to the peer's port and return its number, which is its outcome's
        token."""
        number = self._next_id
        self._next_id += 1
        self.pair.enqueue(
            MachMessage(remote=make_name(self.config.peer_id, 1, 1), id=number, body=body), number
        )
        return number

    def run(self, now_ns: int) -> list[bytes]:
        """Move messages and outputs until both rest; return the frames for the wire."""
        frames: list[bytes] = []
        while True:
            self._pump(now_ns)
            outputs = self.link.take_outputs()
            if not outputs:
                break
            for output in outputs:
                self._act(output, now_ns, frames)
        self.outcomes += self.pair.take_outcomes()
        return frames

    def _pump(self, now_ns: int) -> None:
        if not self.tx_up:
            return
        snapshot_at_ns = self.pair.snapshot_deadline_ns()
        if (
            snapshot_at_ns is not None
            and snapshot_at_ns <= now_ns
            and self.link.send(self.pair.snapshot(), now_ns)
        ):
            self.pair.snapshot_sent()
        self.pair.pump(lambda message: self._send(message, now_ns))

    def _send(self, message: bytes, now_ns: int) -> bool:
        if not self.link.send(message, now_ns):
            return False
        self.sent.setdefault(self._epoch, []).append(message)
        return True

    def _act(self, output: Output, now_ns: int, frames: list[bytes]) -> None:
        match output:
            case Transmit(frame):
                frames.append(frame)
            case Deliver(message):
                life = (self.peer_incarnation, self.peer_epoch)
                self.delivered.setdefault(life, []).append(message)
                self._take(message, now_ns)
            case StateChanged():
                self.changes.append(output)
                came_up = output.tx_up and not self.tx_up
                self.rx_up, self.tx_up = output.rx_up, output.tx_up
                self._epoch, self.peer_epoch = output.epoch, output.peer_epoch
                if came_up:
                    self.pair.resume(output.flipc_next)
            case Refused():
                self.refusals.append(output)
            case _:
                pass

    def _take(self, message: bytes, now_ns: int) -> None:
        arrival = self.pair.receive(message, now_ns)
        if isinstance(arrival, IpcArrived):
            self.received.append((self.peer_incarnation, arrival.message))
            self.pair.consumed(arrival.sequence, now_ns)
        elif isinstance(arrival, CreditBroken):
            self.link.garbage(now_ns)

    def _bury_pair(self) -> None:
        self.pair.died()
        self.outcomes += self.pair.take_outcomes()
        self.pair = Pair(node_id=self.config.node_id, constants=self.config.constants)

    def _admit(self, _node_id: int, incarnation: int) -> Admission:
        if incarnation < self.peer_incarnation:
            return LinkRefusal.STALE
        return Verdict.ACCEPT


class MemoryLink:
    """Nodes 0 and 1 of `nodes` (ids 1 and 2), two wires between them, and the time."""

    LATENCY_NS = 50_000

    def __init__(
        self,
        make_link: MakeLink,
        *,
        seed: int,
        constants: ClusterConstants | None = None,
        mtu: int = 256,
        checked: bool = True,
    ) -> None:
        """Power both nodes up; `splice()` gives them carrier.

        Args:
            make_link: Makes a link end of the implementation under test.
            seed: Decides every random choice.
            constants: Of the cluster.
            mtu: Of both ends, in bytes.
            checked: Whether the cable says that bytes may change on the way.
        """
        self.random = random.Random(seed)
        self.now_ns = 1_000_000
        self._make_link = make_link
        self._constants = constants or ClusterConstants()
        self._mtu = mtu
        self._checked = checked
        self._wires = [_Wire(), _Wire()]  # by the node that writes
        self._flying: list[tuple[int, int, int, int, bytes]] = []
        self._count = 0
        self.nodes = [self._boot(0, 1), self._boot(1, 1)]

    def _boot(self, index: int, incarnation: int) -> MemoryNode:
        config = LinkConfig(
            node_id=index + 1,
            incarnation=incarnation,
            peer_id=2 - index,
            constants=self._constants,
            mtu=self._mtu,
        )
        return MemoryNode(self._make_link, config)

    # Faults --------------------------------------------------------------------------------------

    def set_faults(self, faults: Faults) -> None:
        """Let both wires misbehave from now on."""
        for wire in self._wires:
            wire.faults = faults

    def set_carrier(self, writer: int, *, up: bool) -> None:
        """Cut or splice the direction that node `writer` (0 or 1) writes; a cut drops what is on
        the way."""
        wire = self._wires[writer]
        wire.up = up
        wire.generation += 1
        for index, direction in ((writer, Direction.TX), (1 - writer, Direction.RX)):
            self.nodes[index].link.carrier(
                direction, up, wire.generation, self._checked, self.now_ns
            )
            self._run_node(index)

    def splice(self) -> None:
        """Give both directions carrier."""
        for writer in (0, 1):
            self.set_carrier(writer, up=True)

    def restart(self, index: int, *, with_carrier: bool) -> MemoryNode:
        """Give a node a new life; returns the old one.

        Args:
            index: 0 or 1.
            with_carrier: Whether the cable blinks, as at a process restart; a reset leaves it
                alone.
        """
        old = self.nodes[index]
        self.nodes[index] = self._boot(index, old.config.incarnation + 1)
        if with_carrier:
            for writer in (0, 1):
                self.set_carrier(writer, up=self._wires[writer].up)
        for writer, direction in ((index, Direction.TX), (1 - index, Direction.RX)):
            wire = self._wires[writer]
            self.nodes[index].link.carrier(
                direction, wire.up, wire.generation, self._checked, self.now_ns
            )
        self._run_node(index)
        return old

    # Time ----------------------------------------------------------------------------------------

    def kick(self, index: int) -> None:
        """Let a node act on what a test gave it."""
        self._run_node(index)

    def run_for(self, span_ns: int) -> None:
        """Let the time pass."""
        end_ns = self.now_ns + span_ns
        while True:
            next_ns = self._next_ns()
            if next_ns is None or next_ns > end_ns:
                break
            self.now_ns = max(self.now_ns, next_ns)
            if self._flying and self._flying[0][0] <= self.now_ns:
                self._arrive()
            else:
                self._tick()
        self.now_ns = end_ns

    def _next_ns(self) -> int | None:
        moments = [flight[0] for flight in self._flying[:1]]
        for node in self.nodes:
            deadline_ns = node.link.next_deadline_ns()
            if deadline_ns is not None:
                moments.append(deadline_ns)
            snapshot_at_ns = node.pair.snapshot_deadline_ns() if node.tx_up else None
            if snapshot_at_ns is not None and snapshot_at_ns > self.now_ns:
                moments.append(snapshot_at_ns)
        return min(moments, default=None)

    def _tick(self) -> None:
        for index, node in enumerate(self.nodes):
            node.link.tick(self.now_ns)
            self._run_node(index)

    def _arrive(self) -> None:
        _, _, writer, generation, frame = heapq.heappop(self._flying)
        wire = self._wires[writer]
        if wire.up and wire.generation == generation:
            self.nodes[1 - writer].link.receive(frame, self.now_ns)
            self._run_node(1 - writer)

    def _run_node(self, index: int) -> None:
        for frame in self.nodes[index].run(self.now_ns):
            self._write(index, frame)

    def _write(self, writer: int, frame: bytes) -> None:
        wire = self._wires[writer]
        faults = wire.faults
        if self.random.random() < faults.loss:
            return
        copies = 2 if self.random.random() < faults.duplicate else 1
        for _ in range(copies):
            arrives_ns = max(wire.free_ns, self.now_ns + self.LATENCY_NS)
            wire.free_ns = arrives_ns
            if self.random.random() < faults.reorder:
                arrives_ns += self.random.randrange(20 * self.LATENCY_NS)
            if self.random.random() < faults.damage:
                frame = self._damaged(frame)
            self._count += 1
            flight = (arrives_ns, self._count, writer, wire.generation, frame)
            heapq.heappush(self._flying, flight)

    def _damaged(self, frame: bytes) -> bytes:
        damaged = bytearray(frame)
        damaged[self.random.randrange(len(damaged))] ^= self.random.randrange(1, 256)
        return bytes(damaged)
