# SPDX-License-Identifier: MIT
"""What is done to a server on its node: allocating, loading, unloading, and undoing each half-way.

Called by `daemon.py` with the server's lock held. Each operation ends in a stable state and with the
node agreeing, whatever fails: a request to the node, the node itself, or the server's own code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from emulator.loader.codes import Code, LoaderError
from emulator.loader.commands import load_commands, port_requests, unload_commands, words_of
from emulator.loader.files import ObjectFiles
from emulator.loader.half import KernelHalf, code_of_status
from emulator.loader.kernel import KernelImage
from emulator.loader.node_messages import (
    LoadRequest,
    LoadResult,
    Reserved,
    ReserveRequest,
    UnloadFlag,
    UnloadRequest,
)
from emulator.loader.object import LinkedServer, ServerObject
from emulator.loader.status import Priority, StatusLines
from emulator.loader.table import Event, Server, State, Table, Taint, state_string
from emulator.protocol.services import ErrorCode

__all__ = ["Operations"]

_TAKEN_OUT: Final = "its threads did not end and were taken out; what they held is lost"


@dataclass(slots=True, kw_only=True)
class Operations:
    """On the servers of one node.

    Args:
        node: its name.
        half: the kernel half on it.
        files: objects.
        lines: status lines.
        log_closed: called with the name of a server whose log is gone.
        table: the servers.
        kernel: the image that runs; None while the node or its loader does not.
    """

    node: str
    half: KernelHalf
    files: ObjectFiles
    lines: StatusLines
    log_closed: Callable[[str], None]
    table: Table
    kernel: KernelImage | None = None

    def running_kernel(self) -> KernelImage:
        """The image that runs.

        Raises:
            LoaderError: NODE_UNREACHABLE: the node or its loader is down.
        """
        if self.kernel is None:
            raise LoaderError(
                Code.NODE_UNREACHABLE,
                f"the loader of node {self.node} is not active",
                hint="the node is off or booting, or its loader was aborted",
            )
        return self.kernel

    # --- allocating ---

    async def reserve_and_link(self, server: Server, new: ServerObject) -> None:
        """ALLOCATING to ALLOCATED.

        Raises:
            LoaderError: why not; nothing of it is on the node then, and its state is as before.
        """
        kernel = self.running_kernel()
        self.table.check_advertised(new)
        server.object = new
        layout = new.layout
        try:
            server.reserved = await self.half.reserve(
                ReserveRequest(
                    name=server.name,
                    code_bytes=layout.code_bytes,
                    const_bytes=layout.const_bytes,
                    data_bytes=layout.data_bytes,
                    arm=bool(new.load_script.ports),
                    ports=port_requests(new),
                )
            )
            if server.dying:
                raise LoaderError(Code.SERVER_DELETED, server.name)
            self.say(server, f"linking {server.name} against {kernel.build_id.hex()[:12]}")
            server.linked = self.files.link(new, server.address, kernel)
            load_commands(server.linked)  # every symbol that a script names is resolved now
            unload_commands(server.linked)
            self._write_loadable(server, server.linked)
        except LoaderError:
            await self.release(server)
            raise
        self.table.move(server, Event.ALLOCATED)
        self.say(server, f"{server.name} allocated")

    def _write_loadable(self, server: Server, linked: LinkedServer) -> None:
        """The linked image for a debugger, if the object asks for it; a server runs without it."""
        path = server.loadable
        if path is None:
            return
        self.say(server, f"linking {server.name} into {path}")
        try:
            self.files.write_loadable(linked, server.path, path)
        except LoaderError as error:
            self.complain(server, f"{path} is not written: {error.message}")

    async def allocate_again(self, server: Server, new: ServerObject) -> None:
        """ALLOCATED or FAILED to ALLOCATED, with other content or from the start.

        Raises:
            LoaderError: why not; it is deallocated then.
        """
        self.say(server, f"allocating {server.name} again")
        self.table.move(server, Event.ALLOCATE_AGAIN)
        try:
            self.table.check_circle(new)
            new.check_imports(self.running_kernel())
            await self.reserve_and_link(server, new)
        except LoaderError as error:
            await self.release(server)
            self.allocation_failed(server, error)
            raise

    def allocation_failed(self, server: Server, error: LoaderError) -> None:
        """ALLOCATING to DEALLOCATED."""
        if server.state is State.ALLOCATING:  # else the node died meanwhile
            self.table.move(server, Event.FAILED, error.message)
        self.complain(server, f"{server.name} deallocated: {error.message}")

    async def release(self, server: Server) -> None:
        """Give the node its memory and ports back; what waits in the ports ends as failed."""
        reserved, server.reserved = server.reserved, None
        if reserved is not None:
            try:
                await self.half.release(reserved.server_id)
            except LoaderError as error:
                text = f"the node keeps the memory of {server.name}: {error.message}"
                self.complain(server, text)

    async def deallocate(self, server: Server, reason: str) -> None:
        """A server that does not run to DEALLOCATED; a detached one's code stays on the node."""
        self.say(server, f"deallocating {server.name}")
        if server.state is State.DETACHED:
            server.reserved = None
        else:
            await self.release(server)
        if server.state is not State.DEALLOCATED:
            self.table.move(server, Event.DELETED, reason)
        self.say(server, f"{server.name} deallocated")

    # --- loading ---

    async def load(self, server: Server, parameters: Sequence[str]) -> None:
        """ALLOCATED to LOADED or DETACHED; what it depends on is loaded.

        Raises:
            LoaderError: why not; it is FAILED then, and off the node.
        """
        kernel = self.running_kernel()
        linked, reserved = _placed(server)
        request = LoadRequest(
            build_id=kernel.build_id,
            server_id=reserved.server_id,
            commands=load_commands(linked),
            image=linked.with_parameters(parameters),
        )
        server.parameters = tuple(parameters)
        self.table.move(server, Event.LOAD)
        self.say(server, f"loading {server.name}")
        self.say(server, f"{server.name} at {reserved.address:#x}")
        try:
            result = await self.half.load(request)
            self.say(server, f"{server.name}: {len(request.image)} bytes downloaded")
            self.say(server, f"starting up {server.name}")
            if result.status:
                raise _load_error(server, result)
        except LoaderError as error:
            await self._roll_back(server, error)
            raise
        if server.state is not State.LOADING:
            raise LoaderError(Code.NODE_UNREACHABLE, f"node {self.node} died")
        detach = server.object.load_script.detach
        self.table.move(server, Event.LOADED_FOR_EVER if detach else Event.LOADED)
        server.com_port = result.com_port
        self.say(server, f"{server.name} loaded")

    async def _roll_back(self, server: Server, error: LoaderError) -> None:
        """Undo a load that failed by the unload script; the server is FAILED and off the node."""
        if server.state is not State.LOADING:
            return  # the node died, which undid everything
        linked, reserved = _placed(server)
        self.table.taint |= Taint.FAILED_LOAD
        self.complain(server, f"{server.name} is not loaded: {error.message}")
        # A node that did not answer in time may be up all the same: then a command hangs.
        is_late = error.code is Code.NODE_UNREACHABLE
        request = UnloadRequest(
            server_id=reserved.server_id,
            flags=UnloadFlag.QUIESCE | UnloadFlag.FORCE,
            commands=() if is_late else unload_commands(linked),
        )
        await self._try_to_unload(server, request)
        await self.release(server)
        if server.state is State.LOADING:
            self.table.move(server, Event.FAILED, error.message)

    # --- unloading ---

    def check_loaded(self, server: Server) -> None:
        """Refuse what cannot be unloaded.

        Raises:
            LoaderError: DETACHED, SERVER_UNLOADED.
        """
        if server.state is State.DETACHED:
            raise LoaderError(Code.DETACHED, server.name)
        if server.state is not State.LOADED:
            what = f"{server.name} is {state_string(server.state).lower()}"
            raise LoaderError(Code.SERVER_UNLOADED, what)

    def check_unused(self, server: Server) -> None:
        """Refuse to take away what others need.

        Raises:
            LoaderError: BUSY.
        """
        users = self.table.users(server)
        if users:
            what = f"{server.name} is used by {', '.join(users)}"
            raise LoaderError(Code.BUSY, what, hint="unload what uses it first, or use force")

    async def unload(self, server: Server, flags: UnloadFlag) -> None:
        """LOADED to ALLOCATED.

        Args:
            server: that nobody uses, or that is forced out.
            flags: how.

        Raises:
            LoaderError: BUSY: links run over it, and nothing happened; WONT_UNLOAD: its script
                failed, and it is deallocated.
        """
        linked, reserved = _placed(server)
        if not server.object.load_script.ports:
            flags &= ~UnloadFlag.ARM
        request = UnloadRequest(
            server_id=reserved.server_id, flags=flags, commands=unload_commands(linked)
        )
        self.say(server, f"unloading {server.name}")
        self.table.move(server, Event.UNLOAD)
        try:
            result = await self.half.unload(request)
        except LoaderError as error:
            await self._unload_failed(server, error)
            raise
        if server.state is not State.UNLOADING:
            raise LoaderError(Code.NODE_UNREACHABLE, f"node {self.node} died")
        if result.status == ErrorCode.BUSY:
            self.table.move(server, Event.UNLOAD_REFUSED)
            what = f"links run over {server.name}"
            raise LoaderError(Code.BUSY, what, hint="cut them first, or use quiesce")
        if result.status:
            failure = LoaderError(
                Code.WONT_UNLOAD, f"{server.name}: {_unload_words(server, result)}"
            )
            if result.status == ErrorCode.TIMED_OUT and flags & UnloadFlag.FORCE:
                self.table.taint |= Taint.THREADS_ENDED
            if not flags & UnloadFlag.FORCE:
                await self._try_to_unload(server, _without_script(request))
            await self._unload_failed(server, failure)
            raise failure
        self.log_closed(server.name)
        self.table.move(server, Event.UNLOADED)
        self.say(server, f"{server.name} unloaded")

    async def _unload_failed(self, server: Server, error: LoaderError) -> None:
        """UNLOADING to DEALLOCATED."""
        self.table.taint |= Taint.UNLOADED_WITH_ERRORS
        self.log_closed(server.name)
        if error.code is Code.NODE_UNREACHABLE:
            server.reserved = None  # if the node still has it, nobody can say in which state
        await self.release(server)
        if server.state is State.UNLOADING:
            self.table.move(server, Event.FAILED, error.message)
        self.complain(server, f"{server.name} deallocated: {error.message}")

    async def _try_to_unload(self, server: Server, request: UnloadRequest) -> None:
        try:
            result = await self.half.unload(request)
        except LoaderError as error:
            self.complain(server, f"{server.name}: {error.message}")
            return
        if result.status == ErrorCode.TIMED_OUT:
            self.table.taint |= Taint.THREADS_ENDED
            self.complain(server, f"{server.name}: {_TAKEN_OUT}")

    # --- inside ---

    def say(self, server: Server, text: str) -> None:
        """A status line about a server."""
        self.lines.post(Priority.INFO, text, server.name)

    def complain(self, server: Server, text: str) -> None:
        """A status line about what went wrong with a server."""
        self.lines.post(Priority.ERR, text, server.name)


