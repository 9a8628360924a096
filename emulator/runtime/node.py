# SPDX-License-Identifier: MIT
"""A node of a running cluster: what a script holds to crash it, to restart it and to ask its kernel."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from emulator.errors import (
    DeadlineExpired,
    GuestError,
    LaunchError,
    NodeDied,
    StateError,
    UsageError,
)
from emulator.events.types import FaultKind, FaultReceipt, NodeHung, NodeResumed, PingAnswered
from emulator.loader.api import Loader
from emulator.model import Arch, Incarnation, NodeId, NodeState, exit_text, incarnation_text
from emulator.protocol.link_types import LinkStatistics
from emulator.protocol.names import kernel_port
from emulator.protocol.services import (
    HostilePart,
    NodeStatistics,
    PingReply,
    PingRequest,
    Service,
    hostile_request,
    parse_link_statistics,
    statistics_request,
    take_status,
)
from emulator.runtime.deadline import Deadline
from emulator.runtime.launch import CONSOLE_LOG, Launch
from emulator.runtime.link import Link
from emulator.runtime.node_runtime import MANAGEMENT_LINK, NodeRuntime
from emulator.runtime.traffic import (
    CHECK_CONTENT,
    CHECK_HEADER,
    WINDOW_MAXIMUM,
    Stream,
    StreamRequest,
    open_stream,
)
from emulator.runtime.world import World

PING_BYTES: Final = 64
TRAFFIC_BYTES_MINIMUM: Final = 48
TRAFFIC_BYTES_MAXIMUM: Final = 65536
TRAFFIC_RIGHTS_MAXIMUM: Final = 4
_NS_PER_S: Final = 1_000_000_000
_START_WITHIN_S: Final = 5.0
NO_LIFE: Final = Incarnation(0)
EVERY_PART: Final = (
    HostilePart.RECORDS | HostilePart.PRODUCER | HostilePart.CONSUMER | HostilePart.PEER
)


class Node:
    """One node of a running cluster. Made by `Cluster`; get it with `cluster.node(...)`."""

    def __init__(self, runtime: NodeRuntime, world: World) -> None:
        self._runtime = runtime
        self._world = world

    # --- what it is ---

    @property
    def name(self) -> str:
        """The node's name in the topology."""
        return self._runtime.spec.name

    @property
    def id(self) -> NodeId:
        """The node's number."""
        return self._runtime.spec.id

    @property
    def arch(self) -> Arch:
        """The architecture it runs on."""
        return self._runtime.spec.arch

    @property
    def state(self) -> NodeState:
        """Where it is in its life, as the host knows it."""
        return self._runtime.state

    @property
    def incarnation(self) -> Incarnation:
        """Its current life, or the last one when it is off; 0 before the first."""
        return self._runtime.incarnation

    @property
    def launch(self) -> int:
        """How often its machine was started."""
        return self._runtime.launches

    @property
    def pid(self) -> int | None:
        """The process id of its machine, None when it is off."""
        launch = self._runtime.launch
        return None if launch is None else launch.process.pid

    @property
    def console_path(self) -> Path:
        """The log of its serial console, of its current or last launch."""
        folder = self._world.folder.launch_folder(self.name, max(1, self.launch))
        return folder / CONSOLE_LOG

    @property
    def console_pty(self) -> str | None:
        """The terminal its serial console can be attached at, None when it is off."""
        launch = self._runtime.launch
        return None if launch is None else launch.pty

    @property
    def loader(self) -> Loader:
        """Its kernel-server loader: loads, unloads, replaces and logs servers while it runs.

        Raises:
            LoaderError: NODE_UNREACHABLE: its image cannot load servers.
        """
        return self._world.loaders.client(self._runtime.spec)

    def server_object(self, name: str) -> Path:
        """The object of a built kernel server, for this node's architecture.

        Raises:
            UsageError: there is none of that name.
        """
        return self._world.loaders.find_object(self._world, self._runtime.spec, name)

    def console_tail(self, lines: int = 20) -> tuple[str, ...]:
        """The last lines of its serial console."""
        return self._runtime.console_tail(lines)

    def __repr__(self) -> str:
        life = incarnation_text(self.incarnation)
        return f"<node {self.name}: {self.arch.value}, {self.state.value}, life {life}>"

    # --- what is done to it ---

    async def crash(self) -> None:
        """Cut its power: SIGKILL to its machine. Returns when the process is gone and all survivors were told.

        Raises:
            StateError: it is off already.
        """
        launch = self._running("crash")
        requested_ns, life = time.monotonic_ns(), self.incarnation
        self._runtime.kill()
        await launch.process.end()
        self._receipt(FaultKind.CRASH, requested_ns, life or self.incarnation)

    async def restart(self, *, within_s: float = 10.0) -> None:
        """Start its machine again, as a new incarnation, and wait until it is ready.

        Raises:
            StateError: it still runs.
            DeadlineExpired: it is not ready after `within_s` seconds.
            LaunchError: QEMU did not start.
        """
        if self._runtime.launch is not None:
            raise StateError(f"node {self.name} still runs", hint="crash it first, or reset it")
        requested_ns = time.monotonic_ns()
        self._runtime.start()
        self._receipt(FaultKind.RESTART, requested_ns, NO_LIFE)
        await self.wait_ready(within_s=within_s)

    async def hang(self) -> None:
        """Stop its CPU, memory and devices untouched.

        Raises:
            StateError: it is off or hung.
        """
        launch = self._running("hang")
        requested_ns = time.monotonic_ns()
        await (await launch.monitor()).stop()
        self._runtime.look()
        self._runtime.stopped()
        self._world.stream.emit(NodeHung(node=self.name, incarnation=self.incarnation))
        self._receipt(FaultKind.HANG, requested_ns, self.incarnation)

    async def resume(self) -> None:
        """Let a hung node run on.

        Raises:
            StateError: it is not hung.
        """
        launch = self._runtime.launch
        if launch is None or self.state is not NodeState.HUNG:
            raise StateError(f"node {self.name} is not hung", hint=f"it is {self.state.value}")
        requested_ns = time.monotonic_ns()
        await (await launch.monitor()).cont()
        self._runtime.continued()
        self._world.stream.emit(NodeResumed(node=self.name, incarnation=self.incarnation))
        self._receipt(FaultKind.RESUME, requested_ns, self.incarnation)

    async def reset(self, *, within_s: float = 10.0) -> None:
        """Press its reset button and wait until it is ready as a new incarnation; its memory survives.

        Raises:
            StateError: it is off or hung.
            DeadlineExpired: it is not ready after `within_s` seconds.
        """
        launch = self._running("reset")
        requested_ns, life = time.monotonic_ns(), self.incarnation
        monitor = await launch.monitor()
        resets = launch.resets
        await monitor.system_reset()
        await self._settle(lambda: launch.resets > resets, "was not reset", within_s)
        self._receipt(FaultKind.RESET, requested_ns, life)
        await self._wait_ready(within_s, newer_than=life)

    async def panic(self, *, within_s: float = 5.0) -> None:
        """Ask its kernel to panic, and wait until its machine has ended.

        Raises:
            StateError: it is off or hung.
            DeadlineExpired: it still runs after `within_s` seconds.
        """
        launch = self._running("panic")
        deadline = Deadline.after(within_s)
        launch.end_was_requested = True
        self._receipt(FaultKind.PANIC, time.monotonic_ns(), self.incarnation)
        with contextlib.suppress(NodeDied):  # that is how it answers
            await self._world.host.send(kernel_port(self.id), Service.PANIC, b"", deadline)
        await self.wait_exited(within_s=deadline.remaining_s)

    def provoke(self, fault: FaultKind) -> None:
        """Say that what was done to this node by other means, a driver that is told to fail, is to
        end in a fault: the run fails if it does not, and does not fail because it did.

        Args:
            fault: CRASH, PANIC, HANG or RESET of its present life.
        """
        self._receipt(fault, time.monotonic_ns(), self.incarnation)

    # --- waiting for it ---

    async def write_garbage(
        self,
        link: Link,
        *,
        parts: HostilePart = EVERY_PART,
        seconds: float = 0.2,
        interval_s: float = 0.002,
        seed: int = 1,
    ) -> int:
        """Have its server `hostile` write garbage into a shared-memory cable of it, until it is over.

        Args:
            link: the cable's link.
            parts: where to write.
            seconds: for how long, at most 60.
            interval_s: between two writes.
            seed: decides what.

        Returns:
            How many words were written.

        Raises:
            StateError: the node is off or hung.
            GuestError: it has no such server, the link no shared memory, or it did not answer.
        """
        self._running("use")
        requested_ns, life = time.monotonic_ns(), self.incarnation
        request = hostile_request(
            self._index_of(link),
            parts,
            seed=seed,
            duration_ns=round(seconds * _NS_PER_S),
            interval_ns=round(interval_s * _NS_PER_S),
        )
        port = await self.port("hostile")
        reply = await self.call(
            Service.HOSTILE_GARBAGE, request, port=port, within_s=seconds + _START_WITHIN_S
        )
        words = int.from_bytes(take_status(reply), "little")
        self._receipt(FaultKind.GARBAGE, requested_ns, life, detail=link.name)
        return words

    async def wait_ready(self, *, within_s: float = 10.0) -> None:
        """Wait until its kernel is ready and its management link is up.

        Raises:
            DeadlineExpired: it is not; says what it said last.
            LaunchError: its machine ended before its kernel started.
            NodeDied: its machine ended.
        """
        await self._wait_ready(within_s, newer_than=NO_LIFE)

    def is_ready(self, *, newer_than: Incarnation = NO_LIFE) -> bool:
        """Whether its kernel is ready, its management link is up and its servers are loaded.

        Args:
            newer_than: only a newer life counts.

        Raises:
            LaunchError: its machine ended before its kernel started.
            NodeDied: its machine ended.
            LoaderError: one of its servers could not be loaded.
        """
        if self._runtime.launch is None:
            raise self._ended()
        return (
            self.state is NodeState.READY
            and self.incarnation > newer_than
            and self._world.host.is_up(self.id)
            and self._world.loaders.is_up(self.id, self.incarnation)
        )

    async def wait_exited(self, *, within_s: float = 10.0) -> int:
        """Wait until its machine has ended.

        Returns:
            Its exit status, negative for a signal.

        Raises:
            DeadlineExpired: it still runs.
        """
        await self._settle(lambda: self._runtime.launch is None, "still runs", within_s)
        return self._runtime.exit_status or 0

    async def executing(self) -> str:
        """Which kernel server's code its CPU is in just now; empty: none's.

        Raises:
            StateError: it is off.
        """
        launch = self._running("look at")
        address = await (await launch.monitor()).program_counter()
        return "" if address is None else self._world.loaders.server_at(self.id, address)

    def explain(self) -> tuple[str, ...]:
        """How far it came: its state, its management link, and what it said last."""
        return self._runtime.explain()

    # --- asking its kernel ---

    async def ping(
        self, to: Node, *, size_bytes: int = PING_BYTES, count: int = 1, within_s: float = 1.0
    ) -> float:
        """Measure FLIPC round trips from this node's kernel to another's.

        Args:
            to: the node that answers.
            size_bytes: inline body bytes.
            count: how many, one after another.
            within_s: bound for all of them.

        Returns:
            The shortest of them in seconds, by this node's clock.

        Raises:
            DeadlineExpired: not all were answered.
            NodeDied: this node's machine ended meanwhile.
        """
        deadline = Deadline.after(within_s)
        reply = await self.measure_round_trips(
            to, size_bytes=size_bytes, count=count, within_s=within_s
        )
        if reply.answered < count:
            raise DeadlineExpired(
                f"{self.name} had {reply.answered} of {count} answers of {to.name} within "
                f"{deadline.within_s:g} s",
                hint="see the state of the links between them",
                details=(*self.explain(), *to.explain()),
            )
        round_trip_s = reply.min_ns / _NS_PER_S
        self._world.stream.emit(PingAnswered(node=self.name, to=to.name, round_trip_s=round_trip_s))
        return round_trip_s

    async def measure_round_trips(
        self, to: Node, *, size_bytes: int, count: int, within_s: float
    ) -> PingReply:
        """As `ping`, but returns what this node measured: how many came back, the least, the most, the sum.

        Raises:
            GuestError: this node did not answer the host.
        """
        request = PingRequest(
            node_id=to.id,
            count=count,
            size_bytes=size_bytes,
            timeout_ns=round(within_s * _NS_PER_S),
        )
        margin = Deadline.after(within_s + 1.0)  # for the host's own request and answer
        reply = await self._call(Service.PING, request.serialize(), margin)
        return PingReply.parse(reply)

    async def traffic(
        self,
        *,
        to: Node,
        size_bytes: int = 64,
        rate_hz: float | None = None,
        window: int | None = None,
        count: int | None = None,
        check_content: bool = True,
        rights: int = 0,
    ) -> Stream:
        """Start a stream of checked messages to another node's kernel.

        Args:
            to: the sink.
            size_bytes: body size, 48 .. 65536.
            rate_hz: messages a second; None: as fast as it goes.
            window: messages in flight, 1 .. 64; None: the cluster's window.
            count: end after that many; None: until stopped.
            check_content: whether the sink looks at every byte, or at headers only.
            rights: send rights that each message brings, 0 .. 4; always to the same ports.

        Returns:
            The running stream.

        Raises:
            UsageError: a number is out of its range.
            GuestError: a node has no traffic server, or does not answer.
        """
        largest = min(WINDOW_MAXIMUM, self._world.topology.constants.window)
        for what, value, low, high in (
            ("size_bytes", size_bytes, TRAFFIC_BYTES_MINIMUM, TRAFFIC_BYTES_MAXIMUM),
            ("window", window or largest, 1, largest),
            ("rights", rights, 0, TRAFFIC_RIGHTS_MAXIMUM),
        ):
            if not low <= value <= high:
                raise UsageError(
                    f"traffic: {what} is {value}", hint=f"{what} must be {low} to {high}"
                )
        if rate_hz is not None and rate_hz <= 0:
            raise UsageError(f"traffic: rate_hz is {rate_hz:g}", hint="rate_hz must be above 0")
        request = StreamRequest(
            size_bytes=size_bytes,
            interval_ns=0 if rate_hz is None else round(_NS_PER_S / rate_hz),
            window=window or largest,
            count=count or 0,
            check=CHECK_CONTENT if check_content else CHECK_HEADER,
            rights=rights,
        )
        deadline = Deadline.after(_START_WITHIN_S)
        return await open_stream(self._runtime, to._runtime, request, self._world, deadline)

    async def port(self, server: str | None = None, *, within_s: float = 1.0) -> int:
        """Name of a port of this node, for raw Mach messages through `cluster.host`.

        Args:
            server: a kernel server's name; None: the kernel's own port.
            within_s: bound for asking the node.

        Raises:
            GuestError: no such server, or no answer.
        """
        if server is None:
            return kernel_port(self.id)
        return await self._world.host.lookup(self.id, server, Deadline.after(within_s))

    async def call(
        self, message_id: int, body: bytes = b"", *, port: int | None = None, within_s: float = 1.0
    ) -> bytes:
        """Send a request to a port of this node and wait for its reply.

        Args:
            message_id: of the request.
            body: of the request.
            port: whom to ask; None: the kernel.
            within_s: bound for the reply.

        Returns:
            The reply's body.

        Raises:
            GuestError: no answer, or refused.
        """
        target = kernel_port(self.id) if port is None else port
        return await self._world.host.call(
            self.id, target, message_id, body, Deadline.after(within_s)
        )

    async def statistics(self, *, within_s: float = 1.0) -> NodeStatistics:
        """What this node's kernel counts.

        Raises:
            GuestError: no answer.
        """
        body = statistics_request(0, 0)
        reply = await self._call(Service.STATISTICS, body, Deadline.after(within_s))
        return NodeStatistics.parse(reply)

    async def link_statistics(
        self, link: Link | str = MANAGEMENT_LINK, *, within_s: float = 1.0
    ) -> LinkStatistics:
        """What this node's link manager counts for one of its links.

        Args:
            link: the link, or its name; default: the management link.
            within_s: bound for asking the node.

        Raises:
            UsageError: the node has no such link.
            GuestError: no answer.
        """
        body = statistics_request(1, self._index_of(link))
        reply = await self._call(Service.STATISTICS, body, Deadline.after(within_s))
        return parse_link_statistics(reply)

    # --- inside ---

    def _index_of(self, link: Link | str) -> int:
        name = link if isinstance(link, str) else link.name
        names = self._runtime.link_names
        if name not in names:
            raise UsageError(
                f"node {self.name} has no link '{name}'", hint=f"links: {', '.join(names)}"
            )
        return names.index(name)

    async def _call(self, service: Service, body: bytes, deadline: Deadline) -> bytes:
        self._running(f"ask for {service.name}")
        return await self._world.host.call(self.id, kernel_port(self.id), service, body, deadline)

    def _running(self, verb: str) -> Launch:
        """The launch, if the node is in a state in which `verb` makes sense."""
        launch = self._runtime.launch
        if launch is None:
            raise StateError(f"cannot {verb} node {self.name}: it is off", hint="restart it first")
        if self.state is NodeState.HUNG and verb != "crash":
            raise StateError(f"cannot {verb} node {self.name}: it is hung", hint="resume it first")
        return launch

    def _receipt(
        self, fault: FaultKind, requested_ns: int, life: Incarnation, *, detail: str = ""
    ) -> None:
        self._world.stream.emit(
            FaultReceipt(
                fault=fault,
                target=self.name,
                requested_ns=requested_ns,
                incarnation=life,
                detail=detail,
            )
        )

    async def _wait_ready(self, within_s: float, *, newer_than: Incarnation) -> None:
        await self._settle(lambda: self.is_ready(newer_than=newer_than), "is not ready", within_s)

    async def _settle(self, condition: Callable[[], bool], failing: str, within_s: float) -> None:
        """Wait for a condition; if it does not come, say how the node is `failing`."""
        try:
            await self._world.watch.until(condition, Deadline.after(within_s))
        except TimeoutError:
            raise DeadlineExpired(
                f"node {self.name} {failing} after {within_s:g} s",
                hint=f"see its console: {self.console_path}",
                details=self.explain(),
            ) from None

    def _ended(self) -> GuestError | LaunchError:
        ended = self._runtime.end_before_kernel()
        if ended is not None:
            return ended
        return NodeDied(
            f"node {self.name}: its machine {exit_text(self._runtime.exit_status or 0)}",
            hint=f"see its console: {self.console_path}",
            details=self.explain(),
        )
