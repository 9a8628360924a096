# SPDX-License-Identifier: MIT
"""A running cluster: owns every machine, cable and file of a run, and gives scripts their nodes, links and events."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from emulator.config import load_topology
from emulator.errors import (
    AmbiguousLink,
    DeadlineExpired,
    HostError,
    MnlabError,
    TrainingRefused,
    UsageError,
)
from emulator.events.refusal import refusal_text
from emulator.events.stream import EventStream, Subscription
from emulator.events.types import (
    ClusterReady,
    ClusterStopping,
    DirectionChanged,
    Event,
    HostPresumedDeath,
    HostRefusal,
    LinkEndChanged,
    LinkRefused,
    NodePanicked,
    Note,
    PanicExplained,
    RunStarted,
)
from emulator.machines.boot_page import BootArguments
from emulator.machines.image import check_image, find_image
from emulator.machines.machine import MACHINES, Machine
from emulator.machines.symbols import explain_panic
from emulator.model import (
    HOST_NAME,
    Arch,
    DeathCause,
    DirectionState,
    LinkKind,
    NodeId,
    Refusal,
    Route,
    Topology,
    incarnation_of,
    plan_routes,
)
from emulator.model.routes import MANAGEMENT_NAME
from emulator.protocol.link_types import Refused
from emulator.protocol.node import NodeDeath
from emulator.protocol.route import Transit
from emulator.runtime.deadline import Deadline
from emulator.runtime.expect import Expectation
from emulator.runtime.host_node import HostNode, HostObserver
from emulator.runtime.launch import find_binary
from emulator.runtime.link import GuestLink, Link, ManagementLink, RouteLink
from emulator.runtime.link_runtime import LinkRuntime
from emulator.runtime.loaders import Loaders
from emulator.runtime.node import Node
from emulator.runtime.node_runtime import NodeRuntime
from emulator.runtime.route_runtime import RouteRuntime
from emulator.runtime.run_folder import RunFolder
from emulator.runtime.sampler import sample
from emulator.runtime.sweep import sweep
from emulator.runtime.watch import Watch
from emulator.runtime.world import World, node_names

EventT = TypeVar("EventT", bound=Event)
HOST_INCARNATION: Final = incarnation_of(1, 1)
_NODE_FIELDS: Final = ("node", "of", "to", "peer", "target", "source", "sink")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How to run a topology, apart from what it says itself.

    Args:
        runs_path: folder in which the run's folder is made.
        boot_within_s: bound for every node ready and every link up.
        seed: overrides the topology's seed when not None.
        name: the run's name; default: the topology's.
        machines: the machine of each architecture.
        images: firmware images to use instead of the built ones.
        tell: the last word on what a node is told at power-up; for tests of nodes that disagree
            with the topology or with each other.
        listeners: called with every event, from the first one on; must not block.
    """

    runs_path: Path = Path("runs")
    boot_within_s: float = 20.0
    seed: int | None = None
    name: str | None = None
    machines: Mapping[Arch, Machine] = field(default_factory=lambda: MACHINES)
    images: Mapping[Arch, Path] = field(default_factory=dict)
    tell: Callable[[BootArguments], BootArguments] = lambda arguments: arguments
    listeners: tuple[Callable[[Event], None], ...] = ()


class _HostWitness(HostObserver):
    """Writes what node 0 decides about guests into the event stream."""

    def __init__(self, stream: EventStream, names: Mapping[NodeId, str]) -> None:
        self._stream = stream
        self._names = names

    def refused(self, node_id: int, refusal: Refused) -> None:
        """A claim was refused."""
        self._stream.emit(
            HostRefusal(
                node=self._names[NodeId(node_id)],
                claimed_incarnation=refusal.incarnation,
                refusal=refusal.reason,
                by_us=refusal.by_us,
            )
        )

    def peer_died(self, death: NodeDeath) -> None:
        """A life is dead for node 0; those that ended before its eyes are told of elsewhere."""
        if death.cause is DeathCause.SILENCE:
            self._stream.emit(
                HostPresumedDeath(
                    node=self._names[NodeId(death.node_id)], incarnation=death.incarnation
                )
            )


