# SPDX-License-Identifier: MIT
"""Several `IpcSpace`s that know each other, joined by hand: a test moves the messages.

Lossless and in order, as links between the same two lives are; a cut direction moves nothing. No
clock but a counter. Ids are 1 .. count; an index is an id less one.
"""

from __future__ import annotations

from collections import deque

from emulator.protocol.constants import ClusterConstants
from emulator.protocol.flipc_types import Outcome
from emulator.protocol.ipc import IpcSpace, Neighbour, Port
from emulator.protocol.names import make_name

__all__ = ["Mesh", "Recorder"]

DOOR_SERIAL = 77
_MESSAGE_MAX = 65536


def _take_one(wire: deque[bytes], message: bytes) -> bool:
    if wire:
        return False
    wire.append(message)
    return True


class Recorder:
    """What one space told."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def arrived(self, port: Port) -> None:
        """Nothing to do: tests look into queues."""

    def resolved(self, outcome: Outcome) -> None:
        """Keep it."""
        self.outcomes.append(outcome)


class Mesh:
    """So many nodes."""

    def __init__(self, count: int, constants: ClusterConstants | None = None) -> None:
        """Begin the first life of each.

        Args:
            count: Of nodes.
            constants: Of the cluster.
        """
        self.constants = constants or ClusterConstants(nodes_max=16)
        self.lives = [1] * count
        self.cut: set[tuple[int, int]] = set()  # from, to
        self.now_ns = 0
        self.recorders = [Recorder() for _ in range(count)]
        self.spaces = [self._space(at) for at in range(count)]
        self.doors = [self._door(at) for at in range(count)]
        self.nodes: dict[tuple[int, int], Neighbour] = {}  # at, of
        self._wire: dict[tuple[int, int], deque[bytes]] = {}
        for at in range(count):
            for of in range(count):
                if at != of:
                    self._join(at, of)

    def _space(self, at: int) -> IpcSpace:
        return IpcSpace(
            node_id=at + 1,
            incarnation=self.lives[at] << 32 | 1,
            constants=self.constants,
            observer=self.recorders[at],
        )

    def _door(self, at: int) -> Port:
        return self.spaces[at].create(name=make_name(at + 1, 0, DOOR_SERIAL), limit=1024)

    def _join(self, at: int, of: int) -> None:
        node = self.nodes[at, of] = self.spaces[at].neighbour(of + 1)
        self.spaces[at].came_up(node, self.spaces[of].incarnation, _MESSAGE_MAX)
        self._wire[at, of] = deque()

    def door_name(self, which: int) -> int:
        """Return the name of a node's well-known port."""
        return make_name(which + 1, 0, DOOR_SERIAL)

    # Moving --------------------------------------------------------------------------------------

    def _headers(self, source: int, to: int) -> None:
        sender, receiver = self.nodes[source, to], self.nodes[to, source]
        receiver.pair.peer(sender.pair.ack(), sender.pair.credit())
        self.spaces[to].drain(receiver)

    def move_one(self, source: int, to: int) -> bool:
        """Move one message; return whether there was one."""
        if (source, to) in self.cut:
            return False
        self.now_ns += 1
        pair, wire = self.nodes[source, to].pair, self._wire[source, to]
        if not wire:
            if pair.snapshot_deadline_ns() is not None:
                wire.append(pair.snapshot())
                pair.snapshot_sent()
            pair.pump(lambda message: _take_one(wire, message))
        self._headers(source, to)
        if not wire:
            return False
        receiver = self.nodes[to, source]
        arrival = self.spaces[to].receive(receiver, wire.popleft(), self.now_ns)
        assert arrival is None, arrival
        self._headers(source, to)
        return True

    def settle(self) -> None:
        """Move everything until nothing moves."""
        moved = True
        while moved:
            moved = False
            for source, to in self.nodes:
                if (source, to) not in self.cut:
                    self._headers(source, to)
            for source, to in self.nodes:
                while self.move_one(source, to):
                    moved = True

    def kill(self, which: int) -> None:
        """Tell the others that the node is dead; then begin its next life, empty."""
        others = [at for at in range(len(self.spaces)) if at != which]
        for at in others:
            self.spaces[at].died(self.nodes[at, which])
        self.lives[which] += 1
        self.recorders[which] = Recorder()
        self.spaces[which] = self._space(which)
        self.doors[which] = self._door(which)
        for at in others:
            self._join(at, which)
            self._join(which, at)

    # Looking -------------------------------------------------------------------------------------

    def expect_empty(self) -> None:
        """Expect that nobody has anything but a door."""
        for at, space in enumerate(self.spaces):
            door = self.doors[at]
            assert space.port_count == 1, (at, space.names)
            assert list(space.names.values()) == [door]
            assert (door.references, door.once, bool(door.given), bool(door.shares)) == (
                1,
                0,
                False,
                False,
            ), at
            for node in space.neighbours.values():
                assert not node.shares, (at, node.shares)
                assert not node.notices
                assert not node.batch
                assert not node.proxies
                assert not node.accepted