def _placed(server: Server) -> tuple[LinkedServer, Reserved]:
    """A server's image and place, which it has between ALLOCATED and UNLOADING.

    Raises:
        LoaderError: SERVER_DELETED: the node died, or somebody deleted it.
    """
    if server.linked is None or server.reserved is None:
        raise LoaderError(Code.SERVER_DELETED, server.name)
    return server.linked, server.reserved


def _without_script(request: UnloadRequest) -> UnloadRequest:
    flags = UnloadFlag.QUIESCE | UnloadFlag.FORCE
    return UnloadRequest(server_id=request.server_id, flags=flags, commands=())


def _load_error(server: Server, result: LoadResult) -> LoaderError:
    """What a node's refusal to load means."""
    words = words_of(server.object, result.done)
    if result.status == ErrorCode.FAILED:
        return LoaderError(
            Code.INIT_FAILED, f"{server.name}: {words} returned {_signed(result.value)}"
        )
    if result.status == ErrorCode.UNSUPPORTED:
        return LoaderError(Code.BAD_RELOCATABLE, f"{server.name}: the node refuses {words}")
    code = code_of_status(result.status)
    if code is Code.UNKNOWN_SERVER:
        code = Code.SERVER_WONT_LOAD
    return LoaderError(code, f"{server.name}: status {result.status} at {words}")


def _unload_words(server: Server, result: LoadResult) -> str:
    entries = server.object.unload_script.entries
    if result.status == ErrorCode.TIMED_OUT:
        return _TAKEN_OUT
    if result.status == ErrorCode.FAILED and result.done == len(entries):
        return "its unload script leaves threads of its own behind"
    if result.done < len(entries):
        return f"CALL {entries[result.done].function} of its unload script returned {_signed(result.value)}"
    return f"status {result.status}"


def _signed(value: int) -> int:
    """What a function of type int returned."""
    return value - (1 << 32) if value >> 31 else value
