# SPDX-License-Identifier: MIT
"""A running cluster: owns every machine, cable and file of a run, and gives scripts their nodes,
links and events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from emulator.events.stream import EventStream
from emulator.events.types import Event
from emulator.model import Topology
from emulator.runtime.link import Link
from emulator.runtime.node import Node

EventT = TypeVar("EventT", bound=Event)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How to run a topology, apart from what it says itself.

    Args:
        runs_path: folder in which the run's folder is made.
        boot_within_s: bound for every node ready and every link up.
        seed: overrides the topology's seed when not None.
        name: the run's name; default: the topology's.
    """

    runs_path: Path = Path("runs")
    boot_within_s: float = 20.0
    seed: int | None = None
    name: str | None = None


class Cluster:
    """A running cluster; an async context manager.

    Entering boots every node and waits until every link is up; leaving, however, ends every process
    and closes every file it started. The run's folder stays.
    """

    @classmethod
    def from_file(cls, path: str | Path, *, options: RunOptions | None = None) -> Cluster:
        """A cluster of the topology in a file; boots when entered.

        Raises:
            TopologyError: the file is wrong; every problem is listed.
            UsageError: the file cannot be read.
        """
        raise NotImplementedError

    @classmethod
    def from_topology(cls, topology: Topology, *, options: RunOptions | None = None) -> Cluster:
        """A cluster of a topology; boots when entered."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        raise NotImplementedError

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        raise NotImplementedError

    @property
    def topology(self) -> Topology:
        """What it was made from."""
        raise NotImplementedError

    @property
    def seed(self) -> int:
        """The seed that decides every random choice of this run."""
        raise NotImplementedError

    @property
    def folder(self) -> Path:
        """The run's folder: command lines, consoles, events, topology, seed, versions."""
        raise NotImplementedError

    @property
    def stream(self) -> EventStream:
        """The run's one event stream."""
        raise NotImplementedError

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Its nodes, in the order of the topology, without the host."""
        raise NotImplementedError

    @property
    def links(self) -> tuple[Link, ...]:
        """Its links, in the order of the topology, without management links."""
        raise NotImplementedError

    def node(self, name: str) -> Node:
        """The node of that name.

        Raises:
            UsageError: there is none; names the nearest.
        """
        raise NotImplementedError

    def link(self, first: str, second: str | None = None) -> Link:
        """The link of that name, or the one that joins two nodes; `link("a", "host")` is a's
        management link.

        Raises:
            UsageError: there is none.
            AmbiguousLink: several join the two; names them.
        """
        raise NotImplementedError

    async def wait_links_up(self, *, within_s: float = 10.0) -> None:
        """Wait until both directions of every link between running nodes are up.

        Raises:
            DeadlineExpired: some are not; says which, why, and who said what last.
        """
        raise NotImplementedError

    def events(self, node: Node | None = None) -> AsyncIterator[Event]:
        """Events from now on; ends when the cluster does.

        Args:
            node: only events that name this node; None: all.
        """
        raise NotImplementedError

    async def expect(self, kind: type[EventT], *, within_s: float, **fields: object) -> EventT:
        """Wait for an event; one since the latest fault (before the first: since the boot) counts,
        too.

        Args:
            kind: the event's type.
            within_s: the event must have happened at most so long after the latest fault or this
                call, whichever is later.
            fields: values its fields must have; a Node or Link stands for its name.

        Returns:
            The first such event.

        Raises:
            ExpectationFailed: it did not happen in time; says what happened instead.
            UsageError: the event has no such field.
        """
        raise NotImplementedError
