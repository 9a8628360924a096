# SPDX-License-Identifier: MIT
"""The kernel half of the loader on a node, in Python: what `emulator.loader` talks to in tests.

It understands the messages of docs/spec/kern_server.md and keeps the same states, memory and ports,
but runs no code: what a script's CALL returns is said by the test (`returns`), as is whether links
run over a driver (`links`). It refuses whatever the firmware refuses.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from emulator.errors import NodeDied
from emulator.loader.node_messages import (
    Attached,
    CommandId,
    LoadRequest,
    LoadResult,
    LogData,
    LogEntry,
    NodeCommand,
    NodeServerInfo,
    NodeState,
    Reserved,
    ReserveRequest,
    ServerMessage,
    UnloadFlag,
    UnloadRequest,
)
from emulator.testing.server_writer import BUILD_ID

__all__ = ["FakeServer", "FakeServerNode"]

OK = struct.pack("<iI", 0, 0)
EXISTS, NO_MEMORY, INVALID, NOT_FOUND, UNSUPPORTED = -4, -1, -2, -3, -9
BUSY, STALE, FAILED = -10, -12, -13
PAGE = 4096
MAIN_PORT = 0


@dataclass(slots=True)
class FakeServer:
    """A server as the node has it."""

    server_id: int
    name: str
    address: int
    size_bytes: int
    ports: tuple[int, ...]
    port_names: tuple[str, ...]
    advertised: tuple[bool, ...]
    armed: bool
    state: NodeState = NodeState.ALLOCATED
    com_port: int = 0
    log_level: int = 0
    loads: int = 0
    log: list[LogEntry] = field(default_factory=list)
    log_wanted: bool = False
    waiting: int = 0
    image: bytes = b""


class FakeServerNode:
    """One node, many lives; implements `NodeCalls`.

    While there is a `gate` that is not set, no request is answered.
    `returns` tells what a CALL at an offset of a server's image returns, by (name, offset); 0 for
    all others. `links` tells over which servers links run. `told` gets messages to the loader port.
    `calls` records every CALL that was made.
    """

    def __init__(
        self,
        *,
        area: tuple[int, int] = (0x700000, 0x200000),
        build_id: bytes = BUILD_ID,
        told: Callable[[int, bytes], None] = lambda number, body: None,
        turns: Callable[[], int] = lambda: 1,
    ) -> None:
        """Boot.

        Args:
            area: address and size of the memory for servers.
            build_id: of its kernel.
            told: called with id and body of each message to the loader port.
            turns: how often the event loop turns before a request is answered.
        """
        self.told = told
        self.returns: dict[tuple[str, int], int] = {}
        self.gate: asyncio.Event | None = None
        self.log_lost = 0
        self.links: dict[str, int] = {}
        self.calls: list[tuple[str, int]] = []
        self.servers: dict[int, FakeServer] = {}
        self.is_alive = True
        self._area = area
        self._build_id = build_id
        self._turns = turns
        self._next_id = 1
        self._next_port = 0x1000

    def die(self) -> None:
        """Lose everything; whoever waits for an answer gets none."""
        self.is_alive = False
        self.servers.clear()

    def boot(self) -> None:
        """Begin another life."""
        self.is_alive = True

    def named(self, name: str) -> FakeServer | None:
        """The server of that name, None if the node has none."""
        return next((item for item in self.servers.values() if item.name == name), None)

    def send_to(self, name: str) -> bool:
        """A message for a server's first port: it waits, or is served; False: it is refused."""
        server = self.named(name)
        if server is None or not server.ports:
            return False
        server.waiting += server.state is not NodeState.LOADED
        if server.state is NodeState.ALLOCATED and server.armed:
            server.armed = False
            body = struct.pack("<II", server.server_id, 0)
            self.told(ServerMessage.FIRST_MESSAGE, body)
        return True

    def log(self, name: str, entry: LogEntry) -> None:
        """A server logs something."""
        server = self.named(name)
        if server is None or not server.log_level or entry.level < server.log_level:
            return
        server.log.append(entry)
        if server.log_wanted:
            self._send_log(server)

    def panic(self, name: str, text: str) -> None:
        """A server gives itself up."""
        server = self.named(name)
        assert server is not None
        body = struct.pack("<II", server.server_id, 0) + text.encode() + b"\0"
        self.told(ServerMessage.PANIC, body)

    # --- NodeCalls ---

    async def attach(self, within_s: float) -> bytes:
        """Answer ATTACH."""
        await self._think()
        address, size = self._area
        return Attached(
            version=2,
            pointer_bytes=8,
            area_address=address,
            area_bytes=size,
            build_id=self._build_id,
            page_bytes=PAGE,
        ).serialize()

    async def call(self, port: int | None, message_id: int, body: bytes, within_s: float) -> bytes:
        """Answer a request, in the order of arrival."""
        answer = self._answer(MAIN_PORT if port is None else port, message_id, body)
        await self._think()
        return answer

    async def _think(self) -> None:
        for _ in range(self._turns()):
            await asyncio.sleep(0)
        if self.gate is not None:
            await self.gate.wait()
        if not self.is_alive:
            raise NodeDied("the node died")

    def _answer(self, port: int, message_id: int, body: bytes) -> bytes:
        if not self.is_alive:
            return b""
        if port:
            return self._answer_server(port, message_id, body)
        handlers: Mapping[int, Callable[[bytes], bytes]] = {
            ServerMessage.RESERVE: self._reserve,
            ServerMessage.RELEASE: self._release,
            ServerMessage.LOAD: self._load,
            ServerMessage.UNLOAD: self._unload,
            ServerMessage.INFO: self._info,
        }
        return handlers[message_id](body) if message_id in handlers else _status(INVALID)

    # --- the servers port ---

    def _reserve(self, body: bytes) -> bytes:
        request = ReserveRequest.parse(body)
        known = self.named(request.name)
        if known is not None and known.state is not NodeState.ALLOCATED:
            return _status(EXISTS)
        taken = {
            name
            for other in self.servers.values()
            if other is not known
            for name, advertised in zip(other.port_names, other.advertised, strict=True)
            if advertised
        }
        if any(port.advertised and port.name in taken for port in request.ports):
            return _status(EXISTS)
        size = sum(
            -(-part // PAGE) * PAGE
            for part in (request.code_bytes, request.const_bytes, request.data_bytes)
        )
        if not size:
            return _status(INVALID)
        address = self._find_room(size, known)
        if address is None:
            return _status(NO_MEMORY)
        names = tuple(port.name for port in request.ports)
        kept = {} if known is None else dict(zip(known.port_names, known.ports, strict=True))
        ports = tuple(kept[name] if name in kept else self._new_port() for name in names)
        server = FakeServer(
            server_id=known.server_id if known else self._take_id(),
            name=request.name,
            address=address,
            size_bytes=size,
            ports=ports,
            port_names=names,
            advertised=tuple(port.advertised for port in request.ports),
            armed=request.arm,
        )
        self.servers[server.server_id] = server
        return Reserved(server_id=server.server_id, address=address, ports=ports).serialize()

    def _find_room(self, size: int, but: FakeServer | None) -> int | None:
        start, area = self._area
        end = start + area
        for other in sorted(self.servers.values(), key=lambda item: item.address):
            if other is not but:
                if other.address - start >= size:
                    return start
                start = other.address + other.size_bytes
        return start if end - start >= size else None

    def _release(self, body: bytes) -> bytes:
        server = self.servers.get(struct.unpack("<II", body)[0])
        if server is None:
            return _status(NOT_FOUND)
        if server.state is not NodeState.ALLOCATED:
            return _status(BUSY)
        del self.servers[server.server_id]
        return OK

    def _load(self, body: bytes) -> bytes:
        request = LoadRequest.parse(body)
        server = self.servers.get(request.server_id)
        if server is None:
            return _status(NOT_FOUND)
        if request.build_id != self._build_id:
            return _status(STALE)
        if server.state is not NodeState.ALLOCATED:
            return _status(BUSY)
        if len(request.image) > server.size_bytes:
            return _status(INVALID)
        server.image, server.armed = request.image, False
        done, value = self._execute(server, request.commands)
        if done < len(request.commands):
            server.state = NodeState.FAILED
            return LoadResult(status=FAILED, done=done, value=value).serialize(with_port=True)
        server.state, server.waiting = NodeState.LOADED, 0
        server.loads += 1
        server.com_port = self._new_port()
        return LoadResult(status=0, done=done, value=0, com_port=server.com_port).serialize(
            with_port=True
        )

    def _unload(self, body: bytes) -> bytes:
        request = UnloadRequest.parse(body)
        server = self.servers.get(request.server_id)
        if server is None:
            return _status(NOT_FOUND)
        if server.state not in (NodeState.LOADED, NodeState.FAILED):
            return _status(BUSY)
        if self.links.get(server.name) and not request.flags & UnloadFlag.QUIESCE:
            return _status(BUSY)
        done, value = self._execute(server, request.commands)
        failed = done < len(request.commands)
        status = FAILED if failed else 0
        if failed and not request.flags & UnloadFlag.FORCE:
            server.state = NodeState.FAILED
        else:
            server.state = NodeState.ALLOCATED
            server.armed = bool(request.flags & UnloadFlag.ARM)
            if server.log_wanted:
                server.log.clear()
                self._send_log(server)
            server.com_port = server.log_level = 0
        return LoadResult(status=status, done=done, value=value).serialize(with_port=False)

    def _execute(self, server: FakeServer, commands: tuple[NodeCommand, ...]) -> tuple[int, int]:
        """Commands done, and what the CALL that failed returned."""
        for index, command in enumerate(commands):
            if command.id is CommandId.CALL:
                offset = command.function - server.address
                self.calls.append((server.name, offset))
                value = self.returns.get((server.name, offset), 0)
                if value:
                    return index, value
        return len(commands), 0

    def _info(self, body: bytes) -> bytes:
        server = self.servers.get(struct.unpack("<II", body)[0])
        if server is None:
            return _status(NOT_FOUND)
        return NodeServerInfo(
            server_id=server.server_id,
            state=server.state,
            name=server.name,
            address=server.address,
            code_bytes=server.size_bytes,
            const_bytes=0,
            data_bytes=0,
            links=self.links.get(server.name, 0),
            com_port=server.com_port,
            log_level=server.log_level,
            loads=server.loads,
            lost=0,
            served=0,
            ports=tuple(
                (port, advertised, server.state is NodeState.LOADED, 0)
                for port, advertised in zip(server.ports, server.advertised, strict=True)
            ),
        ).serialize()

    # --- communication ports ---

    def _answer_server(self, port: int, message_id: int, body: bytes) -> bytes:
        server = next((item for item in self.servers.values() if item.com_port == port), None)
        if server is None:
            raise NodeDied("the port is dead")
        if message_id == ServerMessage.LOG_LEVEL:
            server.log_level = struct.unpack("<II", body)[0]
            if not server.log_level:
                server.log.clear()
                if server.log_wanted:
                    self._send_log(server)
            return OK
        if message_id == ServerMessage.GET_LOG:
            if not server.log_level:
                return _status(UNSUPPORTED)
            if server.log_wanted:
                return _status(EXISTS)
            server.log_wanted = True
            if server.log:
                self._send_log(server)
            return OK
        return _status(INVALID)

    def _send_log(self, server: FakeServer) -> None:
        server.log_wanted = False
        data = LogData(server_id=server.server_id, lost=self.log_lost, entries=tuple(server.log))
        server.log.clear()
        self.told(ServerMessage.LOG_DATA, data.serialize())

    def _take_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    def _new_port(self) -> int:
        self._next_port += 1
        return self._next_port


def _status(status: int) -> bytes:
    return struct.pack("<iI", status, 0)
