# SPDX-License-Identifier: MIT
"""What the parts of a running cluster share: the topology, the event stream, node 0, the task group."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from emulator.events.stream import EventStream
from emulator.machines.boot_page import BootArguments
from emulator.machines.machine import Machine
from emulator.model import HOST_ID, HOST_NAME, Arch, NodeId, Topology
from emulator.runtime.host_node import HostNode
from emulator.runtime.run_folder import RunFolder
from emulator.runtime.watch import Watch

if TYPE_CHECKING:
    from emulator.runtime.loaders import Loaders  # which are part of a world and know it


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Shared by cluster, nodes and links of one run.

    Args:
        topology: what runs.
        seed: decides every random choice.
        machines: the machine of each architecture.
        find_image: where a machine's firmware is.
        tell: the last word on what a node is told at power-up.
        folder: where everything is written.
        stream: where events go.
        watch: wakes who waits for a change.
        host: node 0.
        loaders: of kernel servers, one for each node.
        program_counter: where the CPU of a node is, by its name; None: not known.
        tasks: owns every task of the run.
        stream_ids: numbers of traffic streams, unique in the run.
        closing: set when the run is over: machines end without anybody being told.
    """

    topology: Topology
    seed: int
    machines: Mapping[Arch, Machine]
    find_image: Callable[[Machine], Path]
    tell: Callable[[BootArguments], BootArguments]
    folder: RunFolder
    stream: EventStream
    watch: Watch
    host: HostNode
    loaders: Loaders
    program_counter: Callable[[str], Awaitable[int | None]]
    tasks: asyncio.TaskGroup
    stream_ids: Iterator[int]
    closing: asyncio.Event

    def derive_seed(self, *purpose: object) -> int:
        """A seed of its own for some purpose: 64 bits that follow from the run's seed alone."""
        text = "/".join(str(item) for item in (self.seed, *purpose))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def node_names(topology: Topology) -> dict[NodeId, str]:
    """All nodes' names by id, the host's too."""
    return {HOST_ID: HOST_NAME, **{spec.id: spec.name for spec in topology.nodes}}
