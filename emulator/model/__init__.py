# SPDX-License-Identifier: MIT
"""What a cluster is: topology, nodes, links, states. Frozen records without behaviour."""

from emulator.model.ids import (
    HOST_ID,
    HOST_NAME,
    Incarnation,
    NodeId,
    boot_count_of,
    incarnation_of,
    incarnation_text,
    launch_of,
)
from emulator.model.routes import HOPS_MAX, Route, plan_routes
from emulator.model.states import (
    DeathCause,
    DirectionState,
    Drop,
    LinkReason,
    NodeState,
    Refusal,
    exit_text,
)
from emulator.model.topology import (
    LINKS_PER_NODE_MAX,
    MEMORY_BYTES_DEFAULT,
    Arch,
    CableMode,
    ClusterConstants,
    Idle,
    LinkKind,
    LinkSpec,
    NodeSpec,
    Topology,
    Trace,
)

__all__ = [
    "HOPS_MAX",
    "HOST_ID",
    "HOST_NAME",
    "LINKS_PER_NODE_MAX",
    "MEMORY_BYTES_DEFAULT",
    "Arch",
    "CableMode",
    "ClusterConstants",
    "DeathCause",
    "DirectionState",
    "Drop",
    "Idle",
    "Incarnation",
    "LinkKind",
    "LinkReason",
    "LinkSpec",
    "NodeId",
    "NodeSpec",
    "NodeState",
    "Refusal",
    "Route",
    "Topology",
    "Trace",
    "boot_count_of",
    "exit_text",
    "incarnation_of",
    "incarnation_text",
    "launch_of",
    "plan_routes",
]
