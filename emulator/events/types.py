# SPDX-License-Identifier: MIT
"""Everything that can happen in a run, as frozen records.

Two sources speak here and are kept apart by name. *Host truth*: what the orchestrator did or saw
itself (processes, cables, faults). *Guest claims*: what a node wrote into its black box; these
derive from `GuestEvent` and carry the incarnation that wrote them. Where both speak of one thing,
host truth wins.

Nodes and links are named by their names. `time_monotonic_ns` is the host's `time.monotonic_ns()`;
for guest claims it is mapped from the node's clock and right within ± `time_error_ns`. `seq`
numbers the events of a run without holes; both are filled in by the stream when left at their
defaults.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import Enum

from emulator.model import DeathCause, DirectionState, Drop, LinkReason, Refusal


class FaultKind(Enum):
    """What we do to a cluster on purpose."""

    CUT = "cut"
    SPLICE = "splice"
    CRASH = "crash"
    RESTART = "restart"
    HANG = "hang"
    RESUME = "resume"
    RESET = "reset"
    PANIC = "panic"
    GARBAGE = "garbage"


class Role(Enum):
    """Which end of a traffic stream an account belongs to."""

    SOURCE = "source"
    SINK = "sink"


class Outcome(Enum):
    """How a check ended."""

    PASS = "pass"
    FAIL = "fail"
    NOT_EXERCISED = "not exercised"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Root of all events."""

    seq: int = -1
    time_monotonic_ns: int = 0
    time_error_ns: int = 0

    @property
    def kind(self) -> str:
        """The event's name in `events.jsonl`."""
        return type(self).__name__

    def fields(self) -> dict[str, object]:
        """The event's own fields, with enums as the names that files show."""
        return {
            field.name: _plain(getattr(self, field.name))
            for field in dataclasses.fields(self)
            if field.name not in _STAMPS
        }


_STAMPS = frozenset({"seq", "time_monotonic_ns", "time_error_ns"})


def _plain(value: object) -> object:
    if isinstance(value, Enum):
        return value.name.lower()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


# --- the run ---


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    """The run folder exists and machines are about to start."""

    name: str
    seed: int
    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterReady(Event):
    """Every node is ready and every link is up for the first time."""

    after_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Note(Event):
    """What a scenario says of its run."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterStopping(Event):
    """The run is over for the nodes: from now on they are ended, and nobody is told of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckerVerdict(Event):
    """An invariant checker reached its verdict."""

    invariant: str
    outcome: Outcome
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunVerdict(Event):
    """The run is over."""

    outcome: Outcome
    detail: str = ""


# --- host truth: nodes ---


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStarted(Event):
    """A node's machine was started."""

    node: str
    launch: int
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReady(Event):
    """A node's kernel is ready and its management link is up."""

    node: str
    incarnation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeExited(Event):
    """A node's machine ended; `status` is its exit status, negative for a signal."""

    node: str
    incarnation: int
    status: int
    requested: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePanicked(Event):
    """A node's black box says that its kernel panicked."""

    node: str
    incarnation: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PanicExplained(Event):
    """Where a kernel panicked, innermost call first: address, function, file and line.

    Written when the machines are off: reading an image's line tables takes a second, and nothing
    may wait for it.
    """

    node: str
    incarnation: int
    backtrace: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeHung(Event):
    """A node's CPU was stopped by us, or does not leave a kernel server, so that the node is silent."""

    node: str
    incarnation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeResumed(Event):
    """A hung node's CPU runs again."""

    node: str
    incarnation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReset(Event):
    """A node's machine was reset: the incarnation named here is over."""

    node: str
    incarnation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeIncarnation(Event):
    """A new life of a node began."""

    node: str
    incarnation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeathAnnounced(Event):
    """The host told `told` survivors that an incarnation is dead."""

    of: str
    incarnation: int
    told: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsLost(Event):
    """A node's black box wrapped before we read it: that many events are missing."""

    node: str
    incarnation: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRefusal(Event):
    """Node 0 would not train with a life of a node, or (`by_us` false) that node with node 0."""

    node: str
    claimed_incarnation: int
    refusal: Refusal
    by_us: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HostStalled(Event):
    """The orchestrator was not let run for so long: this machine does too much else.

    Whatever is bound in time may have missed its bound for no other reason.
    """

    for_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPresumedDeath(Event):
    """Node 0 heard nothing of a life for so long that it counts as dead, though its machine runs."""

    node: str
    incarnation: int


# --- host truth: links and faults ---


