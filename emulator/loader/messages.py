# SPDX-License-Identifier: MIT
"""The loader's own messages: what clients ask it, and its three asynchronous answers
(docs/spec/kern_loader.md).

Codecs only; the same bodies travel as Mach messages to node 0 and through the socket of the tools.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag, unique
from typing import Final, Self

from emulator.loader.codes import Code, LoaderError

__all__ = [
    "ListenRequest",
    "NameRequest",
    "PortInfo",
    "Reply",
    "Request",
    "RequestFlag",
    "ServerInfo",
    "answer",
    "com_port_request",
    "log_message",
    "names_message",
    "parse_com_port",
    "parse_log",
    "parse_names",
    "parse_string",
    "string_message",
    "take_answer",
]

STRING_BYTES: Final = 256
REPLY_OFFSET: Final = 100
MESSAGE_BYTES_MAXIMUM: Final = 1 << 20
_STATUS: Final = struct.Struct("<iI")
_NAME: Final = struct.Struct("<Q256s")
_LISTEN: Final = struct.Struct("<II256s")
_INFO: Final = struct.Struct("<IIQQ256s256s256sII")
_INFO_PORT: Final = struct.Struct("<QII256s")
_COM_PORT: Final = struct.Struct("<QII")
_TEXT: Final = struct.Struct("<iI")


@unique
class Request(IntEnum):
    """Ids of requests; a reply has the id + 100. STATUS_PORT and PING have none."""

    ABORT = 300
    LOAD_SERVER = 301
    UNLOAD_SERVER = 302
    ADD_SERVER = 303
    DELETE_SERVER = 304
    SERVER_TASK_PORT = 305
    SERVER_COM_PORT = 306
    STATUS_PORT = 307
    PING = 308
    LOG_LEVEL = 309
    GET_LOG = 310
    SERVER_LIST = 311
    SERVER_INFO_OLD = 312
    SERVER_INFO = 313
    REPLACE_SERVER = 320
    ACTIVE = 321


class RequestFlag(IntFlag):
    """Bits of `NameRequest.flags`; what they mean depends on the request."""

    QUIESCE = 1  # UNLOAD: close links over its drivers in order
    FORCE = 2  # UNLOAD: never mind users and failures
    RESTART = 1  # ABORT
    WAIT = 1  # ACTIVE: answer when it is


@unique
class Reply(IntEnum):
    """Ids of the asynchronous answers."""

    STRING = 300
    PING = 301
    LOG_DATA = 302


@dataclass(frozen=True, slots=True, kw_only=True)
class NameRequest:
    """A request about one server, or about all: every one but those that name a port.

    Args:
        privileged: the privileged port, 0: none.
        name: a server's, or a path.
        flags: of the request; without any it is the documented one.
        extra: LOAD: parameters, a word each; REPLACE: the path, then parameters.
    """

    name: str
    privileged: int = 0
    flags: int = 0
    extra: tuple[str, ...] = ()

    def serialize(self) -> bytes:
        """Return the body: privileged port, 256 bytes of name, then what is not documented."""
        body = _NAME.pack(self.privileged, _field(self.name))
        if self.flags or self.extra:
            words = "".join(f"{word}\0" for word in self.extra).encode()
            body += struct.pack("<II", self.flags, len(words)) + words
        return body

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Return the request in a body.

        Raises:
            LoaderError: BAD_ARGUMENTS.
        """
        if not body:  # SERVER_LIST's
            return cls(name="")
        if len(body) < _NAME.size:
            raise LoaderError(Code.BAD_ARGUMENTS, f"{len(body)} bytes")
        privileged, name = _NAME.unpack_from(body)
        rest, flags, words = body[_NAME.size :], 0, b""
        if rest:
            if len(rest) < 8:
                raise LoaderError(Code.BAD_ARGUMENTS, f"{len(body)} bytes")
            flags, size = struct.unpack_from("<II", rest)
            words = rest[8:]
            if len(words) != size:
                raise LoaderError(Code.BAD_ARGUMENTS, f"{len(words)} bytes of words, not {size}")
        extra = tuple(word for word in words.decode(errors="replace").split("\0") if word)
        return cls(privileged=privileged, name=_text(name), flags=flags, extra=extra)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenRequest:
    """STATUS_PORT: lines to the port that the message brings.

    Args:
        listen: False: no more.
        level: lines of at most this priority number.
        server: only about this one; empty: all.
    """

    listen: bool = True
    level: int = 6
    server: str = ""

    def serialize(self) -> bytes:
        """Return the body."""
        return _LISTEN.pack(self.listen, self.level, _field(self.server))

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Return the request in a body; an empty one is the documented one: every line.

        Raises:
            LoaderError: BAD_ARGUMENTS.
        """
        if not body:
            return cls()
        if len(body) != _LISTEN.size:
            raise LoaderError(Code.BAD_ARGUMENTS, f"{len(body)} bytes")
        listen, level, server = _LISTEN.unpack(body)
        return cls(listen=bool(listen), level=level, server=_text(server))


@dataclass(frozen=True, slots=True, kw_only=True)
class PortInfo:
    """A port of a server.

    Args:
        name: as its script has it.
        port: 64-bit name; 0 for those without privilege.
        advertised: whether strangers can look it up.
    """

    name: str
    port: int
    advertised: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerInfo:
    """What SERVER_INFO tells.

    Args:
        state: `State`.
        taint: `Taint` of the node.
        address, size_bytes: of its memory; 0: it has none.
        relocatable: path of the object.
        loadable: path of the linked image; empty: none was asked for.
        reason: why it failed or was deallocated.
        ports: in the order of its script.
    """

    state: int
    address: int
    size_bytes: int
    relocatable: str
    loadable: str = ""
    reason: str = ""
    taint: int = 0
    ports: tuple[PortInfo, ...] = ()

    def serialize(self) -> bytes:
        """Return the reply's body without the status."""
        reason = self.reason.encode()[: STRING_BYTES - 1].decode(errors="ignore")
        texts = (_field(self.relocatable), _field(self.loadable), _field(reason))
        head = _INFO.pack(
            self.state, self.taint, self.address, self.size_bytes, *texts, len(self.ports), 0
        )
        return head + b"".join(
            _INFO_PORT.pack(port.port, port.advertised, 0, _field(port.name)) for port in self.ports
        )

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Return the information in a reply's body, without the status.

        Raises:
            LoaderError: BAD_ARGUMENTS.
        """
        if len(body) < _INFO.size or (len(body) - _INFO.size) % _INFO_PORT.size:
            raise LoaderError(Code.BAD_ARGUMENTS, f"server info of {len(body)} bytes")
        state, taint, address, size, path, loadable, reason, _, _ = _INFO.unpack_from(body)
        return cls(
            state=state,
            taint=taint,
            address=address,
            size_bytes=size,
            relocatable=_text(path),
            loadable=_text(loadable),
            reason=_text(reason),
            ports=tuple(
                PortInfo(name=_text(name), port=port, advertised=bool(advertised))
                for port, advertised, _, name in _INFO_PORT.iter_unpack(body[_INFO.size :])
            ),
        )


def com_port_request(com_port: int, level: int = 0) -> bytes:
    """The body of LOG_LEVEL, and of GET_LOG without the level."""
    return _COM_PORT.pack(com_port, level, 0)


def parse_com_port(body: bytes) -> tuple[int, int]:
    """Communication port and level of LOG_LEVEL and GET_LOG.

    Raises:
        LoaderError: BAD_ARGUMENTS.
    """
    if len(body) != _COM_PORT.size:
        raise LoaderError(Code.BAD_ARGUMENTS, f"{len(body)} bytes")
    com_port, level, _ = _COM_PORT.unpack(body)
    return com_port, level


def answer(code: Code, body: bytes = b"", what: str = "") -> bytes:
    """A reply's body: the code, then its data, or what exactly was wrong."""
    return _STATUS.pack(code, 0) + (body if code is Code.SUCCESS else what.encode()[:STRING_BYTES])


