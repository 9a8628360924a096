# SPDX-License-Identifier: MIT
"""What the loader and the kernel half on a node say to each other (docs/spec/kern_server.md).

Codecs only; C: `firmware/include/abi/server_messages.h`. Replies' parsers raise `MalformedMessage`
for a body of the wrong size and `ServiceError` for a status that is not 0.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag, unique
from typing import Final, Self

from emulator.protocol.names import make_name
from emulator.protocol.services import take_status
from emulator.protocol.wire_types import MalformedMessage, exactly

__all__ = [
    "Attached",
    "CommandId",
    "LoadRequest",
    "LoadResult",
    "LogData",
    "LogEntry",
    "NodeCommand",
    "NodeServerInfo",
    "NodeState",
    "PortRequest",
    "ReserveRequest",
    "Reserved",
    "ServerMessage",
    "UnloadFlag",
    "UnloadRequest",
    "parse_first_message",
    "parse_panic",
    "server_request",
    "servers_port",
]

SERIAL_SERVERS: Final = 3
FORMAT_UNKNOWN: Final = 0xFFFFFFFF
_STATUS: Final = struct.Struct("<iI")
_COMMAND: Final = struct.Struct("<IIQQQ")
_ATTACHED: Final = struct.Struct("<IIQQ20sI")
_RESERVE: Final = struct.Struct("<32sIIIIII")
_RESERVE_PORT: Final = struct.Struct("<32sII")
_RESERVED: Final = struct.Struct("<IIQ")
_LOAD: Final = struct.Struct("<20sIII")
_RESULT: Final = struct.Struct("<II")
_UNLOAD: Final = struct.Struct("<IIII")
_INFO: Final = struct.Struct("<II32sQIIIIQIIQQII")
_INFO_PORT: Final = struct.Struct("<QII")
_LOG_DATA: Final = struct.Struct("<IIQ")
_LOG_ENTRY: Final = struct.Struct("<QII5Q")
_PAIR: Final = struct.Struct("<II")
_PANIC: Final = struct.Struct("<II256s")


@unique
class ServerMessage(IntEnum):
    """Ids of requests to a node's servers port or to a server's communication port, and of what
    comes to the loader port."""

    BOOT_PORT = 101
    SHUTDOWN = 107
    LOG_LEVEL = 108
    GET_LOG = 109
    PANIC = 200
    LOG_DATA = 202
    FIRST_MESSAGE = 203
    ATTACH = 2400
    RESERVE = 2401
    RELEASE = 2402
    WRITE = 2403
    LOAD = 2404
    UNLOAD = 2405
    INFO = 2406
    LIST = 2407
    ARM = 2408


@unique
class CommandId(IntEnum):
    """What a server's thread is told to do while it is brought up or down."""

    INSTANCE = 100
    WIRE = 102
    UNWIRE = 103
    HMAP = 104
    PORT_DEATH = 105
    CALL = 106
    SMAP = 110
    VERSION = 111


@unique
class NodeState(IntEnum):
    """A server's state as its node numbers it."""

    ALLOCATED = 2
    LOADING = 3
    LOADED = 4
    UNLOADING = 5
    FAILED = 8


class UnloadFlag(IntFlag):
    """How to unload."""

    NONE = 0
    QUIESCE = 1
    FORCE = 2
    ARM = 4


def servers_port(node_id: int) -> int:
    """The well-known name of a node's servers port."""
    return make_name(node_id, 0, SERIAL_SERVERS)


