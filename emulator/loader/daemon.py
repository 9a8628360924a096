# SPDX-License-Identifier: MIT
"""The loader of one node: carries out what clients ask, and what its node tells it.

What it is not: it does not know how messages travel (`half.py`), who is asking (`service.py`), nor
what a load consists of (`operations.py`).

Invariants: one operation at a time on each server (its lock), a dependency's lock is taken while its
dependent's is held, and there are no circles; whoever needs a stable state so waits for it. Every
request to the node is bounded. No client can delay it: lines and logs go to clients' bounded queues.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulator.loader.codes import Code, LoaderError
from emulator.loader.conf import Configuration, ServerConfig
from emulator.loader.files import ObjectFiles, find_object
from emulator.loader.half import KernelHalf
from emulator.loader.kernel import KernelImage
from emulator.loader.log_readers import LogReaders
from emulator.loader.messages import PortInfo, ServerInfo
from emulator.loader.node_messages import (
    LogData,
    ServerMessage,
    UnloadFlag,
    parse_first_message,
    parse_panic,
)
from emulator.loader.object import LinkedServer
from emulator.loader.operations import Operations
from emulator.loader.parameters import parse_values
from emulator.loader.status import Client, Priority, StatusLines
from emulator.loader.table import Event, Server, State, Table, Taint
from emulator.machines.machine import ElfKind
from emulator.protocol.wire_types import MalformedMessage

__all__ = ["LoaderSetup", "NodeLoader"]

_FORCED = UnloadFlag.QUIESCE | UnloadFlag.FORCE


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderSetup:
    """What a node's loader works with.

    Args:
        node: its name.
        kind: architecture of its objects.
        half: the kernel half on it.
        find_kernel: reads the image that it runs.
        files: objects, shared with other nodes.
        folders: where objects are looked for by a server's name.
        config: reads which servers to bring up.
        lines: status lines.
        spawn: runs a coroutine of the loader's own; the run ends it.
    """

    node: str
    kind: ElfKind
    half: KernelHalf
    find_kernel: Callable[[], KernelImage]
    files: ObjectFiles
    folders: Sequence[Path]
    config: Callable[[], Configuration]
    lines: StatusLines
    spawn: Callable[[Coroutine[Any, Any, None]], object]


class NodeLoader:
    """The loader of one node, for all its lives."""

    def __init__(self, setup: LoaderSetup) -> None:
        """Begin inactive; `node_up` makes it active."""
        self._setup = setup
        self._lines = setup.lines
        self._table = Table()
        self._logs = LogReaders(setup.half, self._table)
        self._operations = Operations(
            node=setup.node,
            half=setup.half,
            files=setup.files,
            lines=setup.lines,
            log_closed=self._logs.close,
            table=self._table,
        )
        self._locks: dict[str, asyncio.Lock] = {}
        self._became_active = asyncio.Event()
        self._configuring = asyncio.Lock()  # all servers come, or all go

    @property
    def node(self) -> str:
        """The node's name."""
        return self._setup.node

    @property
    def lines(self) -> StatusLines:
        """Its status lines."""
        return self._lines

    @property
    def logs(self) -> LogReaders:
        """Its servers' logs."""
        return self._logs

    @property
    def taint(self) -> Taint:
        """What was done to the node in this life."""
        return self._table.taint

    @property
    def is_active(self) -> bool:
        """Whether the node lives, and its loader was not aborted."""
        return self._operations.kernel is not None

    async def wait_active(self) -> None:
        """Wait until the node lives and the loader works for it, however long that takes."""
        await self._became_active.wait()

    def _set_kernel(self, kernel: KernelImage | None) -> None:
        """Become active for a life that runs this image, or inactive."""
        self._operations.kernel = kernel
        if kernel is None:
            self._became_active.clear()
        else:
            self._became_active.set()

    # --- lives of the node ---

    async def node_up(self) -> tuple[LoaderError, ...]:
        """A life of the node can be reached: become its loader and bring up its configuration.

        Returns:
            What went wrong with it.

        Raises:
            LoaderError: NODE_UNREACHABLE; WRONG_IMAGE: the image that runs is not the one we have.
        """
        kernel = self._setup.find_kernel()
        attached = await self._setup.half.attach()
        if attached.build_id != kernel.build_id:
            raise LoaderError(
                Code.WRONG_IMAGE,
                f"node {self.node} runs {attached.build_id.hex()[:12]}, the image on the disk is "
                f"{kernel.build_id.hex()[:12]}",
                hint="restart the cluster: the image was built again since it started",
            )
        self._set_kernel(kernel)
        async with self._configuring:
            return await self._bring_up()

    def node_down(self, reason: str) -> None:
        """The life is over, and with it everything that was on the node."""
        self._set_kernel(None)
        self._locks.clear()
        self._table.node_died(reason)
        self._logs.close_all()

    async def _bring_up(self) -> tuple[LoaderError, ...]:
        """Allocate and load the configured servers: none waits for another that it does not need,
        and a bad one does not stop the others.

        Returns:
            What went wrong; lines were told about it.
        """
        config = self._setup.config()
        self._lines.post(Priority.INFO, f"start, {len(config.servers)} servers are configured")
        for problem in config.problems:
            self._lines.post(Priority.ERR, problem.message)
        failures = list(config.problems)
        adding = [self._add_configured(item, failures) for item in config.servers]
        servers = [server for server in await asyncio.gather(*adding) if server is not None]
        await asyncio.gather(*(self._load_configured(server, failures) for server in servers))
        return tuple(failures)

    async def _add_configured(
        self, item: ServerConfig, failures: list[LoaderError]
    ) -> Server | None:
        """Allocate a configured server; None: it is not to be loaded now."""
        try:
            server = self._added_before(item.path) or await self._allocate(item.path)
        except LoaderError as error:
            failures.append(error)
            return None
        server.parameters = item.parameters
        if item.load is False and not server.object.load_script.ports:
            what = f"{server.name} has no port: no message would ever load it"
            failure = LoaderError(
                Code.SERVER_WONT_LOAD, what, hint="put it among servers, not lazy"
            )
            self._lines.post(Priority.ERR, failure.message, server.name)
            failures.append(failure)
        starts = server.object.load_script.start if item.load is None else item.load
        return server if starts else None

    def _added_before(self, path: Path) -> Server | None:
        """The server in a file, if it is there already: another depends on it."""
        try:
            new = self._setup.files.read(path, self._setup.kind)
        except LoaderError:
            return None  # to add it tells why
        server = self._table.find(new.name) if new.name in self.list() else None
        return server if server is not None and server.object.digest == new.digest else None

    async def _load_configured(self, server: Server, failures: list[LoaderError]) -> None:
        try:
            await self._load(server)
        except LoaderError as error:
            failures.append(error)
            if server.state is State.ALLOCATED:  # else a line was told
                self._lines.post(Priority.ERR, error.message, server.name)

    # --- the functions ---

    async def add(self, path: Path) -> str:
        """Allocate a server, and load it if its script says START.

        Returns:
            Its name.

        Raises:
            LoaderError: why not; then nothing of it is left, but its entry with the reason.
        """
        server = await self._allocate(path)
        if server.object.load_script.start:
            await self._load(server)
        return server.name

    async def load(self, name: str, parameters: Sequence[str] = ()) -> None:
        """Load a server and what it depends on; nothing happens if it is loaded.

        Args:
            name: the server's.
            parameters: `name=value` words.

        Raises:
            LoaderError: why not; it is FAILED then, with the reason, and not on the node.
        """
        await self._load(self._table.find(name), parameters)

    async def unload(self, name: str, *, quiesce: bool = False, force: bool = False) -> None:
        """Unload a server, back to ALLOCATED: it will be loaded again by the next message to it.

        Args:
            name: the server's.
            quiesce: links over its drivers are closed in order first.
            force: whoever uses it, and whatever its unload script says; taints the node.

        Raises:
            LoaderError: SERVER_UNLOADED, DETACHED, BUSY; WONT_UNLOAD: its script failed, and it is
                deallocated now.
        """
        server = self._table.find(name)
        async with self._lock(server):
            self._operations.check_loaded(server)
            flags = UnloadFlag.ARM
            if force:
                self._table.taint |= Taint.FORCED_UNLOAD
                flags |= _FORCED
            else:
                self._operations.check_unused(server)
                flags |= UnloadFlag.QUIESCE if quiesce else UnloadFlag.NONE
            await self._operations.unload(server, flags)

    async def delete(self, name: str) -> None:
        """Unload a server if need be, and forget it. A detached one's code stays on the node.

        Raises:
            LoaderError: UNKNOWN_SERVER; BUSY: others depend on it.
        """
        server = self._table.find(name)
        self._lines.post(Priority.INFO, f"deleting {name}", name)
        server.dying = server.state is State.ALLOCATING
        async with self._lock(server):
            if server.state is State.LOADED:
                self._operations.check_unused(server)
            await self._end(server, "deleted")

    async def replace(self, name: str, path: Path, parameters: Sequence[str] = ()) -> None:
        """Put another build in a server's place: it is unloaded in order, keeps its ports with what
        waits in them, and is loaded again if it was.

        Args:
            name: the server's.
            path: of the build.
            parameters: `name=value` words for it, now and whenever it is loaded again.

        Raises:
            LoaderError: what is wrong with the new build, before anything is done to the old one;
                else as `unload` and `load`.
        """
        server = self._table.find(name)
        new = self._setup.files.read(path, self._setup.kind)
        if new.name != name:
            raise LoaderError(Code.INVALID_ARGUMENT, f"{path} is a server '{new.name}'")
        self._table.check_circle(new)
        self._table.check_advertised(new)
        new.check_imports(self._operations.running_kernel())
        parse_values(parameters, new.parameters)
        async with self._lock(server):
            self._check_known(server)
            was_loaded = server.state is State.LOADED
            if was_loaded or server.state is State.DETACHED:
                self._operations.check_loaded(server)
                self._operations.check_unused(server)
                await self._operations.unload(server, UnloadFlag.QUIESCE)
            server.path, server.parameters = path, tuple(parameters)
            await self._operations.allocate_again(server, new)
            if was_loaded:
                await self._load_dependencies(server)
                await self._operations.load(server, server.parameters)

    def list(self) -> tuple[str, ...]:
        """Names of all servers that are not deallocated, oldest first."""
        return tuple(item.name for item in self._table if item.state is not State.DEALLOCATED)

    def info(self, name: str, *, privileged: bool) -> ServerInfo:
        """What is known of a server; for those without privilege, without the names of ports.

        Raises:
            LoaderError: UNKNOWN_SERVER; a deallocated one is known.
        """
        server = self._table.entry(name)
        script = server.object.load_script
        numbers = () if server.reserved is None else server.reserved.ports
        return ServerInfo(
            state=server.state,
            address=server.address,
            size_bytes=server.size_bytes,
            relocatable=str(server.path),
            loadable="" if server.loadable is None else str(server.loadable),
            reason=server.reason,
            taint=self._table.taint,
            ports=tuple(
                PortInfo(
                    name=port.port,
                    port=number if privileged else 0,
                    advertised=port.port in script.advertised,
                )
                for port, number in zip(script.ports, numbers, strict=False)
            ),
        )

    def linked(self) -> tuple[LinkedServer, ...]:
        """The servers that have a place on the node."""
        return tuple(
            server.linked
            for server in self._table
            if server.linked is not None and server.size_bytes
        )

    def server_at(self, address: int) -> str:
        """The server in whose memory an address of the node lies; empty: in none's."""
        for server in self._table:
            if 0 <= address - server.address < server.size_bytes:
                return server.name
        return ""

    async def com_port(self, name: str) -> int:
        """A server's communication port, 0 while it is not loaded; waits while it is allocated.

        Raises:
            LoaderError: UNKNOWN_SERVER.
        """
        server = self._table.find(name)
        if server.state is State.ALLOCATING:
            async with self._lock(server):
                pass
        return server.com_port

    async def abort(self, *, restart: bool) -> None:
        """Unload and deallocate everything but detached servers, the latest loaded first.

        Args:
            restart: bring the configuration up again; else the loader does nothing more until the
                node boots again.
        """
        async with self._configuring:
            await self._shut_down(restart=restart)

    async def _shut_down(self, *, restart: bool) -> None:
        self._lines.post(Priority.NOTICE, "restart" if restart else "shutdown")
        for server in (*reversed(self._table.running()), *tuple(self._table)):
            if server.state in (State.DEALLOCATED, State.DETACHED):
                continue
            async with self._lock(server):
                try:
                    await self._end(server, "the loader was shut down")
                except LoaderError as error:
                    self._lines.post(Priority.ERR, error.message, server.name)
        if restart:
            await self._bring_up()
        else:
            self._set_kernel(None)

    def forget(self, client: Client) -> None:
        """A client is gone: send it nothing more, and let another read the logs it waited for."""
        self._lines.unsubscribe(client)
        self._logs.forget(client)

    # --- what the node tells ---

    def message(self, message_id: int, body: bytes) -> None:
        """A message from the kernel half to the loader port; a malformed one is told and dropped."""
        try:
            match message_id:
                case ServerMessage.FIRST_MESSAGE:
                    self._setup.spawn(self._load_for_message(*parse_first_message(body)))
                case ServerMessage.PANIC:
                    self._panicked(*parse_panic(body))
                case ServerMessage.LOG_DATA:
                    self._logs.deliver(LogData.parse(body))
                case _:
                    raise MalformedMessage(f"message {message_id}")
        except MalformedMessage as error:
            self._lines.post(Priority.WARNING, f"node {self.node} sent nonsense: {error}")

    async def _load_for_message(self, server_id: int, port: int) -> None:
        """One attempt. If it fails, the node refuses what waits in the ports."""
        server = await self._stable_server(server_id)
        if server is None or server.state is not State.ALLOCATED:
            return  # somebody else is loading it: the message waits in its port
        ports = server.object.load_script.ports
        name = ports[port].port if port < len(ports) else f"number {port}"
        self._lines.post(Priority.INFO, f"first message on port {name}", server.name)
        try:
            await self._load(server)
        except LoaderError as error:
            text = f"no server for the message to {server.name}: {error.message}"
            self._lines.post(Priority.ERR, text, server.name)
            async with self._lock(server):
                if server.state is State.ALLOCATED:  # it was not even tried
                    await self._operations.release(server)
                    self._table.move(server, Event.FAILED, error.message)

    async def _stable_server(self, server_id: int) -> Server | None:
        """The server that the node calls so, when nothing is under way that armed its ports: what the
        node tells may be ahead of its reply to that."""
        server = self._table.by_id(server_id)
        if server is not None:
            if server.state in (State.ALLOCATING, State.UNLOADING):
                async with self._lock(server):
                    pass
            return server
        for new in tuple(self._table):
            if new.state is State.ALLOCATING:  # the reply brings its number
                async with self._lock(new):
                    pass
        return self._table.by_id(server_id)

    def _panicked(self, server_id: int, text: str) -> None:
        server = self._table.by_id(server_id)
        if server is None:
            return
        self._table.taint |= Taint.PANICKED
        self._lines.post(Priority.WARNING, f"server {server.name} panicked: {text}", server.name)
        self._setup.spawn(self._unload_panicked(server))

    async def _unload_panicked(self, server: Server) -> None:
        """Back to ALLOCATED: the next message to it loads it again."""
        async with self._lock(server):
            if server.state is not State.LOADED:
                return
            try:
                await self._operations.unload(server, _FORCED | UnloadFlag.ARM)
            except LoaderError as error:
                self._lines.post(Priority.ERR, error.message, server.name)

    # --- inside ---

    async def _allocate(self, path: Path) -> Server:
        self._lines.post(Priority.INFO, f"adding {path}")
        try:
            kernel = self._operations.running_kernel()
            new = self._setup.files.read(path, self._setup.kind)
            server = self._table.add(new, path)
        except LoaderError as error:
            self._lines.post(Priority.ERR, f"{path} is not added: {error.message}")
            raise
        async with self._lock(server):
            self._lines.post(Priority.INFO, f"allocating {server.name}", server.name)
            try:
                new.check_imports(kernel)
                await self._add_dependencies(server)
                await self._operations.reserve_and_link(server, new)
            except LoaderError as error:
                self._operations.allocation_failed(server, error)
                raise
        return server

    async def _add_dependencies(self, server: Server) -> None:
        """What a server needs and nobody has added yet is found by its name."""
        for name in server.object.depends:
            path = find_object(name, self._setup.folders)
            if path is not None and name not in self.list():
                await self._allocate(path)

    async def _load(self, server: Server, parameters: Sequence[str] = ()) -> None:
        async with self._lock(server):
            if server.state in (State.LOADED, State.DETACHED):
                return
            self._check_known(server)
            new = self._setup.files.read(server.path, self._setup.kind)
            if new.name != server.name:
                what = f"{server.path} is a server '{new.name}' now"
                raise LoaderError(Code.INVALID_ARGUMENT, what)
            if new.digest != server.object.digest or server.state is State.FAILED:
                await self._operations.allocate_again(server, new)
            await self._load_dependencies(server)
            await self._operations.load(server, parameters or server.parameters)

    async def _load_dependencies(self, server: Server) -> None:
        for other in self._table.dependencies(server):
            await self._load(other)

    async def _end(self, server: Server, reason: str) -> None:
        """Take a server out for good, whatever it says; its lock is held."""
        if server.state is State.LOADED:
            try:
                await self._operations.unload(server, _FORCED)
            except LoaderError as error:
                if error.code is not Code.WONT_UNLOAD:
                    raise
        if server.state is not State.DEALLOCATED:
            await self._operations.deallocate(server, reason)

    @staticmethod
    def _check_known(server: Server) -> None:
        """Refuse what was deleted, or failed to be allocated, while somebody waited for it."""
        if server.state is State.DEALLOCATED:
            raise LoaderError(Code.SERVER_DELETED, server.name)

    def _lock(self, server: Server) -> asyncio.Lock:
        return self._locks.setdefault(server.name, asyncio.Lock())