def take_answer(body: bytes) -> bytes:
    """The data of a reply.

    Raises:
        LoaderError: the reply's code, with what the loader says about it.
    """
    if len(body) < _STATUS.size:
        raise LoaderError(Code.BAD_ARGUMENTS, f"reply of {len(body)} bytes")
    status, _ = _STATUS.unpack_from(body)
    rest = body[_STATUS.size :]
    if not status:
        return rest
    try:
        code = Code(status)
    except ValueError:
        raise LoaderError(Code.FAILURE, f"code {status}") from None
    raise LoaderError(code, rest.decode(errors="replace"))


def names_message(names: Sequence[str]) -> bytes:
    """SERVER_LIST's data."""
    return struct.pack("<II", len(names), 0) + b"".join(map(_field, names))


def parse_names(body: bytes) -> tuple[str, ...]:
    """The names in SERVER_LIST's data.

    Raises:
        LoaderError: BAD_ARGUMENTS.
    """
    if len(body) < 8 or len(body) != 8 + STRING_BYTES * int.from_bytes(body[:4], "little"):
        raise LoaderError(Code.BAD_ARGUMENTS, f"server list of {len(body)} bytes")
    return tuple(_text(body[at : at + STRING_BYTES]) for at in range(8, len(body), STRING_BYTES))


def string_message(text: str, level: int) -> bytes:
    """STRING: priority (4), length (4), the text."""
    data = text.encode()
    return _TEXT.pack(level, len(data)) + data


def parse_string(body: bytes) -> tuple[int, str]:
    """Priority and text of STRING.

    Raises:
        LoaderError: BAD_ARGUMENTS.
    """
    if len(body) < _TEXT.size or _TEXT.unpack_from(body)[1] != len(body) - _TEXT.size:
        raise LoaderError(Code.BAD_ARGUMENTS, f"string of {len(body)} bytes")
    return _TEXT.unpack_from(body)[0], body[_TEXT.size :].decode(errors="replace")


def log_message(text: str) -> bytes:
    """LOG_DATA: the text, no terminating NUL; empty: the log was closed."""
    return string_message(text, 0)


def parse_log(body: bytes) -> str:
    """The text of LOG_DATA.

    Raises:
        LoaderError: BAD_ARGUMENTS.
    """
    return parse_string(body)[1]


def _field(text: str) -> bytes:
    """256 bytes, ended by NUL.

    Raises:
        LoaderError: NAME_TOO_LONG.
    """
    data = text.encode()
    if len(data) >= STRING_BYTES:
        what = f"'{text[:40]}...' has {len(data)} bytes, at most {STRING_BYTES - 1} are taken"
        raise LoaderError(Code.NAME_TOO_LONG, what)
    return data.ljust(STRING_BYTES, b"\0")


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode(errors="replace")
