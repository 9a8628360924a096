# SPDX-License-Identifier: MIT
"""What the dashboard shows, made from events and nothing else.

Fed one event at a time, in order; replaying `events.jsonl` into a fresh state gives the same
picture, which is how I14 (what is shown equals what happened) is tested.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from emulator.events.types import (
    ClusterStopping,
    DirectionChanged,
    Event,
    FaultReceipt,
    LinkEndChanged,
    LinkRefused,
    NodeExited,
    NodeHung,
    NodeIncarnation,
    NodePanicked,
    NodeReady,
    NodeReset,
    NodeResumed,
    NodeStarted,
    Role,
    RunStarted,
    RunVerdict,
    StreamAccount,
    StreamClosed,
    StreamDigest,
    StreamOpened,
)
from emulator.model import DirectionState, NodeState, Topology, plan_routes
from emulator.view.describe import describe

LINES_KEPT = 200
_NS_PER_S = 1_000_000_000


@dataclass(slots=True, kw_only=True)
class NodeView:
    """A node as shown."""

    name: str
    arch: str
    state: NodeState = NodeState.OFF
    since_ns: int = 0
    incarnation: int = 0


@dataclass(slots=True, kw_only=True)
class DirectionView:
    """One direction of a link as shown.

    `reason` says why it is not up; `epoch` is what its sending end last called it.
    """

    name: str
    state: DirectionState = DirectionState.CUT
    since_ns: int = 0
    reason: str = ""
    epoch: int = 0


@dataclass(slots=True, kw_only=True)
class LinkView:
    """A link as shown."""

    name: str
    kind: str
    directions: tuple[DirectionView, DirectionView]


@dataclass(slots=True, kw_only=True)
class StreamView:
    """A traffic stream as shown; `sent` is the source's count, the rest the sink's."""

    id: int
    source: str
    sink: str
    size_bytes: int
    sent: int = 0
    received: int = 0
    rate_hz: float = 0.0
    closed: bool = False
    at_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """An event worth a line: when, who, what."""

    elapsed_s: float
    subject: str
    text: str


@dataclass(slots=True, kw_only=True)
class ViewState:
    """Everything on the screen; it stands still when the cluster is taken down."""

    nodes: dict[str, NodeView] = field(default_factory=dict)
    links: dict[str, LinkView] = field(default_factory=dict)
    streams: dict[int, StreamView] = field(default_factory=dict)
    lines: deque[Line] = field(default_factory=lambda: deque(maxlen=LINES_KEPT))
    faults: int = 0
    folder: str = ""
    started_ns: int = 0
    now_ns: int = 0
    stopping: bool = False

    @classmethod
    def of(cls, topology: Topology) -> ViewState:
        """The picture before anything has happened."""
        state = cls()
        for node in topology.nodes:
            state.nodes[node.name] = NodeView(name=node.name, arch=node.arch.value)
        for link in topology.links:
            state._add_link(link.name, link.kind.value, link.directions)
        for route in plan_routes(topology):
            state._add_link(route.name, "route", route.directions)
        return state

    def _add_link(self, name: str, kind: str, directions: tuple[str, str]) -> None:
        there, back = directions
        self.links[name] = LinkView(
            name=name,
            kind=kind,
            directions=(DirectionView(name=there), DirectionView(name=back)),
        )

    def age_s(self, since_ns: int, elapsed_s: float) -> float:
        """How long something has been as it is.

        Args:
            since_ns: when it became so; 0: it has been so since the start.
            elapsed_s: how long the run has lasted.
        """
        since_s = max(0, since_ns - self.started_ns) / _NS_PER_S if since_ns else 0
        return max(0, elapsed_s - since_s)

    def apply(self, event: Event) -> Line | None:
        """Take one event in.

        Returns:
            The line it is worth, if any.
        """
        if isinstance(event, ClusterStopping):
            self.stopping = True
        if self.stopping and not isinstance(event, RunVerdict):
            return None
        if isinstance(event, RunStarted):
            self.folder = event.folder
        if isinstance(event, RunStarted) or not self.started_ns:
            self.started_ns = event.time_monotonic_ns
        self.now_ns = max(self.now_ns, event.time_monotonic_ns)
        self._apply_node(event)
        self._apply_link(event)
        self._apply_stream(event)
        said = describe(event)
        if said is None:
            return None
        since_ns = max(0, event.time_monotonic_ns - self.started_ns)
        line = Line(elapsed_s=since_ns / _NS_PER_S, subject=said[0], text=said[1])
        self.lines.append(line)
        return line

    def _apply_node(self, event: Event) -> None:
        match event:
            case NodeStarted():
                self._node(event, event.node, NodeState.BOOTING)
                if event.node in self.nodes:
                    self.nodes[event.node].incarnation = 0  # it has not said yet which it is
            case NodeIncarnation() | NodeReset():
                self._node(event, event.node, NodeState.BOOTING, event.incarnation)
            case NodeReady() | NodeResumed():
                self._node(event, event.node, NodeState.READY, event.incarnation)
            case NodeHung():
                self._node(event, event.node, NodeState.HUNG, event.incarnation)
            case NodePanicked():
                self._node(event, event.node, NodeState.PANICKED, event.incarnation)
            case NodeExited():
                self._node(event, event.node, NodeState.OFF, event.incarnation)
            case FaultReceipt():
                self.faults += 1
            case _:
                pass

    def _node(self, event: Event, name: str, state: NodeState, incarnation: int = 0) -> None:
        node = self.nodes.get(name)
        if node is None:
            return
        if state is not node.state:
            node.state, node.since_ns = state, event.time_monotonic_ns
        node.incarnation = incarnation or node.incarnation

    def _apply_link(self, event: Event) -> None:
        match event:
            case DirectionChanged():
                direction = self._direction(event.link, event.direction)
                if direction is not None:
                    direction.state, direction.reason = event.state, event.reason
                    direction.since_ns = event.time_monotonic_ns
            case LinkRefused() if event.link in self.links:
                for direction in self.links[event.link].directions:
                    if direction.state is DirectionState.DOWN:
                        direction.reason = f"refused: {event.refusal.name.lower()}"
            case LinkEndChanged() if event.own_epoch:
                direction = self._direction(event.link, f"{event.node}->{event.peer}")
                if direction is not None:
                    direction.epoch = event.own_epoch
            case _:
                pass

    def _direction(self, link: str, name: str) -> DirectionView | None:
        view = self.links.get(link)
        if view is None:
            return None
        return next((item for item in view.directions if item.name == name), None)

    def _apply_stream(self, event: Event) -> None:
        match event:
            case StreamOpened():
                self.streams[event.stream_id] = StreamView(
                    id=event.stream_id,
                    source=event.source,
                    sink=event.sink,
                    size_bytes=event.size_bytes,
                    at_ns=event.time_monotonic_ns,
                )
            case StreamDigest() if event.stream_id in self.streams:
                self._count(self.streams[event.stream_id], event)
            case StreamAccount() if event.stream_id in self.streams:
                stream = self.streams[event.stream_id]
                stream.sent = max(stream.sent, event.sent)
                stream.received = max(stream.received, event.received)
                if event.final:
                    stream.closed, stream.rate_hz = True, 0.0
            case StreamClosed() if event.stream_id in self.streams:
                self.streams[event.stream_id].closed = True
            case _:
                pass

    @staticmethod
    def _count(stream: StreamView, digest: StreamDigest) -> None:
        if digest.role is Role.SOURCE:
            stream.sent = max(stream.sent, digest.messages)
            return
        if stream.closed:
            return
        passed_ns = digest.time_monotonic_ns - stream.at_ns
        if passed_ns > 0 and digest.messages >= stream.received:
            stream.rate_hz = (digest.messages - stream.received) * _NS_PER_S / passed_ns
        stream.received = max(stream.received, digest.messages)
        stream.at_ns = digest.time_monotonic_ns
