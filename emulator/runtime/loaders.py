# SPDX-License-Identifier: MIT
"""The kernel-server loaders of a run: one for each node, through all of its lives.

When a life's management link comes up its loader attaches and brings up what the node's
`kern_loader.conf` says: drivers of its links, then the servers of the topology. When the life ends
the loader forgets everything. Nodes whose image exports nothing have all servers linked in, and no
loader.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from emulator.errors import GuestError, MnlabError, UsageError
from emulator.events.types import LoaderLine, NodeHung
from emulator.loader.api import Loader
from emulator.loader.channel import LocalChannel
from emulator.loader.codes import Code, LoaderError
from emulator.loader.conf import CONF_NAME, ServerConfig, format_conf, read_conf
from emulator.loader.daemon import LoaderSetup, NodeLoader
from emulator.loader.files import ObjectFiles, find_object
from emulator.loader.half import KernelHalf
from emulator.loader.kernel import KernelImage
from emulator.loader.node_messages import ServerMessage, servers_port
from emulator.loader.object import OBJECT_SUFFIX, LinkedServer
from emulator.loader.service import LoaderService
from emulator.loader.socket_channel import SOCKET_NAME, LoaderSocket
from emulator.loader.status import Priority, StatusLines
from emulator.machines.symbols import ServerCode
from emulator.model import DeathCause, LinkKind, NodeSpec
from emulator.protocol.node import NodeDeath
from emulator.protocol.services import REPLY_OFFSET
from emulator.runtime.deadline import Deadline
from emulator.runtime.host_node import HostMessage, HostNode, ListenPort
from emulator.runtime.loader_service import GuestDoor
from emulator.runtime.world import World

__all__ = ["Loaders"]

SERVERS_FOLDER: Final = "servers"  # beside an image
NODE_SERVER: Final = "node"
"""The node server, which every node has; a topology may name another build of it, by its path."""
_DRIVERS: Final = {LinkKind.IVSHMEM: "phy_ivshmem", LinkKind.VIRTIO_SERIAL: "phy_virtio_serial"}


class _Calls:
    """Messages to one node's kernel half; implements `NodeCalls`."""

    def __init__(self, host: HostNode, node_id: int) -> None:
        self._host = host
        self._node_id = node_id
        self._port: ListenPort | None = None
        self._attached: asyncio.Future[bytes] | None = None
        self.loader: NodeLoader | None = None

    async def call(self, port: int | None, message_id: int, body: bytes, within_s: float) -> bytes:
        """As `NodeCalls.call`."""
        target = servers_port(self._node_id) if port is None else port
        deadline = Deadline.after(within_s)
        return await self._host.call(self._node_id, target, message_id, body, deadline)

    async def attach(self, within_s: float) -> bytes:
        """As `NodeCalls.attach`; each life gets a loader port of its own."""
        self.detach()
        self._port = self._host.listen(self._received)
        self._attached = asyncio.get_running_loop().create_future()
        deadline = Deadline.after(within_s)
        target = servers_port(self._node_id)
        await self._host.send(target, ServerMessage.ATTACH, b"", deadline, reply_port=self._port)
        try:
            async with deadline.timeout():
                return await self._attached
        except TimeoutError:
            raise GuestError(f"node {self._node_id} did not answer ATTACH") from None

    def detach(self) -> None:
        """The life that the loader port was for is over."""
        if self._port is not None:
            self._port.close()
            self._port = None

    def _received(self, node_id: int, message: HostMessage) -> None:
        if node_id != self._node_id:
            return  # the port's name is this node's to know; another's guess means nothing
        if message.id == ServerMessage.ATTACH + REPLY_OFFSET:
            if self._attached is not None and not self._attached.done():
                self._attached.set_result(message.body)
        elif self.loader is not None:
            self.loader.message(message.id, message.body)