class Cluster:
    """A running cluster; an async context manager.

    Entering boots every node and waits until every link is up; leaving, however, ends every process
    and closes every file it started. The run's folder stays. Enter and leave in one task.
    """

    def __init__(self, topology: Topology, options: RunOptions) -> None:
        self._topology = topology
        self._options = options
        self._seed = topology.seed if options.seed is None else options.seed
        self._tasks = asyncio.TaskGroup()
        self._background: list[asyncio.Task[None]] = []
        self._cleanup = contextlib.AsyncExitStack()  # last in, first out; machines end before it
        self._world: World | None = None
        self._failure: asyncio.Future[None] | None = None
        self._node_runtimes: dict[str, NodeRuntime] = {}
        self._link_runtimes: dict[str, LinkRuntime] = {}
        self._nodes: dict[str, Node] = {}
        self._links: dict[str, GuestLink] = {}
        self._route_runtimes: dict[str, RouteRuntime] = {}
        self._routes: dict[str, RouteLink] = {}
        self._management: dict[str, ManagementLink] = {}

    @classmethod
    def from_file(cls, path: str | Path, *, options: RunOptions | None = None) -> Cluster:
        """A cluster of the topology in a file; boots when entered.

        Raises:
            TopologyError: the file is wrong; every problem is listed.
            UsageError: the file cannot be read.
        """
        return cls.from_topology(load_topology(path), options=options)

    @classmethod
    def from_topology(cls, topology: Topology, *, options: RunOptions | None = None) -> Cluster:
        """A cluster of a topology; boots when entered."""
        return cls(topology, options or RunOptions())

    # --- lifetime ---

    async def __aenter__(self) -> Self:
        started_ns = time.monotonic_ns()
        deadline = Deadline.after(self._options.boot_within_s)
        self._check_host()
        await self._tasks.__aenter__()
        try:
            world = self._make_world()
            self._start_background(world)
            for node in self._node_runtimes.values():
                node.start()
            await self._wait_booted(deadline)
            world.stream.emit(ClusterReady(after_s=(time.monotonic_ns() - started_ns) / 1e9))
        except BaseException as error:
            await self._leave(error)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._leave(error)

    # --- what it is ---

    @property
    def topology(self) -> Topology:
        """What it was made from."""
        return self._topology

    @property
    def seed(self) -> int:
        """The seed that decides every random choice of this run."""
        return self._seed

    @property
    def folder(self) -> Path:
        """The run's folder: command lines, consoles, events, topology, seed, versions."""
        return self._running().folder.path

    @property
    def stream(self) -> EventStream:
        """The run's one event stream."""
        return self._running().stream

    @property
    def host(self) -> HostNode:
        """Node 0: raw Mach messages to and from the guests."""
        return self._running().host

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Its nodes, in the order of the topology, without the host."""
        return tuple(self._nodes.values())

    @property
    def links(self) -> tuple[Link, ...]:
        """Its links, in the order of the topology, without management links."""
        return tuple(self._links.values())

    @property
    def routes(self) -> tuple[RouteLink, ...]:
        """Its routes: links without a cable, over nodes that forward."""
        return tuple(self._routes.values())

    def node(self, name: str) -> Node:
        """The node of that name.

        Raises:
            UsageError: there is none; names the nearest.
        """
        if name not in self._nodes:
            raise _unknown("node", name, self._nodes)
        return self._nodes[name]

    def link(self, first: str | Node, second: str | Node | None = None) -> Link:
        """The link of that name, or the one that joins two nodes; `link("a", "host")` is a's management link.

        Raises:
            UsageError: there is none.
            AmbiguousLink: several join the two; names them.
        """
        one = first if isinstance(first, str) else first.name
        if second is None:
            if one not in self._links:
                raise _unknown("link", one, self._links)
            return self._links[one]
        other = second if isinstance(second, str) else second.name
        if HOST_NAME in (one, other):
            name = other if one == HOST_NAME else one
            return self._management[self.node(name).name]
        ends = {self.node(one).name, self.node(other).name}
        found = [link for link in self._links.values() if set(link.ends) == ends]
        if not found:
            raise UsageError(
                f"no link joins {one} and {other}",
                hint=f"links: {', '.join(self._links) or 'none'}",
            )
        if len(found) > 1:
            raise AmbiguousLink(
                f"{len(found)} links join {one} and {other}",
                hint="name one of them: " + ", ".join(f'link("{link.name}")' for link in found),
            )
        return found[0]

    # --- waiting ---

    async def wait_links_up(self, *, within_s: float = 10.0) -> None:
        """Wait until both directions of every link between running nodes are up.

        Raises:
            DeadlineExpired: some are not; says which, why, and who said what last.
        """
        try:
            await self._running().watch.until(
                lambda: not self._links_missing(), Deadline.after(within_s)
            )
        except TimeoutError:
            raise self._not_up(within_s) from None

    def settle(self) -> None:
        """Take in everything that the nodes have recorded by now, as events."""
        for node in self._node_runtimes.values():
            node.look()

    def note(self, text: str) -> None:
        """Write a line of the scenario's own into the event stream, for whoever reads the run."""
        self.stream.emit(Note(text=text))

    def events(self, node: Node | None = None) -> Subscription:
        """Events from now on, to be read with `async for`; ends when the cluster does.

        Args:
            node: only events that name this node; None: all.
        """
        if node is None:
            return self.stream.subscribe()
        name = node.name
        return self.stream.subscribe(
            accepts=lambda event: any(
                getattr(event, field_name, None) == name for field_name in _NODE_FIELDS
            )
        )

    async def expect(self, kind: type[EventT], *, within_s: float, **fields: object) -> EventT:
        """Wait for an event; one since the latest fault (before the first: since the boot) counts, too.

        Args:
            kind: the event's type.
            within_s: the event must have happened at most so long after this call, and not before
                the latest fault.
            fields: values its fields must have; a Node or Link stands for its name.

        Returns:
            The first such event.

        Raises:
            ExpectationFailed: it did not happen in time; says what happened instead.
            UsageError: the event has no such field.
        """
        world = self._running()
        plain = {
            name: value.name if isinstance(value, Node | Link) else value
            for name, value in fields.items()
        }
        return await Expectation(kind, plain, world.stream).wait(world.watch, within_s)

    # --- starting ---

    def _check_host(self) -> None:
        """Find out before anything is started whether this host can run the topology."""
        sweep(self._options.runs_path)
        for arch in {node.arch for node in self._topology.nodes}:
            machine = self._options.machines[arch]
            find_binary(machine)
            self._image(machine)

    def _image(self, machine: Machine) -> Path:
        given = self._options.images.get(machine.arch)
        if given is None:
            return find_image(machine)
        check_image(given, machine)
        return given

    def _make_world(self) -> World:
        options, topology = self._options, self._topology
        folder = RunFolder.create(options.runs_path, options.name or topology.name)
        self._cleanup.callback(folder.finish)
        self._failure = asyncio.get_running_loop().create_future()
        stream = EventStream(folder.open_events(), on_failure=self._stream_failed)
        self._cleanup.callback(stream.close)
        for listener in options.listeners:
            stream.listen(listener)
        witness = _HostWitness(stream, node_names(topology))
        world = World(
            topology=topology,
            seed=self._seed,
            machines=options.machines,
            find_image=self._image,
            tell=options.tell,
            folder=folder,
            stream=stream,
            watch=Watch(),
            host=HostNode(topology.constants, HOST_INCARNATION, witness, _transits(topology)),
            loaders=Loaders(),
            program_counter=self._program_counter,
            tasks=self._tasks,
            stream_ids=itertools.count(1),
            closing=asyncio.Event(),
        )
        self._world = world
        self._cleanup.push_async_callback(world.host.close)
        folder.write_start(topology, seed=self._seed)
        stream.emit(
            RunStarted(name=options.name or topology.name, seed=self._seed, folder=str(folder.path))
        )
        for link_spec in topology.links:
            link = LinkRuntime(link_spec, world)
            self._cleanup.callback(link.close)
            self._link_runtimes[link_spec.name] = link
            self._links[link_spec.name] = GuestLink(link, world)
        for route in plan_routes(topology):
            self._add_route(route, world)
        for spec in topology.nodes:
            links = tuple(self._link_runtimes[item.name] for item in topology.links_of(spec.name))
            routes = tuple(
                item for item in self._route_runtimes.values() if spec.name in item.route.nodes
            )
            node = NodeRuntime(spec, links, routes, world)
            self._node_runtimes[spec.name] = node
            self._nodes[spec.name] = Node(node, world)
            self._management[spec.name] = ManagementLink(node, world)
        return world

    def _add_route(self, route: Route, world: World) -> None:
        def path_states(index: int) -> Iterator[DirectionState]:
            for here, there, name in zip(
                route.nodes[:-1], route.nodes[1:], route.links, strict=True
            ):
                way = f"{here}->{there}" if index == 0 else f"{there}->{here}"
                guest = there if here == HOST_NAME else here
                link: Link = (
                    self._management[guest] if name == MANAGEMENT_NAME else self._links[name]
                )
                yield link.state[way]

        first = route.links[0]
        kind = (
            LinkKind.VIRTIO_SERIAL if first == MANAGEMENT_NAME else self._links[first].kind
        )  # of the first stretch
        runtime = RouteRuntime(route, path_states, world)
        self._route_runtimes[route.name] = runtime
        self._routes[route.name] = RouteLink(runtime, kind, world)

    def _start_background(self, world: World) -> None:
        nodes = tuple(self._node_runtimes.values())
        by_id: dict[int, NodeRuntime] = {node.spec.id: node for node in nodes}
        management: dict[int, ManagementLink] = {
            node.spec.id: self._management[node.spec.name] for node in nodes
        }
        world.stream.listen(self._route)
        world.host.on_frames(lambda number: by_id[number].look())
        world.host.on_links(lambda number: management[number].look())
        world.loaders.begin(world)
        links = tuple(self._link_runtimes.values())
        assert self._failure is not None
        self._background += [
            self._tasks.create_task(
                sample(nodes, links, world.watch, world.stream), name="sampler"
            ),
            self._tasks.create_task(_raise_from(self._failure), name="guardian"),
        ]

    async def _program_counter(self, name: str) -> int | None:
        launch = self._node_runtimes[name].launch
        return None if launch is None else await (await launch.monitor()).program_counter()

    def _route(self, event: Event) -> None:
        """Give a node's word about a link to that link, and a link's to the routes over it."""
        if isinstance(event, LinkEndChanged):
            if event.link in self._link_runtimes:
                self._link_runtimes[event.link].end_changed(event)
            elif event.link in self._route_runtimes:
                self._route_runtimes[event.link].end_changed(event)
        elif isinstance(event, LinkRefused):
            if event.link in self._link_runtimes:
                self._link_runtimes[event.link].end_refused(event)
            elif event.link in self._route_runtimes:
                self._route_runtimes[event.link].end_refused(event)
        elif isinstance(event, HostRefusal):
            self._management[event.node].refused(event)
        elif isinstance(event, DirectionChanged) and event.link not in self._route_runtimes:
            for route in self._route_runtimes.values():
                route.look()

    async def _wait_booted(self, deadline: Deadline) -> None:
        """Wait until every node is ready and every link is up.

        Fails at once when a machine ends, or when two nodes will never train with each other.
        """

        def booted() -> bool:
            self._check_refusals()
            ready = [node.is_ready() for node in self._nodes.values()]
            return all(ready) and not self._links_missing()

        try:
            await self._running().watch.until(booted, deadline)
        except TimeoutError:
            raise self._not_up(deadline.within_s) from None

    def _check_refusals(self) -> None:
        links = (*self._management.values(), *self._links.values(), *self._routes.values())
        for link in links:
            refusal = link.refusal
            if refusal is not None and refusal.refusal is not Refusal.STALE:
                raise TrainingRefused(
                    f"link {link.name}: {refusal_text(refusal)}",
                    hint=f"consoles and events are in {self.folder}",
                )

    # --- ending ---

    def _stream_failed(self, error: HostError) -> None:
        if self._failure is not None and not self._failure.done():
            self._failure.set_exception(error)

    async def _leave(self, error: BaseException | None) -> None:
        """End everything, then raise what a background task failed with, if that is why we leave."""
        try:
            await self._end_machines()
        finally:
            for task in self._background:
                task.cancel()
            if self._world is not None:
                self._world.loaders.close()
            try:
                kind = None if error is None else type(error)
                await self._tasks.__aexit__(kind, error, None)
            except BaseExceptionGroup as group:
                reason = _reason(group)
                if reason is not error:
                    raise reason from error
            finally:
                await self._cleanup.aclose()

    async def _end_machines(self) -> None:
        world = self._world
        if world is None:
            return
        for node in self._node_runtimes.values():
            node.look()
        world.closing.set()
        world.stream.emit(ClusterStopping())
        for node in self._node_runtimes.values():
            node.kill()
        for node in self._node_runtimes.values():
            await node.end()
        await self._explain_panics(world)

    async def _explain_panics(self, world: World) -> None:
        """Say where kernels panicked; the machines are off, so there is time."""
        panics = [event for event in world.stream.history if isinstance(event, NodePanicked)]
        for panic in panics:
            machine = self._options.machines[world.topology.node(panic.node).arch]
            image = self._image(machine)
            servers = world.loaders.code_of(world.topology.node(panic.node).id, panic.incarnation)
            backtrace = await asyncio.to_thread(explain_panic, image, panic.text, servers)
            world.stream.emit(
                PanicExplained(node=panic.node, incarnation=panic.incarnation, backtrace=backtrace)
            )

    # --- reasons ---

    def _running(self) -> World:
        if self._world is None:
            raise UsageError("the cluster is not running", hint="use it inside `async with`")
        return self._world

    def _links_missing(self) -> list[Link]:
        """Links and routes that should be up and are not: those between running nodes."""
        cables: list[Link] = [
            link
            for link in self._links.values()
            if not link.is_raw and self._are_running(link.ends) and not link.is_up
        ]
        return cables + [
            route
            for route in self._routes.values()
            if self._are_running(route.path) and not route.is_up
        ]

    def _are_running(self, names: Iterable[str]) -> bool:
        return all(
            name == HOST_NAME or self._node_runtimes[name].launch is not None for name in names
        )

    def _not_up(self, within_s: float) -> DeadlineExpired:
        unready = [node for node in self._nodes.values() if not self._is_ready(node)]
        missing: list[Link] = [
            *(self._management[node.name] for node in unready),
            *self._links_missing(),
        ]
        concerned = {name for link in missing for name in link.ends if name != HOST_NAME}
        what = [f"node {node.name} is {node.state.value}" for node in unready]
        what += [f"link {link.name} is not up" for link in missing if not link.is_management]
        return DeadlineExpired(
            f"the cluster is not up after {within_s:g} s: " + ", ".join(what),
            hint=f"consoles and events are in {self.folder}",
            details=(
                *(line for link in missing for line in link.explain()),
                *(line for name in sorted(concerned) for line in self._nodes[name].explain()),
            ),
        )

    def _is_ready(self, node: Node) -> bool:
        return self._node_runtimes[node.name].launch is not None and node.is_ready()