@dataclass(frozen=True, slots=True, kw_only=True)
class CarrierChanged(Event):
    """The host changed the carrier of one direction of a cable."""

    link: str
    direction: str
    carrier: bool
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectionChanged(Event):
    """One direction of a link changed state, both ends and the cable taken together.

    `reason` says why it is not up, in a few words; empty when it is.
    """

    link: str
    direction: str
    state: DirectionState
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CableTampered(Event):
    """A cable page differs from the host's truth: a guest wrote where only the host may."""

    link: str
    offset: int
    expected: int
    found: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultReceipt(Event):
    """A fault that was asked for: when it was asked, when it took effect, on what.

    `time_monotonic_ns` is the moment it took effect; `requested_ns` the moment it was asked for.
    """

    fault: FaultKind
    target: str
    direction: str = ""
    requested_ns: int
    incarnation: int = 0
    detail: str = ""


# --- guest claims ---


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestEvent(Event):
    """What a node wrote into its black box; `incarnation` is the life that wrote it."""

    node: str
    incarnation: int
    guest_time_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestBooted(GuestEvent):
    """The kernel started."""

    boot_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestReady(GuestEvent):
    """The kernel says that its servers run and its management link trained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestPanicked(GuestEvent):
    """The kernel panicked."""

    program_counter: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkEndChanged(GuestEvent):
    """One end of a link changed the state of its directions."""

    link: str
    peer: str
    rx_up: bool
    tx_up: bool
    own_epoch: int
    peer_epoch: int
    reason: LinkReason


@dataclass(frozen=True, slots=True, kw_only=True)
class CarrierSeen(GuestEvent):
    """One end saw its carrier change."""

    link: str
    peer: str
    rx: bool
    tx: bool
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerUp(GuestEvent):
    """The node registered a peer's incarnation and can reach it."""

    of: str
    of_incarnation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeathNotice(GuestEvent):
    """The node learnt that an incarnation of `of` is dead."""

    of: str
    of_incarnation: int
    cause: DeathCause


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkRefused(GuestEvent):
    """A training was refused, by this node (`by_us`) or by its peer."""

    link: str
    peer: str
    refusal: Refusal
    claimed_incarnation: int
    by_us: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkDropped(GuestEvent):
    """An end dropped frames; `count` of that reason so far."""

    link: str
    peer: str
    drop: Drop
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldStale(GuestEvent):
    """The node was told that it had been declared dead."""

    dead_incarnation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditBroken(GuestEvent):
    """A credit invariant broke inside the node."""

    peer: str
    limit: int
    used: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamDigest(GuestEvent):
    """How far a traffic stream is at one of its ends."""

    stream_id: int
    role: Role
    messages: int
    running_hash: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageSeen(GuestEvent):
    """One message of a stream arrived (only with `trace = "messages"`)."""

    stream_id: int
    sequence: int
    source_incarnation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficRefused(GuestEvent):
    """The node dropped traffic that belongs to no account of its; `count` so far."""

    stream_id: int
    count: int
    source_incarnation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestEventUnknown(GuestEvent):
    """A black box event of a kind that this version does not know."""

    number: int
    args: tuple[int, int, int]


# --- kernel servers ---


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderLine(Event):
    """The kernel-server loader said something about what it does; `level` is syslog's priority."""

    node: str
    server: str
    level: int
    text: str


# --- traffic ---


@dataclass(frozen=True, slots=True, kw_only=True)
class PingAnswered(Event):
    """One node's kernel measured a round trip to another's, by its own clock."""

    node: str
    to: str
    round_trip_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOpened(Event):
    """A traffic stream was asked for and started.

    What its messages contain follows from `seed` and `check` (0 headers, 1 whole contents): the
    host can compute the running hash of the first n by itself.
    """

    stream_id: int
    source: str
    sink: str
    source_incarnation: int
    sink_incarnation: int
    size_bytes: int
    seed: int
    check: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamAccount(Event):
    """The account of a stream at one end, read from a black box, of a living node or a dead one.

    `final`: nothing can be added any more (the stream was closed, or the node is dead). `torn`: the
    node died while it wrote, so the last message may be counted in one field and not in another.
    """

    stream_id: int
    role: Role
    node: str
    incarnation: int
    peer: str
    peer_incarnation: int
    size_bytes: int
    next_sequence: int
    running_hash: int
    sent: int
    acked: int
    failed: int
    unknown: int
    received: int
    duplicates: int
    gaps: int
    corrupt: int
    final: bool
    torn: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamClosed(Event):
    """A stream ended and both its accounts are final."""

    stream_id: int
    source: str
    sink: str


EVENT_KINDS: dict[str, type[Event]] = {
    name: item
    for name, item in list(globals().items())
    if isinstance(item, type) and issubclass(item, Event)
}
"""Every event type by its name, for readers of `events.jsonl`."""