@dataclass(slots=True, kw_only=True)
class _Attended:
    """A node that has a loader.

    Args:
        spec: the node.
        loader: its.
        calls: the way to its kernel half.
        service: the loader for those who ask by messages.
        client: the loader for tasks of this process, with the ports that they made.
        life: the incarnation that is attended to; 0: none.
        is_settled: whether its configuration was brought up, well or badly.
        problem: what went wrong with that.
    """

    spec: NodeSpec
    loader: NodeLoader
    calls: _Calls
    service: LoaderService
    client: Loader
    life: int = 0
    is_settled: bool = False
    problem: MnlabError | None = None


@dataclass(slots=True)
class Loaders:
    """All loaders of a run."""

    _nodes: dict[int, _Attended] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _socket: LoaderSocket | None = None
    _ended: dict[tuple[int, int], tuple[LinkedServer, ...]] = field(default_factory=dict)

    def begin(self, world: World) -> None:
        """Make the loaders of a world's nodes, and follow their lives."""
        files = ObjectFiles()
        for spec in world.topology.nodes:
            if has_exports(world, spec):
                self._nodes[spec.id] = self._attend(world, spec, files)
        world.host.on_links(lambda number: self._link_changed(world, number))
        world.host.on_deaths(lambda death: self._died(world, death))
        if self._nodes:
            nodes = self._nodes.values()
            GuestDoor(world.host, {node.spec.name: (node.spec.id, node.service) for node in nodes})
            self._socket = LoaderSocket(
                {node.spec.name: node.service for node in nodes},
                lambda work: self._spawn(world, work),
            )
            self._socket.open(world.folder.path / SOCKET_NAME)

    def close(self) -> None:
        """End what the loaders do, and let go of the tools."""
        if self._socket is not None:
            self._socket.close()
        for task in self._tasks:
            task.cancel()

    def client(self, spec: NodeSpec) -> Loader:
        """A node's loader, for a task of this process; privileged.

        Raises:
            LoaderError: NODE_UNREACHABLE: its image cannot load servers.
        """
        if spec.id not in self._nodes:
            what = f"the image of node {spec.name} exports nothing to servers"
            raise LoaderError(Code.NODE_UNREACHABLE, what)
        return self._nodes[spec.id].client

    def is_up(self, node_id: int, life: int) -> bool:
        """Whether the servers of a life are brought up.

        Raises:
            MnlabError: one of them could not be.
        """
        attended = self._nodes.get(node_id)
        if attended is None:
            return True
        if attended.life != life or not attended.is_settled:
            return False
        if attended.problem is not None:
            raise attended.problem
        return True

    def find_object(self, world: World, spec: NodeSpec, name: str) -> Path:
        """The built object of a server for a node.

        Raises:
            UsageError: there is none.
        """
        folder = world.find_image(world.machines[spec.arch]).parent / SERVERS_FOLDER
        path = find_object(name, (folder,))
        if path is None:
            known = ", ".join(sorted(item.stem for item in folder.glob(f"*{OBJECT_SUFFIX}")))
            raise UsageError(
                f"no kernel server {name} for {spec.arch.value}", hint=f"built: {known or 'none'}"
            )
        return path

    def server_at(self, node_id: int, address: int) -> str:
        """The server of a node in whose memory an address lies; empty: in none's."""
        attended = self._nodes.get(node_id)
        return "" if attended is None else attended.loader.server_at(address)

    def code_of(self, node_id: int, life: int) -> tuple[ServerCode, ...]:
        """The servers that a life of a node had at its end, or has now."""
        attended = self._nodes.get(node_id)
        if attended is not None and attended.life == life:
            servers = attended.loader.linked()
        else:
            servers = self._ended.get((node_id, life), ())
        return tuple(server.code() for server in servers)

    def _attend(self, world: World, spec: NodeSpec, files: ObjectFiles) -> _Attended:
        machine = world.machines[spec.arch]
        image = world.find_image(machine)
        folder = image.parent / SERVERS_FOLDER
        conf = world.folder.write(
            f"nodes/{spec.name}/{CONF_NAME}", format_conf(_configured(world, spec, folder))
        )
        calls = _Calls(world.host, spec.id)

        def told(priority: Priority, server: str, text: str) -> None:
            world.stream.emit(LoaderLine(node=spec.name, server=server, level=priority, text=text))
            world.watch.changed()

        calls.loader = NodeLoader(
            LoaderSetup(
                node=spec.name,
                kind=machine.elf,
                half=KernelHalf(calls),
                find_kernel=lambda: KernelImage.read(image),
                files=files,
                folders=(folder,),
                config=lambda: read_conf(conf),
                lines=StatusLines(spec.name, told),
                spawn=lambda work: self._spawn(world, work),
            )
        )
        privileged = world.host.listen(lambda guest, message: None)
        service = LoaderService(
            calls.loader, privileged.name, lambda work: self._spawn(world, work)
        )
        return _Attended(
            spec=spec,
            loader=calls.loader,
            calls=calls,
            service=service,
            client=Loader(LocalChannel(service)),
        )

    def _spawn(self, world: World, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = world.tasks.create_task(work, name="kernel-server loader")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _link_changed(self, world: World, node_id: int) -> None:
        attended = self._nodes.get(node_id)
        life = world.host.incarnation(node_id)
        if attended is None or not world.host.is_up(node_id) or life == attended.life:
            return
        attended.life = life
        attended.is_settled = False
        attended.problem = None
        self._spawn(world, self._bring_up(world, attended, life))

    async def _bring_up(self, world: World, attended: _Attended, life: int) -> None:
        problem: MnlabError | None = None
        try:
            failures = await attended.loader.node_up()
            problem = failures[0] if failures else None
        except MnlabError as error:
            problem = error
        if attended.life == life:
            attended.problem = problem
            attended.is_settled = True
            world.watch.changed()

    def _died(self, world: World, death: NodeDeath) -> None:
        attended = self._nodes.get(death.node_id)
        if attended is None or attended.life > death.incarnation:
            return
        servers = self._ended[death.node_id, attended.life] = attended.loader.linked()
        attended.life = 0
        if death.cause is DeathCause.SILENCE:
            self._spawn(world, self._blame(world, attended, death.incarnation, servers))
        attended.calls.detach()
        attended.loader.node_down(f"node {attended.spec.name} died")

    async def _blame(
        self, world: World, attended: _Attended, life: int, servers: Sequence[LinkedServer]
    ) -> None:
        """Say which server the CPU of a node is in that is dead to us and runs all the same."""
        try:
            address = await world.program_counter(attended.spec.name)
        except MnlabError:
            return  # its machine has ended, which explains it
        for server in (linked.code() for linked in servers):
            if address is not None and server.holds(address):
                node = attended.spec.name
                world.stream.emit(NodeHung(node=node, incarnation=life))
                text = f"node {node} is silent: its CPU is in server {server.describe(address)}"
                attended.loader.lines.post(Priority.WARNING, text, server.name)


def has_exports(world: World, spec: NodeSpec) -> bool:
    """Whether a node's image can load servers."""
    try:
        KernelImage.read(world.find_image(world.machines[spec.arch]))
    except LoaderError:
        return False
    return True


def _configured(world: World, spec: NodeSpec, folder: Path) -> tuple[ServerConfig, ...]:
    """The drivers of a node's links and the node server, unless the topology has builds of its own
    of them; then what the topology says."""
    links = world.topology.links_of(spec.name)
    drivers = tuple(dict.fromkeys(link.driver for link in links if link.driver))
    own = [(name, True) for name in (*drivers, *spec.servers)]
    own += [(name, False) for name in spec.lazy]
    named = {Path(name).name.removesuffix(OBJECT_SUFFIX) for name, _ in own}
    kinds = dict.fromkeys(link.kind for link in links if not link.driver)
    needed = [
        name for name in (*(_DRIVERS[kind] for kind in kinds), NODE_SERVER) if name not in named
    ]
    found = (find_object(name, (folder,)) for name in needed)
    servers = [ServerConfig(path=path, load=True) for path in found if path is not None]
    source = Path(world.topology.source).absolute().parent
    for name, load in own:
        is_path = name.endswith(OBJECT_SUFFIX)
        path = source / name if is_path else folder / f"{name}{OBJECT_SUFFIX}"
        servers.append(ServerConfig(path=path, load=load))
    return tuple(servers)
