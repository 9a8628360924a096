# SPDX-License-Identifier: MIT
"""mnl messages: what travels inside DATA frames, as records (docs/spec/flipc.md, sections 1 and 3).

Codecs only; sequence numbers and credits are in `flipc*.py`. Parsing raises `MalformedMessage`,
never anything else.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, unique
from itertools import pairwise
from typing import Final, Self

from emulator.protocol.message_parts import (
    Part,
    home_of_wire,
    parse_parts,
    serialize_parts,
    wire_of_home,
)
from emulator.protocol.wire_types import Disposition, MalformedMessage, exactly

MNL_HEADER_SIZE: Final = 24
MACH_HEADER_SIZE: Final = 32
FLAG_SEQUENCED: Final = 1
SNAPSHOT_COUNT_MAX: Final = 256
RIGHTS_COUNT_MAX: Final = 64
BITS_COMPLEX: Final = 0x80000000
BITS_RESUMED: Final = 0x40000000

_REPLY_RIGHTS: Final = (Disposition.NONE, Disposition.SEND, Disposition.SEND_ONCE)

_MNL: Final = struct.Struct("<BBBBIQII")
_MACH: Final = struct.Struct("<IIQQHHi")
_SNAPSHOT: Final = struct.Struct("<IIII")
_NAK: Final = struct.Struct("<IIiI")
_RIGHTS: Final = struct.Struct("<II")
_RIGHTS_ENTRY: Final = struct.Struct("<QII")
_HELLO: Final = struct.Struct("<QBBBBI")
_DEATH: Final = struct.Struct("<IIQ")


@unique
class Sub(IntEnum):
    """Which part of the node layer a message is for."""

    NODE = 1
    FLIPC = 2
    VMSYS = 3


@unique
class FlipcCommand(IntEnum):
    """Commands of `Sub.FLIPC`."""

    IPC = 1
    ACK = 2
    NAK = 3
    RIGHTS = 4


@unique
class NodeCommand(IntEnum):
    """Commands of `Sub.NODE`."""

    DEATH = 1
    HELLO = 2
    BOOTSTRAP_UP = 3
    BOOTSTRAP_DOWN = 4
    LEAVE = 5


@unique
class NakReason(IntEnum):
    """Why a destination refused a message."""

    UNKNOWN = 0  # a reason that we do not know; never sent
    UNKNOWN_NAME = 1
    DEAD_PORT = 2
    NO_RESOURCES = 3
    BAD_MESSAGE = 4
    NOT_PRINCIPAL = 5
    MOVED = 6
    NO_ROUTE = 7
    NO_RIGHT = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class MnlHeader:
    """The 24 bytes in front of every message between nodes.

    Args:
        sub: `Sub`, or anything a hostile peer wrote.
        cmd: Command within `sub`.
        sequenced: Whether `options` is a FLIPC sequence number.
        qos: Quality of service of an IPC message, 0 to 255; 0: nothing was said.
        node_id: Node that created the message.
        object: Name of the destination port for IPC, else 0.
        options: FLIPC sequence number, or 0.
        size: Bytes that follow.
    """

    sub: int
    cmd: int
    sequenced: bool
    node_id: int
    object: int = 0
    options: int = 0
    size: int
    qos: int = 0

    @classmethod
    def parse(cls, message: bytes) -> Self:
        """Return the header of a whole message.

        Raises:
            MalformedMessage: Too short, or `size` is not what follows.
        """
        if len(message) < MNL_HEADER_SIZE:
            raise MalformedMessage(f"{len(message)} bytes are no mnl message")
        sub, cmd, qos, flags, node_id, name, options, size = _MNL.unpack_from(message)
        if size != len(message) - MNL_HEADER_SIZE:
            raise MalformedMessage(f"size {size} in a message of {len(message)} bytes")
        return cls(
            sub=sub,
            cmd=cmd,
            sequenced=bool(flags & FLAG_SEQUENCED),
            node_id=node_id,
            object=name,
            options=options,
            size=size,
            qos=qos,
        )

    def serialize(self) -> bytes:
        """Return the 24 bytes of this header."""
        return _MNL.pack(
            self.sub,
            self.cmd,
            self.qos,
            FLAG_SEQUENCED if self.sequenced else 0,
            self.node_id,
            self.object,
            self.options,
            self.size,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MachMessage:
    """A Mach message as it is on the wire.

    Args:
        remote: Name of the destination port.
        id: Message id.
        body: Opaque bytes after the header.
        local: Name of the reply port, or 0.
        remote_disposition: Right used to send, SEND or SEND_ONCE.
        local_disposition: Right given with the reply port; NONE exactly when `local` is 0.
        local_home: Node where the reply port is; None: the node that created the message.
        sender: Who on the source node sent it; 0: its kernel.
        resumed: The first to the port after one came back as moved.
        qos: Quality of service, as its sender set it, 0 to 255; it travels in the mnl header.
        parts: What the message carries besides its body; none: it is a plain one.
    """

    remote: int
    id: int
    body: bytes = b""
    local: int = 0
    remote_disposition: Disposition = Disposition.SEND
    local_disposition: Disposition = Disposition.NONE
    local_home: int | None = None
    sender: int = 0
    resumed: bool = False
    qos: int = 0
    parts: tuple[Part, ...] = ()

    @classmethod
    def parse(cls, payload: bytes, name: int, qos: int = 0) -> Self:
        """Return the message in the payload of an IPC message.

        Args:
            payload: What followed the mnl header.
            name: `object` of the mnl header, which `remote` has to equal.
            qos: The mnl header's.

        Raises:
            MalformedMessage: A field contradicts docs/spec/flipc.md.
        """
        if len(payload) < MACH_HEADER_SIZE:
            raise MalformedMessage(f"{len(payload)} bytes are no Mach message")
        bits, size, remote, local, home, sender, message_id = _MACH.unpack_from(payload)
        if size != len(payload) or remote != name or bits & ~(BITS_COMPLEX | BITS_RESUMED | 0x1F1F):
            raise MalformedMessage("Mach header contradicts the mnl header")
        remote_bits, local_bits = bits & 0x1F, bits >> 8 & 0x1F
        if remote_bits not in (Disposition.SEND, Disposition.SEND_ONCE):
            raise MalformedMessage(f"remote disposition {remote_bits}")
        if local_bits not in _REPLY_RIGHTS or (local_bits == Disposition.NONE) is not (local == 0):
            raise MalformedMessage(f"local disposition {local_bits} of name {local:#x}")
        if local == 0 and home != 0:
            raise MalformedMessage(f"home {home} of no reply port")
        body: bytes = payload[MACH_HEADER_SIZE:]
        parts: tuple[Part, ...] = ()
        if bits & BITS_COMPLEX:
            body, parts = parse_parts(body)
        return cls(
            remote=remote,
            id=message_id,
            body=body,
            local=local,
            remote_disposition=Disposition(remote_bits),
            local_disposition=Disposition(local_bits),
            local_home=home_of_wire(home),
            sender=sender,
            resumed=bool(bits & BITS_RESUMED),
            qos=qos,
            parts=parts,
        )

    @property
    def size_bytes(self) -> int:
        """Size of the payload that `serialize()` returns."""
        content = len(serialize_parts(self.body, self.parts)) if self.parts else len(self.body)
        return MACH_HEADER_SIZE + content

    def serialize(self) -> bytes:
        """Return the payload of an IPC message."""
        bits = self.remote_disposition | self.local_disposition << 8
        bits |= BITS_RESUMED if self.resumed else 0
        body = self.body
        if self.parts:
            bits |= BITS_COMPLEX
            body = serialize_parts(body, self.parts)
        return (
            _MACH.pack(
                bits,
                MACH_HEADER_SIZE + len(body),
                self.remote,
                self.local,
                wire_of_home(self.local_home),
                self.sender,
                self.id,
            )
            + body
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AckSnapshot:
    """Payload of FLIPC ACK: every number below `next_expected` that is not listed is settled."""

    next_expected: int
    credit: int
    unsettled: tuple[int, ...] = ()

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Return the snapshot in a payload.

        Raises:
            MalformedMessage: Wrong length or count, or numbers not ascending below `next_expected`.
        """
        if len(payload) < _SNAPSHOT.size:
            raise MalformedMessage("ack snapshot is too short")
        next_expected, credit, count, _ = _SNAPSHOT.unpack_from(payload)
        if count > SNAPSHOT_COUNT_MAX or len(payload) != _SNAPSHOT.size + 4 * count:
            raise MalformedMessage(f"ack snapshot of {len(payload)} bytes lists {count}")
        unsettled = struct.unpack_from(f"<{count}I", payload, _SNAPSHOT.size)
        distances = [(next_expected - number) & 0xFFFFFFFF for number in unsettled]
        bounds = [0x80000000, *distances, 0]
        if any(far <= near for far, near in pairwise(bounds)):
            raise MalformedMessage("ack snapshot is not ascending")
        return cls(next_expected=next_expected, credit=credit, unsettled=unsettled)

    def serialize(self) -> bytes:
        """Return the payload."""
        count = len(self.unsettled)
        head = _SNAPSHOT.pack(self.next_expected, self.credit, count, 0)
        return head + struct.pack(f"<{count}I", *self.unsettled)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nak:
    """Payload of FLIPC NAK."""

    sequence: int
    reason: int
    resend_to: int = -1

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Return the NAK in a payload.

        Raises:
            MalformedMessage: Wrong length.
        """
        sequence, reason, resend_to, _ = exactly(_NAK, payload, "NAK")
        return cls(sequence=sequence, reason=reason, resend_to=resend_to)

    def serialize(self) -> bytes:
        """Return the payload."""
        return _NAK.pack(self.sequence, self.reason, self.resend_to, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """Payload of NODE DEATH: node 0's word that an incarnation is dead."""

    node_id: int
    cause: int
    incarnation: int

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Return the notice in a payload.

        Raises:
            MalformedMessage: Wrong length.
        """
        node_id, cause, incarnation = exactly(_DEATH, payload, "DEATH")
        return cls(node_id=node_id, cause=cause, incarnation=incarnation)

    def serialize(self) -> bytes:
        """Return the payload."""
        return _DEATH.pack(self.node_id, self.cause, self.incarnation)


@unique
class RightsOperation(IntEnum):
    """What an entry of FLIPC RIGHTS says."""

    ADD_SEND = 1
    ADD_ONCE = 2
    DROP_SEND = 3
    DROP_ONCE = 4
    DEAD_ONCE = 5
    PORT_DEAD = 6
    PORT_MOVED = 7
    STAY = 8
    GO = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class RightsEntry:
    """One entry of FLIPC RIGHTS; `operation` may be one that nobody knows."""

    name: int
    operation: int
    value: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """Payload of FLIPC RIGHTS: accounts of rights, taken in their order."""

    entries: tuple[RightsEntry, ...]

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Return the accounts in a payload.

        Raises:
            MalformedMessage: Wrong length or count.
        """
        if len(payload) < _RIGHTS.size:
            raise MalformedMessage("accounts of rights are too short")
        count, _ = _RIGHTS.unpack_from(payload)
        if count > RIGHTS_COUNT_MAX or len(payload) != _RIGHTS.size + count * _RIGHTS_ENTRY.size:
            raise MalformedMessage(f"accounts of {len(payload)} bytes list {count}")
        return cls(
            entries=tuple(
                RightsEntry(name=name, operation=operation, value=value)
                for name, operation, value in _RIGHTS_ENTRY.iter_unpack(payload[_RIGHTS.size :])
            )
        )

    def serialize(self) -> bytes:
        """Return the payload."""
        return _RIGHTS.pack(len(self.entries), 0) + b"".join(
            _RIGHTS_ENTRY.pack(entry.name, entry.operation, entry.value) for entry in self.entries
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """Payload of NODE HELLO: what training told, once more."""

    incarnation: int
    protocol_minimum: int = 1
    protocol_maximum: int = 1
    data_model: int
    byte_order: int

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Return the greeting in a payload.

        Raises:
            MalformedMessage: Wrong length.
        """
        incarnation, minimum, maximum, data_model, byte_order, _ = exactly(_HELLO, payload, "HELLO")
        return cls(
            incarnation=incarnation,
            protocol_minimum=minimum,
            protocol_maximum=maximum,
            data_model=data_model,
            byte_order=byte_order,
        )

    def serialize(self) -> bytes:
        """Return the payload."""
        return _HELLO.pack(
            self.incarnation,
            self.protocol_minimum,
            self.protocol_maximum,
            self.data_model,
            self.byte_order,
            0,
        )
