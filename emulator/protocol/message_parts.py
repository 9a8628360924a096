# SPDX-License-Identifier: MIT
"""The parts of a complex message: port rights, out-of-line bytes, arrays of port rights.

Codecs only (docs/spec/flipc.md, section 3.1). Every bound is checked before anything is built.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from emulator.protocol.names import serial_of, tag_of
from emulator.protocol.wire_types import Disposition, MalformedMessage

__all__ = [
    "DESCRIPTORS_MAX",
    "PORT_LIMIT_MAX",
    "RIGHTS_MAX",
    "BytesPart",
    "Part",
    "PortPart",
    "PortsPart",
    "home_of_wire",
    "parse_parts",
    "serialize_parts",
    "wire_of_home",
]

DESCRIPTORS_MAX: Final = 64
RIGHTS_MAX: Final = 256  # all ports of a message, those out of line included
PORT_LIMIT_MAX: Final = 1024
_RIGHTS: Final = (Disposition.RECEIVE, Disposition.SEND, Disposition.SEND_ONCE)
_COMPLEX: Final = struct.Struct("<II")
_DESCRIPTOR: Final = struct.Struct("<BBHIQ")
_PORT: Final = 0
_BYTES: Final = 1
_PORTS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PortPart:
    """A right to a port.

    Args:
        name: The port's; 0: there is none, or it is dead.
        disposition: RECEIVE, SEND or SEND_ONCE.
        home: Node where the port is; None: the one that created the message.
        limit: Of a port whose receive right this is: the limit of its queue, else 0.
    """

    name: int
    disposition: Disposition
    home: int | None = None
    limit: int = 0


@dataclass(frozen=True, slots=True)
class BytesPart:
    """Out-of-line bytes."""

    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PortsPart:
    """An out-of-line array of rights, all of one disposition."""

    disposition: Disposition
    ports: tuple[PortPart, ...] = ()


Part = PortPart | BytesPart | PortsPart


def home_of_wire(home: int) -> int | None:
    """Return the node that a home on the wire means, None for the creator of the message."""
    return None if home == 0 else home - 1


def wire_of_home(home: int | None) -> int:
    """Return a node as a home on the wire."""
    return 0 if home is None else home + 1


def _padding(size: int) -> bytes:
    return bytes(-size % 8)


def _parse_port(fields: tuple[int, int, int, int, int]) -> PortPart:
    kind, disposition, home, count, name = fields
    if kind != _PORT or disposition not in _RIGHTS or (name != 0 and serial_of(name) == 0):
        raise MalformedMessage(f"port descriptor of type {kind}, right {disposition}")
    if disposition == Disposition.RECEIVE:
        if name == 0 or tag_of(name) == 0 or home != 0 or not 1 <= count <= PORT_LIMIT_MAX:
            raise MalformedMessage(f"receive right {name:#x} with limit {count}")
    elif count != 0 or (name == 0 and home != 0):
        raise MalformedMessage(f"right {name:#x} with count {count}, home {home}")
    return PortPart(
        name=name, disposition=Disposition(disposition), home=home_of_wire(home), limit=count
    )


def _parse_array(data: bytes, disposition: int) -> PortsPart:
    ports = tuple(_parse_port(fields) for fields in _DESCRIPTOR.iter_unpack(data))
    if disposition not in _RIGHTS or any(port.disposition != disposition for port in ports):
        raise MalformedMessage(f"array of rights {disposition}")
    return PortsPart(disposition=Disposition(disposition), ports=ports)


class _Reader:
    """Takes pieces off the data of a message, each padded to 8 bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        end = self._at + size + -size % 8
        if end > len(self._data):
            raise MalformedMessage(f"{size} bytes are not there")
        piece = self._data[self._at : self._at + size]
        self._at = end
        return piece

    def is_empty(self) -> bool:
        return self._at == len(self._data)


def parse_parts(data: bytes) -> tuple[bytes, tuple[Part, ...]]:
    """Return the inline body and the parts of a complex message.

    Args:
        data: Everything behind its Mach header.

    Raises:
        MalformedMessage: A field contradicts docs/spec/flipc.md.
    """
    reader = _Reader(data)
    count, inline_size = _COMPLEX.unpack(reader.take(_COMPLEX.size))
    if not 1 <= count <= DESCRIPTORS_MAX:
        raise MalformedMessage(f"{count} descriptors")
    descriptors = list(_DESCRIPTOR.iter_unpack(reader.take(count * _DESCRIPTOR.size)))
    body = reader.take(inline_size)
    parts: list[Part] = []
    rights = 0
    for fields in descriptors:
        kind, disposition, home, size, name = fields
        if kind == _PORT:
            parts.append(_parse_port(fields))
            rights += 1
        elif home != 0 or name != 0:
            raise MalformedMessage(f"descriptor of type {kind} names {name:#x}")
        elif kind == _BYTES and disposition == 0:
            parts.append(BytesPart(reader.take(size)))
        elif kind == _PORTS and size <= RIGHTS_MAX:
            parts.append(_parse_array(reader.take(size * _DESCRIPTOR.size), disposition))
            rights += size
        else:
            raise MalformedMessage(f"descriptor of type {kind}")
        if rights > RIGHTS_MAX:
            raise MalformedMessage(f"{rights} rights")
    if not reader.is_empty():
        raise MalformedMessage("bytes behind the last part")
    return body, tuple(parts)


def _port_descriptor(port: PortPart) -> bytes:
    return _DESCRIPTOR.pack(_PORT, port.disposition, wire_of_home(port.home), port.limit, port.name)


def serialize_parts(body: bytes, parts: Sequence[Part]) -> bytes:
    """Return what follows the Mach header of a complex message."""
    descriptors = [_COMPLEX.pack(len(parts), len(body))]
    data = [body, _padding(len(body))]
    for part in parts:
        match part:
            case PortPart():
                descriptors.append(_port_descriptor(part))
            case BytesPart():
                descriptors.append(_DESCRIPTOR.pack(_BYTES, 0, 0, len(part.data), 0))
                data += [part.data, _padding(len(part.data))]
            case PortsPart():
                descriptors.append(
                    _DESCRIPTOR.pack(_PORTS, part.disposition, 0, len(part.ports), 0)
                )
                data += [_port_descriptor(port) for port in part.ports]
    return b"".join(descriptors + data)
