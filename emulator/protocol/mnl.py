# SPDX-License-Identifier: MIT
"""mnl messages: what travels inside DATA frames, as records (docs/spec/flipc.md, sections 1 and 3).

Codecs only; sequence numbers and credits are in `flipc.py`. Parsing raises `MalformedMessage`,
never anything else.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, unique
from itertools import pairwise
from typing import Final, Self

MNL_HEADER_SIZE: Final = 24
MACH_HEADER_SIZE: Final = 32
FLAG_SEQUENCED: Final = 1
SNAPSHOT_COUNT_MAX: Final = 256

_MNL: Final = struct.Struct("<BBBBIQII")
_MACH: Final = struct.Struct("<IIQQIi")
_SNAPSHOT: Final = struct.Struct("<IIII")
_NAK: Final = struct.Struct("<IIiI")
_DEATH: Final = struct.Struct("<IIQ")


class MalformedMessage(Exception):
    """Bytes that are no message; the text says what is wrong with them."""


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


@unique
class NodeCommand(IntEnum):
    """Commands of `Sub.NODE`."""

    DEATH = 1


@unique
class NakReason(IntEnum):
    """Why a destination refused a message."""

    UNKNOWN_NAME = 1
    DEAD_PORT = 2
    NO_RESOURCES = 3
    BAD_MESSAGE = 4
    NOT_PRINCIPAL = 5


class Disposition(IntEnum):
    """The right that a port name in a Mach header carries."""

    NONE = 0
    SEND = 17
    SEND_ONCE = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class MnlHeader:
    """The 24 bytes in front of every message between nodes.

    Args:
        sub: `Sub`, or anything a hostile peer wrote.
        cmd: Command within `sub`.
        sequenced: Whether `options` is a FLIPC sequence number.
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

    @classmethod
    def parse(cls, message: bytes) -> Self:
        """Return the header of a whole message.

        Raises:
            MalformedMessage: Too short, or `size` is not what follows.
        """
        if len(message) < MNL_HEADER_SIZE:
            raise MalformedMessage(f"{len(message)} bytes are no mnl message")
        sub, cmd, _, flags, node_id, name, options, size = _MNL.unpack_from(message)
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
        )

    def serialize(self) -> bytes:
        """Return the 24 bytes of this header."""
        return _MNL.pack(
            self.sub,
            self.cmd,
            0,
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
    """

    remote: int
    id: int
    body: bytes = b""
    local: int = 0
    remote_disposition: Disposition = Disposition.SEND
    local_disposition: Disposition = Disposition.NONE

    @classmethod
    def parse(cls, payload: bytes, name: int) -> Self:
        """Return the message in the payload of an IPC message.

        Args:
            payload: What followed the mnl header.
            name: `object` of the mnl header, which `remote` has to equal.

        Raises:
            MalformedMessage: A field contradicts docs/spec/flipc.md.
        """
        if len(payload) < MACH_HEADER_SIZE:
            raise MalformedMessage(f"{len(payload)} bytes are no Mach message")
        bits, size, remote, local, voucher, message_id = _MACH.unpack_from(payload)
        if size != len(payload) or remote != name or voucher != 0 or bits & ~0x1F1F:
            raise MalformedMessage("Mach header contradicts the mnl header")
        remote_bits, local_bits = bits & 0x1F, bits >> 8
        if remote_bits not in (Disposition.SEND, Disposition.SEND_ONCE):
            raise MalformedMessage(f"remote disposition {remote_bits}")
        if local_bits not in set(Disposition) or (local_bits == Disposition.NONE) is not (
            local == 0
        ):
            raise MalformedMessage(f"local disposition {local_bits} of name {local:#x}")
        return cls(
            remote=remote,
            id=message_id,
            body=payload[MACH_HEADER_SIZE:],
            local=local,
            remote_disposition=Disposition(remote_bits),
            local_disposition=Disposition(local_bits),
        )

    def serialize(self) -> bytes:
        """Return the payload of an IPC message."""
        return (
            _MACH.pack(
                self.remote_disposition | self.local_disposition << 8,
                MACH_HEADER_SIZE + len(self.body),
                self.remote,
                self.local,
                0,
                self.id,
            )
            + self.body
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
        if len(payload) != _NAK.size:
            raise MalformedMessage(f"NAK of {len(payload)} bytes")
        sequence, reason, resend_to, _ = _NAK.unpack(payload)
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
        if len(payload) != _DEATH.size:
            raise MalformedMessage(f"DEATH of {len(payload)} bytes")
        node_id, cause, incarnation = _DEATH.unpack(payload)
        return cls(node_id=node_id, cause=cause, incarnation=incarnation)

    def serialize(self) -> bytes:
        """Return the payload."""
        return _DEATH.pack(self.node_id, self.cause, self.incarnation)
