# SPDX-License-Identifier: MIT
"""A node's machinery: its launches and lives, and what follows when one of them ends. `Node` is its public face.

What ends a life, and what the host does about it at once, in this order: the cables of the node are
cut, all survivors are told, then the black box is read and events are written. A life ends when its
process ends (`machine_exited`) or its machine is reset (`machine_reset`).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from emulator.errors import LaunchError, StateError
from emulator.events.types import (
    DeathAnnounced,
    NodeExited,
    NodeIncarnation,
    NodePanicked,
    NodeReady,
    NodeReset,
    NodeStarted,
    StreamAccount,
)
from emulator.machines.blackbox import BoxState
from emulator.machines.boot_page import BootArguments, BootLink, BootRoute
from emulator.model import (
    HOST_ID,
    Incarnation,
    LinkKind,
    NodeSpec,
    NodeState,
    boot_count_of,
    exit_text,
    launch_of,
)
from emulator.model.routes import MANAGEMENT_NAME
from emulator.protocol.constants import Direction
from emulator.protocol.route import Transit
from emulator.qemu.command import LinkDevice
from emulator.runtime.box_events import BoxContext
from emulator.runtime.launch import Launch, LaunchPlan
from emulator.runtime.life import LifeReader
from emulator.runtime.link_runtime import LinkRuntime
from emulator.runtime.loaders import has_exports
from emulator.runtime.route_runtime import RouteRuntime
from emulator.runtime.world import World, node_names

MANAGEMENT_LINK: Final = "host"
_EXPLAIN_LINES: Final = 3


class NodeRuntime:
    """One guest node.

    Args:
        spec: the node as the topology describes it.
        links: its links, in the order of the topology.
        routes: the routes that end at it or go through it.
        world: what it shares with the rest.
    """

    def __init__(
        self,
        spec: NodeSpec,
        links: tuple[LinkRuntime, ...],
        routes: tuple[RouteRuntime, ...],
        world: World,
    ) -> None:
        self.spec = spec
        self.state = NodeState.OFF
        self.incarnation = Incarnation(0)
        self.launches = 0
        self.launch: Launch | None = None
        self.exit_status: int | None = None
        self.accounts_of_the_dead: list[StreamAccount] = []
        self.management_cut = [False, False]  # what it sends to the host, what the host sends
        self._state_before_hang = NodeState.BOOTING
        self._links = links
        self._routes = routes
        self._world = world
        self._over = Incarnation(0)  # the newest life that has ended
        self._life: LifeReader | None = None
        self._post_mortem: Launch | None = None
        self._monitor_task: asyncio.Task[None] | None = None
        self._context = BoxContext(
            node=spec.name,
            link_names=(
                MANAGEMENT_LINK,
                *(link.spec.name for link in links),
                *(item.route.name for item in routes if spec.name in item.route.ends),
            ),
            node_names=node_names(world.topology),
        )

    @property
    def link_names(self) -> tuple[str, ...]:
        """Names of its links by index in its boot page; the first is the management link."""
        return self._context.link_names

    # --- power ---

    def start(self) -> None:
        """Power the machine up, as a new launch.

        Raises:
            StateError: it runs.
            LaunchError: QEMU is missing or cannot be run.
            HostError: no memory, descriptors or space for it.
        """
        if self.launch is not None:
            raise StateError(f"node {self.spec.name} runs already", hint="crash it first")
        self.launches += 1
        management, theirs = socket.socketpair()
        with contextlib.ExitStack() as undo, contextlib.ExitStack() as handed_over:
            undo.callback(management.close)
            sockets = [handed_over.enter_context(theirs)]
            for link in self._links:
                end = link.end_of(self.spec.name)
                undo.callback(link.cable.unplug, end)
                sockets.append(handed_over.enter_context(link.cable.plug(end)))
            launch = Launch.start(self._plan(sockets), self._world.folder, self)
            undo.pop_all()
        self._power_is_on(launch, management)

    def kill(self) -> None:
        """Cut the power; `machine_exited` follows when the process is gone."""
        if self.launch is not None:
            self.launch.end_was_requested = True
            self.launch.process.kill()

    async def end(self) -> None:
        """Kill the machine, wait until it is gone, and give all memory back."""
        launch = self.launch
        if launch is not None:
            launch.end_was_requested = True
            await launch.process.end()
        if self._post_mortem is not None:
            self._post_mortem.close()
            self._post_mortem = None

    def apply_management_cut(self, index: int) -> None:
        """Make node 0's end follow `management_cut`; no effect while the node is off."""
        if self.launch is not None:
            # As node 0 sees it: it receives what the node sends.
            direction = Direction.RX if index == 0 else Direction.TX
            self._world.host.set_carrier(self.spec.id, direction, up=not self.management_cut[index])

    # --- what the machine does ---

    def machine_exited(self, launch: Launch, status: int) -> None:
        """The process is gone: cut, tell, then read what it left."""
        if launch is not self.launch or self._life is None:
            return
        self.launch = None
        self.exit_status = status
        if self._monitor_task is not None:
            self._monitor_task.cancel()
        for link in self._links:
            link.cable.unplug(link.end_of(self.spec.name))
        self._world.host.detach(self.spec.id)
        self._follow_life()
        self._end_life()
        self.state = NodeState.OFF
        self._world.stream.emit(
            NodeExited(
                node=self.spec.name,
                incarnation=self.incarnation if self._has_begun(launch) else 0,
                status=status,
                requested=launch.end_was_requested,
            )
        )
        self._life = None
        if self._post_mortem is not None:
            self._post_mortem.close()
        self._post_mortem = launch
        self._world.watch.changed()

    def machine_reset(self, launch: Launch) -> None:
        """The machine was reset: its life is over, unless the next one has shown itself already."""
        if launch is not self.launch or self._life is None:
            return
        launch.resets += 1
        if self._has_begun(launch) and boot_count_of(self.incarnation) <= launch.resets:
            self._end_life()
        for link in self._links:
            link.cable.restarted(link.end_of(self.spec.name))
        self._world.watch.changed()

    # --- looking at it ---

    def look(self) -> None:
        """Read what is new in the black box, and follow it."""
        life = self._life
        if life is None:
            return
        self._follow_life()
        life.measured(self._world.host.clock(self.spec.id))
        if life.emit_new():
            self._world.watch.changed()
        state = life.state()
        if state is BoxState.READY and self.state is NodeState.BOOTING and self._is_alive:
            self.state = NodeState.READY
            self._world.stream.emit(NodeReady(node=self.spec.name, incarnation=self.incarnation))
            self._world.watch.changed()
        self._follow_panic(state)

    def lives(self, life: int) -> bool:
        """Whether that incarnation is the present one and its machine runs."""
        return self.launch is not None and self._is_alive and self.incarnation == life

    def accounts(self) -> list[StreamAccount]:
        """The stream accounts of the present life, as they are now."""
        return [] if self._life is None else self._life.accounts(final=False)

    def stopped(self) -> None:
        """The CPU was stopped by us."""
        self._state_before_hang = self.state
        self.state = NodeState.HUNG
        self._world.watch.changed()

    def continued(self) -> None:
        """The CPU runs again."""
        self.state = self._state_before_hang
        if self._life is not None:
            self._life.stood_still()
        self._world.watch.changed()

    def console_tail(self, lines: int) -> tuple[str, ...]:
        """The last lines of the console of the current or last launch."""
        launch = self.launch or self._post_mortem
        return () if launch is None else launch.console.tail(lines)

    def explain(self) -> tuple[str, ...]:
        """How far it came: its state, its management link, and what it said last."""
        name = self.spec.name
        if self.launch is None:
            state = f"off, exit status {self.exit_status}" if self.launches else "never started"
            link = ""
        else:
            said = BoxState.EMPTY if self._life is None else self._life.state()
            heard, hears = self._world.host.directions_up(self.spec.id)
            state = f"{self.state.value}, its black box says {said.name.lower()}"
            link = f"; management link: host hears it: {heard}, it hears the host: {hears}"
        last = self.console_tail(_EXPLAIN_LINES) or ("(nothing)",)
        return (
            f"node {name} ({self.spec.arch.value}): {state}{link}; console says:",
            *(f"  {name}| {line}" for line in last),
        )

    def end_before_kernel(self) -> LaunchError | None:
        """If the last launch ended before any life began: why; else None."""
        launch = self._post_mortem
        if self.launch is not None or launch is None or self._has_begun(launch):
            return None
        return launch.process.launch_error(
            f"node {self.spec.name}: {launch.process.program} "
            f"{exit_text(launch.process.status or 0)} before its kernel started",
            hint=f"see {launch.process.error_log}",
        )

    @property
    def _is_alive(self) -> bool:
        return self.incarnation > self._over

    def _has_begun(self, launch: Launch) -> bool:
        """Whether a life of this launch was seen."""
        return launch_of(self.incarnation) == launch.number

    def _follow_life(self) -> None:
        """A new life shows itself by its boot count, perhaps before the monitor told of the reset."""
        assert self._life is not None
        present = self._life.boot_incarnation()
        if present <= self.incarnation:
            return
        self._end_life()
        self.incarnation = present
        self._life.follow(present)
        self._world.stream.emit(NodeIncarnation(node=self.spec.name, incarnation=present))

    def _end_life(self) -> None:
        """The present life is over: tell all survivors first, then settle its accounts."""
        if not self._is_alive:
            return
        self._over = over = self.incarnation
        if not self._world.closing.is_set():
            self._announce_death(over)
        for link in self._links:
            link.life_over(self.spec.name)
        for route in self._routes:
            route.life_over(self.spec.name)
        if self._life is not None:
            self._life.emit_new()
            self._follow_panic(self._life.state())
            for account in self._life.accounts(final=True):
                self.accounts_of_the_dead.append(self._world.stream.emit(account))
        if self.launch is not None:
            self.state = NodeState.BOOTING
            self._world.stream.emit(NodeReset(node=self.spec.name, incarnation=over))

    def _announce_death(self, over: Incarnation) -> None:
        told = self._world.host.announce_death(self.spec.id, over)
        told_ns = time.monotonic_ns()
        self._world.stream.emit(
            DeathAnnounced(
                of=self.spec.name,
                incarnation=over,
                told=tuple(self._context.node_name(number) for number in told),
                time_monotonic_ns=told_ns,
            )
        )

    def _follow_panic(self, state: BoxState) -> None:
        if state is not BoxState.PANICKED or self.state is NodeState.PANICKED:
            return
        assert self._life is not None
        self.state = NodeState.PANICKED
        self._world.stream.emit(
            NodePanicked(
                node=self.spec.name,
                incarnation=self.incarnation,
                text=self._life.panic_text(),
            )
        )
        self._world.watch.changed()

    # --- starting it ---

    def _power_is_on(self, launch: Launch, management: socket.socket) -> None:
        self.launch = launch
        self.exit_status = None
        self.state = NodeState.BOOTING
        self._life = LifeReader(launch.ram, self._context, self._world.stream)
        self._world.host.attach(self.spec.id, management)
        for index, is_cut in enumerate(self.management_cut):
            if is_cut:
                self.apply_management_cut(index)
        self._monitor_task = self._world.tasks.create_task(
            launch.serve(), name=f"monitor of {self.spec.name}"
        )
        self._world.stream.emit(
            NodeStarted(node=self.spec.name, launch=launch.number, pid=launch.process.pid)
        )
        self._world.watch.changed()

    def _plan(self, sockets: list[socket.socket]) -> LaunchPlan:
        machine = self._world.machines[self.spec.arch]
        kinds = [LinkKind.VIRTIO_SERIAL, *(link.spec.kind for link in self._links)]
        devices = tuple(
            LinkDevice(
                index=index, kind=kind, slot=machine.pci_slots[index], descriptor=sock.fileno()
            )
            for index, (kind, sock) in enumerate(zip(kinds, sockets, strict=True))
        )
        return LaunchPlan(
            machine=machine,
            image=self._world.find_image(machine),
            ram_bytes=self.spec.memory_bytes,
            arguments=self._world.tell(self._arguments(devices)),
            devices=devices,
        )

    def _arguments(self, devices: tuple[LinkDevice, ...]) -> BootArguments:
        topology = self._world.topology
        return BootArguments(
            node_id=self.spec.id,
            node_name=self.spec.name,
            launch=self.launches,
            seed=self._world.derive_seed("node", self.spec.name, self.launches),
            constants=topology.constants,
            idle=topology.idle,
            poll_ns=topology.poll_ns,
            trace=topology.trace,
            servers=() if has_exports(self._world, self.spec) else self.spec.servers,
            links=tuple(self._boot_link(device) for device in devices),
            routes=tuple(self._boot_routes()),
            transits=tuple(self._transits()),
        )

    def _link_index(self, name: str) -> int:
        """Index in the boot page of a link of a route's path."""
        return [MANAGEMENT_NAME, *(link.spec.name for link in self._links)].index(name)

    def _boot_routes(self) -> Iterator[BootRoute]:
        for item in self._routes:
            route, name = item.route, self.spec.name
            if name in route.ends:
                peer = route.ends[1 - route.ends.index(name)]
                yield BootRoute(
                    name=route.name,
                    peer=self._world.topology.node(peer).id,
                    via=self._link_index(route.link_towards(name, peer)),
                    route=route.number,
                )

    def _transits(self) -> Iterator[Transit]:
        for item in self._routes:
            route, name = item.route, self.spec.name
            if name not in route.ends:
                first, second = route.ends
                node = self._world.topology.node
                yield Transit(
                    route=route.number,
                    ends=(node(first).id, node(second).id),
                    links=(
                        self._link_index(route.link_towards(name, first)),
                        self._link_index(route.link_towards(name, second)),
                    ),
                )

    def _boot_link(self, device: LinkDevice) -> BootLink:
        stream = device.kind is LinkKind.VIRTIO_SERIAL
        if device.index == 0:
            return BootLink(
                name=MANAGEMENT_LINK,
                kind=device.kind,
                slot=device.slot,
                peer=HOST_ID,
                payload_crc=True,
                replay=True,
            )
        spec = self._links[device.index - 1].spec
        other = spec.ends[1 - spec.ends.index(self.spec.name)]
        return BootLink(
            name=spec.name,
            kind=device.kind,
            slot=device.slot,
            peer=self._world.topology.node(other).id,
            payload_crc=stream or spec.payload_crc,
            replay=stream,
            raw=spec.raw,
            driver=Path(spec.driver).stem,
        )
