# SPDX-License-Identifier: MIT
"""A guest in Python: the other end of a management link, for tests of whatever talks to node 0 or
through it.

It speaks the same protocol as the firmware over a socket, but has one link only. Its node server
knows `services`; other requests go to `handler`, which by itself answers ECHO at the kernel port.
Not a model of a kernel's timing.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections import Counter, deque
from collections.abc import Callable

from emulator.protocol.constants import MESSAGE_MAX_DEFAULT, ClusterConstants, Verdict
from emulator.protocol.flipc import Pair
from emulator.protocol.flipc_types import (
    RIGHTS_TAKEN,
    Arrival,
    DeathTold,
    IpcArrived,
    Outcome,
    RightsTold,
)
from emulator.protocol.frames import FrameStream
from emulator.protocol.link import LinkEnd
from emulator.protocol.link_types import (
    Deliver,
    LinkConfig,
    Output,
    Refused,
    StateChanged,
    Transmit,
)
from emulator.protocol.message_parts import PortPart
from emulator.protocol.mnl import (
    RIGHTS_COUNT_MAX,
    Death,
    MachMessage,
    NakReason,
    RightsEntry,
    RightsOperation,
)
from emulator.protocol.names import bootstrap_port, kernel_port, node_of
from emulator.protocol.services import (
    REPLY_OFFSET,
    ErrorCode,
    Service,
    parse_node_lookup_request,
)

__all__ = ["FakeGuest", "Handler", "echo_only"]

Handler = Callable[[MachMessage], bytes | NakReason | None]


def echo_only(message: MachMessage) -> bytes | NakReason | None:
    """Answer ECHO at the kernel port; refuse everything else."""
    if message.id == Service.ECHO and message.remote == kernel_port(node_of(message.remote)):
        return message.body
    return NakReason.UNKNOWN_NAME


class _Flow:
    """The guest's pair with node 0; there is only one incarnation of node 0 in a run."""

    def __init__(self, pair: Pair) -> None:
        self.ack = pair.ack
        self.credit = pair.credit
        self.flipc_next = pair.flipc_next
        self.peer = pair.peer
        self.ack_deadline_ns = pair.ack_deadline_ns

    def peer_changed(self, incarnation: int) -> None:
        """Nothing changes."""


class _Words:
    """`Accounts` that nobody keeps: what a test has the guest say of rights."""

    def __init__(self) -> None:
        self.untold: deque[RightsEntry] = deque()

    def may_transmit(self, _name: int) -> bool:
        return True

    def transmitted(self, token: object) -> None:
        pass

    def take_news(self) -> tuple[RightsEntry, ...]:
        count = min(len(self.untold), RIGHTS_COUNT_MAX)
        return tuple(self.untold.popleft() for _ in range(count))