def server_request(server_id: int) -> bytes:
    """The body of RELEASE, INFO and ARM."""
    return _PAIR.pack(server_id, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCommand:
    """One command, with addresses for symbols.

    Args:
        id: what to do.
        port: index among the ports that were reserved.
        function: address.
        argument: number or address.
    """

    id: CommandId
    port: int = 0
    function: int = 0
    argument: int = 0

    def serialize(self) -> bytes:
        """Return the 32 bytes."""
        return _COMMAND.pack(self.id, self.port, self.function, self.argument, 0)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Return the command in 32 bytes."""
        number, port, function, argument, _ = exactly(_COMMAND, data, "command")
        return cls(id=CommandId(number), port=port, function=function, argument=argument)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """ATTACH's answer.

    Args:
        version: of the kernel-server interface.
        pointer_bytes: 4 or 8.
        area_address, area_bytes: where servers go.
        build_id: of the image that runs.
        page_bytes: of its MMU.
    """

    version: int
    pointer_bytes: int
    area_address: int
    area_bytes: int
    build_id: bytes
    page_bytes: int

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Return the answer in a body."""
        rest = take_status(body)
        if len(rest) != _ATTACHED.size:
            raise MalformedMessage(f"attach reply of {len(rest)} bytes")
        return cls(**dict(zip(cls.__slots__, _ATTACHED.unpack(rest), strict=True)))

    def serialize(self) -> bytes:
        """Return the body with a status of 0."""
        fields = (getattr(self, name) for name in self.__slots__)
        return _STATUS.pack(0, 0) + _ATTACHED.pack(*fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortRequest:
    """A port to make, or to keep.

    Args:
        name: for look-up.
        advertised: whether strangers can look it up.
        limit: messages that may wait in it; 0: as usual.
    """

    name: str
    advertised: bool
    limit: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReserveRequest:
    """RESERVE: memory and ports for a server.

    Args:
        name: the server's.
        code_bytes, const_bytes, data_bytes: of its memory.
        arm: tell of the first message.
        ports: in the order of its script.
    """

    name: str
    code_bytes: int
    const_bytes: int
    data_bytes: int
    arm: bool
    ports: tuple[PortRequest, ...]

    def serialize(self) -> bytes:
        """Return the body."""
        sizes = (self.code_bytes, self.const_bytes, self.data_bytes)
        head = _RESERVE.pack(self.name.encode("ascii"), *sizes, self.arm, len(self.ports), 0)
        return head + b"".join(
            _RESERVE_PORT.pack(port.name.encode("ascii"), port.advertised, port.limit)
            for port in self.ports
        )

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Return the request in a body."""
        name, code, const, data, flags, count, _ = _RESERVE.unpack_from(body)
        ports = _RESERVE_PORT.iter_unpack(body[_RESERVE.size :])
        request = cls(
            name=_text(name),
            code_bytes=code,
            const_bytes=const,
            data_bytes=data,
            arm=bool(flags & 1),
            ports=tuple(
                PortRequest(name=_text(port), advertised=bool(advertised & 1), limit=limit)
                for port, advertised, limit in ports
            ),
        )
        if len(request.ports) != count:
            raise MalformedMessage(f"{len(request.ports)} ports, not {count}")
        return request


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserved:
    """RESERVE's answer.

    Args:
        server_id: never reused in a life of the node.
        address: of its memory.
        ports: names of its ports, in the order of the request.
    """

    server_id: int
    address: int
    ports: tuple[int, ...]

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Return the answer in a body."""
        rest = take_status(body)
        if len(rest) < _RESERVED.size or len(rest) % 8:
            raise MalformedMessage(f"reserve reply of {len(rest)} bytes")
        server_id, _, address = _RESERVED.unpack_from(rest)
        ports = struct.unpack(f"<{len(rest) // 8 - 2}Q", rest[_RESERVED.size :])
        return cls(server_id=server_id, address=address, ports=ports)

    def serialize(self) -> bytes:
        """Return the body with a status of 0."""
        head = _STATUS.pack(0, 0) + _RESERVED.pack(self.server_id, 0, self.address)
        return head + struct.pack(f"<{len(self.ports)}Q", *self.ports)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRequest:
    """LOAD: the image, and what to do with it.

    Args:
        build_id: of the kernel that it was linked against.
        server_id: from RESERVE.
        commands: in order.
        image: from its first byte; what follows is zeroed.
    """

    build_id: bytes
    server_id: int
    commands: tuple[NodeCommand, ...]
    image: bytes

    def serialize(self) -> bytes:
        """Return the body."""
        head = _LOAD.pack(self.build_id, self.server_id, len(self.image), len(self.commands))
        return head + _commands(self.commands) + self.image

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Return the request in a body."""
        build_id, server_id, image_bytes, count = _LOAD.unpack_from(body)
        commands, image = _split_commands(body[_LOAD.size :], count)
        if len(image) != image_bytes:
            raise MalformedMessage(f"image of {len(image)} bytes, not {image_bytes}")
        return cls(build_id=build_id, server_id=server_id, commands=commands, image=image)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """LOAD's and UNLOAD's answer, also of one that failed.

    Args:
        status: 0, or the negative cause.
        done: commands executed without a failure: the index of the one that failed.
        value: what a CALL that failed returned.
        com_port: the server's communication port; 0 after UNLOAD.
    """

    status: int
    done: int
    value: int
    com_port: int = 0

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Return the answer in a body.

        Raises:
            MalformedMessage: too short for a status.
        """
        if len(body) < _STATUS.size:
            raise MalformedMessage(f"reply of {len(body)} bytes")
        status, _ = _STATUS.unpack_from(body)
        rest = body[_STATUS.size :].ljust(_RESULT.size + 8, b"\0")
        done, value = _RESULT.unpack_from(rest)
        com_port = int.from_bytes(rest[_RESULT.size : _RESULT.size + 8], "little")
        return cls(status=status, done=done, value=value, com_port=com_port)

    def serialize(self, *, with_port: bool) -> bytes:
        """Return the body."""
        body = _STATUS.pack(self.status, 0) + _RESULT.pack(self.done, self.value)
        return body + (self.com_port.to_bytes(8, "little") if with_port else b"")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnloadRequest:
    """UNLOAD.

    Args:
        server_id: from RESERVE.
        flags: how.
        commands: of the unload script.
    """

    server_id: int
    flags: UnloadFlag
    commands: tuple[NodeCommand, ...]

    def serialize(self) -> bytes:
        """Return the body."""
        head = _UNLOAD.pack(self.server_id, self.flags, len(self.commands), 0)
        return head + _commands(self.commands)

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Return the request in a body."""
        server_id, flags, count, _ = _UNLOAD.unpack_from(body)
        commands, rest = _split_commands(body[_UNLOAD.size :], count)
        if rest:
            raise MalformedMessage(f"{len(rest)} bytes behind the commands")
        return cls(server_id=server_id, flags=UnloadFlag(flags), commands=commands)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeServerInfo:
    """INFO's answer: a server as its node sees it.

    Args:
        server_id, state, name, address: what it is.
        code_bytes, const_bytes, data_bytes: of its memory, whole pages.
        links: that run over its PHY drivers.
        com_port: its communication port; 0: none.
        log_level: 0: off.
        loads: times that it was loaded.
        lost: log entries that found no room.
        served: messages.
        ports: name, advertised, mapped, messages waiting, of each port.
    """

    server_id: int
    state: NodeState
    name: str
    address: int
    code_bytes: int
    const_bytes: int
    data_bytes: int
    links: int
    com_port: int
    log_level: int
    loads: int
    lost: int
    served: int
    ports: tuple[tuple[int, bool, bool, int], ...]

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Return the answer in a body."""
        rest = take_status(body)
        if len(rest) < _INFO.size or (len(rest) - _INFO.size) % _INFO_PORT.size:
            raise MalformedMessage(f"server info of {len(rest)} bytes")
        (
            server_id, state, name, address, code, const, data, links, com_port,
            log_level, loads, lost, served, _, _,
        ) = _INFO.unpack_from(rest)  # fmt: skip
        return cls(
            server_id=server_id,
            state=NodeState(state),
            name=_text(name),
            address=address,
            code_bytes=code,
            const_bytes=const,
            data_bytes=data,
            links=links,
            com_port=com_port,
            log_level=log_level,
            loads=loads,
            lost=lost,
            served=served,
            ports=tuple(
                (port, bool(flags & 1), bool(flags & 2), waiting)
                for port, flags, waiting in _INFO_PORT.iter_unpack(rest[_INFO.size :])
            ),
        )

    def serialize(self) -> bytes:
        """Return the body with a status of 0."""
        sizes = (self.code_bytes, self.const_bytes, self.data_bytes)
        head = _INFO.pack(
            self.server_id, self.state, self.name.encode("ascii"), self.address, *sizes,
            self.links, self.com_port, self.log_level, self.loads, self.lost, self.served,
            len(self.ports), 0,
        )  # fmt: skip
        return (
            _STATUS.pack(0, 0)
            + head
            + b"".join(
                _INFO_PORT.pack(port, advertised | mapped << 1, waiting)
                for port, advertised, mapped, waiting in self.ports
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One entry of a server's log, not formatted yet.

    Args:
        time_ns: of the node's clock, when it was logged.
        format_offset: of the format's text in the image; FORMAT_UNKNOWN: not in it.
        level: higher is more urgent.
        arguments: five, 64 bits each.
    """

    time_ns: int
    format_offset: int
    level: int
    arguments: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogData:
    """LOG_DATA: everything that was in a server's log; no entries: the log was closed.

    Args:
        server_id: whose.
        lost: entries that found no room, so far.
        entries: oldest first.
    """

    server_id: int
    lost: int
    entries: tuple[LogEntry, ...]

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Return the message in a body."""
        if len(body) < _LOG_DATA.size:
            raise MalformedMessage(f"log data of {len(body)} bytes")
        server_id, count, lost = _LOG_DATA.unpack_from(body)
        if len(body) != _LOG_DATA.size + count * _LOG_ENTRY.size:
            raise MalformedMessage(f"log data of {len(body)} bytes for {count} entries")
        entries = tuple(
            LogEntry(time_ns=f[0], format_offset=f[1], level=f[2], arguments=f[3:])
            for f in _LOG_ENTRY.iter_unpack(body[_LOG_DATA.size :])
        )
        return cls(server_id=server_id, lost=lost, entries=entries)

    def serialize(self) -> bytes:
        """Return the body."""
        return _LOG_DATA.pack(self.server_id, len(self.entries), self.lost) + b"".join(
            _LOG_ENTRY.pack(item.time_ns, item.format_offset, item.level, *item.arguments)
            for item in self.entries
        )


def parse_panic(body: bytes) -> tuple[int, str]:
    """Return server id and text of PANIC."""
    if not _PAIR.size <= len(body) <= _PANIC.size:
        raise MalformedMessage(f"panic of {len(body)} bytes")
    return int.from_bytes(body[:4], "little"), _text(body[_PAIR.size :])


def parse_first_message(body: bytes) -> tuple[int, int]:
    """Return server id and index of the port of FIRST_MESSAGE."""
    server_id, port = exactly(_PAIR, body, "first message")
    return int(server_id), int(port)


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("ascii", errors="replace")


def _commands(commands: Sequence[NodeCommand]) -> bytes:
    return b"".join(command.serialize() for command in commands)


def _split_commands(data: bytes, count: int) -> tuple[tuple[NodeCommand, ...], bytes]:
    end = count * _COMMAND.size
    if end > len(data):
        raise MalformedMessage(f"{count} commands in {len(data)} bytes")
    commands = (data[at : at + _COMMAND.size] for at in range(0, end, _COMMAND.size))
    return tuple(NodeCommand.parse(item) for item in commands), data[end:]
