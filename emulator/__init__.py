# SPDX-License-Identifier: MIT
"""mnlab: boot a cluster of small machines, pull the cables, crash the nodes, and see every link
come back."""

from emulator.errors import (
    AmbiguousLink,
    DeadlineExpired,
    ExpectationFailed,
    GuestError,
    HostError,
    LaunchError,
    MnlabError,
    NodeDied,
    ScenarioError,
    StateError,
    TopologyError,
    TrainingRefused,
    UsageError,
    VerdictFailure,
)
from emulator.events.types import (
    DeathNotice,
    FaultKind,
    LoaderLine,
    NodePanicked,
    Role,
    StreamDigest,
)
from emulator.model import DirectionState, NodeState, Topology
from emulator.protocol.services import HostilePart
from emulator.runtime.cluster import Cluster, RunOptions
from emulator.runtime.link import Link
from emulator.runtime.node import Node
from emulator.runtime.traffic import Stream, StreamLedger

__all__ = [
    "AmbiguousLink",
    "Cluster",
    "DeadlineExpired",
    "DeathNotice",
    "DirectionState",
    "ExpectationFailed",
    "FaultKind",
    "GuestError",
    "HostError",
    "HostilePart",
    "LaunchError",
    "Link",
    "LoaderLine",
    "MnlabError",
    "Node",
    "NodeDied",
    "NodePanicked",
    "NodeState",
    "Role",
    "RunOptions",
    "ScenarioError",
    "StateError",
    "Stream",
    "StreamDigest",
    "StreamLedger",
    "Topology",
    "TopologyError",
    "TrainingRefused",
    "UsageError",
    "VerdictFailure",
]