class FakeGuest:
    """One incarnation of a guest on a socket of the running loop.

    `deaths`, `outcomes`, `refusals`, `changes` and `rights` record what it was told, in order.
    `services` are ports by name that its node server gives send rights to; `given` counts those that
    node 0 has on its account.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        node_id: int,
        incarnation: int,
        constants: ClusterConstants,
        handler: Handler = echo_only,
        message_max: int = MESSAGE_MAX_DEFAULT,
        pair: Pair | None = None,
    ) -> None:
        """Boot: wait for carrier and train.

        Args:
            sock: The guest's end of the stream; closed by `power_off()`.
            node_id: Of the guest.
            incarnation: Of the guest.
            constants: The cluster's.
            handler: Given each message for one of its ports; returns the reply's body, a refusal,
                or None for no reply.
            message_max: Largest message that it says it receives, in bytes.
            pair: Between it and node 0; None: one for whose rights nobody keeps accounts.
        """
        self.deaths: list[Death] = []
        self.outcomes: list[Outcome] = []
        self.refusals: list[Refused] = []
        self.changes: list[StateChanged] = []
        self.rights: list[RightsEntry] = []
        self.services: dict[str, PortPart] = {}
        self.given: Counter[int] = Counter()
        self.node_id = node_id
        self._words = _Words()
        self.pair = pair or Pair(node_id=node_id, constants=constants, accounts=self._words)
        self._handler = handler
        self._sock = sock
        self._stream = FrameStream(65536)
        config = LinkConfig(
            node_id=node_id,
            incarnation=incarnation,
            peer_id=0,
            constants=constants,
            message_max=message_max,
            cable_frames=True,
        )
        self.link = LinkEnd(config, _Flow(self.pair), lambda _node, _life: Verdict.ACCEPT)
        self._timer: asyncio.TimerHandle | None = None
        self._tx_up = False
        self._runs = True
        sock.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock.fileno(), self._on_readable)

    def power_off(self) -> None:
        """Lose power: no last words. No effect the second time."""
        if self._sock.fileno() >= 0:
            self.hang()
            self._sock.close()

    def hang(self) -> None:
        """Stop reading and writing; the stream stays open."""
        self._runs = False
        self._loop.remove_reader(self._sock.fileno())
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def resume(self) -> None:
        """Go on after `hang()`."""
        self._runs = True
        self._loop.add_reader(self._sock.fileno(), self._on_readable)
        self._service()

    def post(self, message: MachMessage, token: object = None) -> None:
        """Send a message to node 0."""
        self.pair.enqueue(message, token)
        self._service()

    def tell_rights(self, *entries: RightsEntry) -> None:
        """Tell node 0 accounts of rights."""
        self._words.untold += entries
        self._service()

    def nudge(self) -> None:
        """Send a frame soon, so that node 0 looks at what the guest recorded."""
        self._loop.call_soon(self._acknowledge)

    def speak(self, data: bytes) -> None:
        """Write any bytes into the stream."""
        self._sock.send(data)

    def _acknowledge(self) -> None:
        if self._runs:
            self.link.acknowledge(time.monotonic_ns())
            self._service()

    def _on_readable(self) -> None:
        try:
            data = self._sock.recv(65536)
        except OSError:
            data = b""
        if not data:
            self.hang()
            return
        now_ns = time.monotonic_ns()
        for frame in self._stream.feed(data):
            self.link.receive(frame, now_ns)
        self._service()

    def _service(self) -> None:
        now_ns = time.monotonic_ns()
        self.link.tick(now_ns)
        while True:
            if self._tx_up:
                self.pair.pump(lambda message: self.link.send(message, now_ns))
            outputs = self.link.take_outputs()
            if not outputs:
                break
            for output in outputs:
                self._act(output, now_ns)
        self._take_outcomes()
        deadline_ns = self.link.next_deadline_ns()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if deadline_ns is not None:
            self._timer = self._loop.call_at(deadline_ns / 1e9, self._service)

    def _take_outcomes(self) -> None:
        outcomes = self.pair.take_outcomes()
        self.outcomes += [outcome for outcome in outcomes if outcome.token is not RIGHTS_TAKEN]

    def _act(self, output: Output, now_ns: int) -> None:
        match output:
            case Transmit(frame):
                self._sock.send(frame)
            case Deliver(message):
                self._deliver(message, now_ns)
            case StateChanged():
                self.changes.append(output)
                if output.tx_up and not self._tx_up:
                    self.pair.resume(output.flipc_next)
                self._tx_up = output.tx_up
            case Refused():
                self.refusals.append(output)
            case _:
                pass

    def _deliver(self, message: bytes, now_ns: int) -> None:
        arrival = self.pair.receive(message, now_ns)
        if arrival is not None:
            self._take(arrival, now_ns)

    def _take(self, arrival: Arrival, now_ns: int) -> None:
        if isinstance(arrival, DeathTold):
            self.deaths.append(arrival.death)
        if isinstance(arrival, RightsTold):
            self._take_rights(arrival.entries)
        if not isinstance(arrival, IpcArrived):
            return
        message = arrival.message
        if (message.remote, message.id) == (bootstrap_port(self.node_id), Service.NODE_LOOKUP):
            self.pair.consumed(arrival.sequence, now_ns)
            self._look_up(message)
            return
        answer = self._handler(message)
        if isinstance(answer, NakReason):
            self.pair.refuse(arrival.sequence, answer)
            return
        self.pair.consumed(arrival.sequence, now_ns)
        if answer is not None and message.local:
            self._reply(message, answer)

    def _reply(self, message: MachMessage, body: bytes, *parts: PortPart) -> None:
        self.pair.enqueue(
            MachMessage(
                remote=message.local,
                id=message.id + REPLY_OFFSET,
                body=body,
                remote_disposition=message.local_disposition,
                parts=parts,
            ),
            None,
        )

    def _look_up(self, message: MachMessage) -> None:
        """Answer as the node server does; each right that is given is on node 0's account."""
        name, node_id = parse_node_lookup_request(message.body)
        port = self.services.get(name)
        if port is None or node_id != self.node_id:
            self._reply(message, struct.pack("<iI", ErrorCode.NOT_FOUND, 0))
            return
        self.given[port.name] += 1
        self._reply(message, bytes(8), port)

    def _take_rights(self, entries: tuple[RightsEntry, ...]) -> None:
        self.rights += entries
        for entry in entries:
            if entry.operation == RightsOperation.DROP_SEND:
                self.given[entry.name] -= entry.value