def _transits(topology: Topology) -> tuple[Transit, ...]:
    """The routes that node 0 passes on; it knows its links by the guest's id."""
    transits: list[Transit] = []
    for route in plan_routes(topology):
        if HOST_NAME in route.nodes:
            ends = topology.node(route.ends[0]).id, topology.node(route.ends[1]).id
            transits.append(Transit(route=route.number, ends=ends, links=ends))
    return tuple(transits)


async def _raise_from(failure: asyncio.Future[None]) -> None:
    """Fail when the future does, and with it the run."""
    await failure


def _reason(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error to show of those that ended the run: ours if there is one."""
    flat: list[BaseException] = []
    waiting: list[BaseException] = [group]
    while waiting:
        error = waiting.pop(0)
        if isinstance(error, BaseExceptionGroup):
            waiting += error.exceptions
        else:
            flat.append(error)
    ours = [error for error in flat if isinstance(error, MnlabError)]
    return ours[0] if ours else (flat[0] if len(flat) == 1 else group)


def _unknown(what: str, name: str, known: Iterable[str]) -> UsageError:
    choices = list(known)
    near = difflib.get_close_matches(name, choices, n=1)
    guess = f"; did you mean '{near[0]}'?" if near else ""
    return UsageError(
        f"no {what} is called '{name}'{guess}", hint=f"{what}s: {', '.join(choices) or 'none'}"
    )
