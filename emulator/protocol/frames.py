# SPDX-License-Identifier: MIT
"""Frames of the link protocol: the 64-byte header, the records that some frames carry, and frames
in a byte stream.

Codecs only: nothing here knows the state of a link (`link_state.py` does). Everything is little-endian.
Received bytes are
hostile: `check_frame()` returns a frame's header or the reason why the frame cannot be used, and
    never raises.
Specified in docs/spec/link.md, sections 1 and 2, and docs/spec/cable.md, section 2.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, Self

from crc32c import crc32c

from emulator.protocol.constants import (
    CABLE_FLAG_CHECKED,
    CABLE_NODE,
    FRAME_HEADER_SIZE,
    FRAME_MAGIC,
    FRAME_VERSION,
    ClusterConstants,
    Direction,
    FrameType,
    LinkDrop,
)

__all__ = [
    "CableRecord",
    "FrameHeader",
    "FrameStream",
    "RefuseRecord",
    "TrainRecord",
    "cable_frame",
    "check_frame",
    "encode_frame",
    "header_fault",
]

_HEADER: Final = struct.Struct("<HBBHHQQIIBBHIIIIIII")
_HEADER_CRC: Final = struct.Struct("<I")
_TRAIN: Final = struct.Struct("<IIBBHIIIIIQQQQIIQQQQ")
_REFUSE: Final = struct.Struct("<IIQ")
_CABLE: Final = struct.Struct("<IIII")
_MAGIC_BYTES: Final = FRAME_MAGIC.to_bytes(2, "little")
_HEADER_CRC_OFFSET: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameHeader:
    """Header of a frame; the fields of docs/spec/link.md, section 1, less the constant and reserved
    ones.

    `type` is a plain number because a received frame may say anything; `payload_crc` is what the
    frame carries.
    """

    src_node: int
    dst_node: int
    src_incarnation: int = 0
    dst_incarnation: int = 0
    src_epoch: int = 0
    dst_epoch: int = 0
    type: int
    flags: int = 0
    route: int = 0
    length: int = 0
    seq: int = 0
    ack: int = 0
    flipc_ack: int = 0
    flipc_credit: int = 0
    payload_crc: int = 0

    @classmethod
    def parse(cls, data: bytes | bytearray | memoryview) -> Self:
        """Return the header at the start of `data` without judging it.

        Args:
            data: At least 64 bytes.

        Raises:
            struct.error: `data` is shorter.
        """
        fields = _HEADER.unpack_from(data)
        return cls(
            src_node=fields[3],
            dst_node=fields[4],
            src_incarnation=fields[5],
            dst_incarnation=fields[6],
            src_epoch=fields[7],
            dst_epoch=fields[8],
            type=fields[9],
            flags=fields[10],
            route=fields[11],
            length=fields[12],
            seq=fields[13],
            ack=fields[14],
            flipc_ack=fields[15],
            flipc_credit=fields[16],
            payload_crc=fields[17],
        )

    def serialize(self) -> bytes:
        """Return the 64 bytes of this header, the header CRC included."""
        packed = _HEADER.pack(
            FRAME_MAGIC,
            FRAME_VERSION,
            0,
            self.src_node,
            self.dst_node,
            self.src_incarnation,
            self.dst_incarnation,
            self.src_epoch,
            self.dst_epoch,
            self.type,
            self.flags,
            self.route,
            self.length,
            self.seq,
            self.ack,
            self.flipc_ack,
            self.flipc_credit,
            self.payload_crc,
            0,
        )
        head = packed[:_HEADER_CRC_OFFSET]
        return head + _HEADER_CRC.pack(crc32c(head))

    def check(self, payload: bytes | memoryview, payload_checked: bool) -> LinkDrop | None:
        """Return why `payload` is not what this header announces, or None.

        Args:
            payload: The bytes that followed the header.
            payload_checked: True if DATA frames of this direction carry a payload CRC.
        """
        if len(payload) != self.length:
            return LinkDrop.BAD_LENGTH
        covered = payload_checked or self.type != FrameType.DATA or self.payload_crc != 0
        expected = crc32c(payload) if covered and self.length else 0
        return None if self.payload_crc == expected else LinkDrop.BAD_PAYLOAD

    def __str__(self) -> str:
        try:
            name = FrameType(self.type).name
        except ValueError:
            name = f"type{self.type}"
        return (
            f"{name} {self.src_node}->{self.dst_node} epoch {self.src_epoch}/{self.dst_epoch} "
            f"life {self.src_incarnation:#x}/{self.dst_incarnation:#x} flags {self.flags} "
            f"seq {self.seq} ack {self.ack} flipc {self.flipc_ack}/{self.flipc_credit} "
            f"+{self.length}"
        )


def encode_frame(header: FrameHeader, payload: bytes = b"") -> bytes:
    """Return the bytes of a frame; `header.length` and `header.payload_crc` are taken as they
    are."""
    return header.serialize() + payload


def _header_fault(data: bytes | bytearray | memoryview, offset: int, mtu: int) -> LinkDrop | None:
    """Judge the 64 bytes at `offset`, which are all there."""
    if data[offset] != _MAGIC_BYTES[0] or data[offset + 1] != _MAGIC_BYTES[1]:
        return LinkDrop.BAD_HEADER
    if data[offset + 2] != FRAME_VERSION:
        return LinkDrop.BAD_HEADER
    crc_at = offset + _HEADER_CRC_OFFSET
    (header_crc,) = _HEADER_CRC.unpack_from(data, crc_at)
    if crc32c(bytes(data[offset:crc_at])) != header_crc:
        return LinkDrop.BAD_HEADER
    (length,) = _HEADER_CRC.unpack_from(data, offset + 36)
    return LinkDrop.BAD_LENGTH if length > mtu else None


def header_fault(frame: bytes, mtu: int) -> LinkDrop | None:
    """Return why the header of a received frame cannot be used, or None; the payload is not judged.

    Args:
        frame: The whole frame as the PHY delivered it.
        mtu: Largest payload that may be announced, in bytes.
    """
    if len(frame) < FRAME_HEADER_SIZE:
        return LinkDrop.BAD_HEADER
    return _header_fault(frame, 0, mtu)


def check_frame(frame: bytes, mtu: int, *, payload_checked: bool) -> FrameHeader | LinkDrop:
    """Return the header of a received frame, or why the frame cannot be used.

    Args:
        frame: The whole frame as the PHY delivered it.
        mtu: Largest payload this end receives, in bytes.
        payload_checked: True if DATA frames of this direction carry a payload CRC.
    """
    if len(frame) < FRAME_HEADER_SIZE:
        return LinkDrop.BAD_HEADER
    fault = _header_fault(frame, 0, mtu)
    if fault is not None:
        return fault
    header = FrameHeader.parse(frame)
    fault = header.check(memoryview(frame)[FRAME_HEADER_SIZE:], payload_checked)
    return header if fault is None else fault


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRecord:
    """Payload of a TRAIN frame (docs/spec/link.md, section 2)."""

    SIZE = 104

    version_min: int = 1
    version_max: int = 1
    byte_order: int = 1
    data_model: int = 2
    flags: int = 0
    mtu: int
    message_max: int
    constants: ClusterConstants
    flipc_next: int = 0
    clock_ns: int = 0
    echo_clock_ns: int = 0
    echo_received_ns: int = 0
    capabilities: int = 0

    @classmethod
    def parse(cls, payload: bytes | memoryview) -> Self | None:
        """Return the record at the start of `payload`, or None if it is too short; a longer one is
        fine."""
        if len(payload) < cls.SIZE:
            return None
        f = _TRAIN.unpack_from(payload)
        return cls(
            version_min=f[0],
            version_max=f[1],
            byte_order=f[2],
            data_model=f[3],
            flags=f[4],
            mtu=f[5],
            message_max=f[6],
            constants=ClusterConstants(
                nodes_max=f[7],
                window=f[8],
                keepalive_ns=f[10],
                link_down_after_ns=f[11],
                dead_after_ns=f[12],
                ack_delay_ns=f[13],
                ack_count=f[14],
            ),
            flipc_next=f[15],
            clock_ns=f[16],
            echo_clock_ns=f[17],
            echo_received_ns=f[18],
            capabilities=f[19],
        )

    def serialize(self) -> bytes:
        """Return the 104 bytes of this record."""
        constants = self.constants
        return _TRAIN.pack(
            self.version_min,
            self.version_max,
            self.byte_order,
            self.data_model,
            self.flags,
            self.mtu,
            self.message_max,
            constants.nodes_max,
            constants.window,
            0,
            constants.keepalive_ns,
            constants.link_down_after_ns,
            constants.dead_after_ns,
            constants.ack_delay_ns,
            constants.ack_count,
            self.flipc_next,
            self.clock_ns,
            self.echo_clock_ns,
            self.echo_received_ns,
            self.capabilities,
        )

    def __str__(self) -> str:
        return (
            f"protocol {self.version_min}..{self.version_max} order {self.byte_order} "
            f"model {self.data_model} flags {self.flags} mtu {self.mtu} "
            f"message_max {self.message_max} flipc_next {self.flipc_next}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RefuseRecord:
    """Payload of a REFUSE frame."""

    SIZE = 16

    reason: int
    incarnation: int

    @classmethod
    def parse(cls, payload: bytes | memoryview) -> Self | None:
        """Return the record at the start of `payload`, or None if it is too short."""
        if len(payload) < cls.SIZE:
            return None
        reason, _, incarnation = _REFUSE.unpack_from(payload)
        return cls(reason=reason, incarnation=incarnation)

    def serialize(self) -> bytes:
        """Return the 16 bytes of this record."""
        return _REFUSE.pack(self.reason, 0, self.incarnation)

    def __str__(self) -> str:
        return f"refused {self.incarnation:#x} reason {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CableRecord:
    """Payload of a CABLE frame: what became of one direction of the end that receives it."""

    SIZE = 16

    direction: int
    carrier: int
    generation: int
    flags: int = 0

    @classmethod
    def parse(cls, payload: bytes | memoryview) -> Self | None:
        """Return the record at the start of `payload`, or None if it is too short."""
        if len(payload) < cls.SIZE:
            return None
        direction, carrier, generation, flags = _CABLE.unpack_from(payload)
        return cls(direction=direction, carrier=carrier, generation=generation, flags=flags)

    def serialize(self) -> bytes:
        """Return the 16 bytes of this record."""
        return _CABLE.pack(self.direction, self.carrier, self.generation, self.flags)

    def __str__(self) -> str:
        state = "up" if self.carrier else "down"
        return (
            f"cable direction {self.direction} {state} "
            f"generation {self.generation} flags {self.flags}"
        )


def cable_frame(direction: Direction, *, up: bool, generation: int, checked: bool = True) -> bytes:
    """Return the frame by which the cable of a byte stream tells an end about one of its
    directions.

    Args:
        direction: As the receiving end sees it.
        up: Whether the direction has carrier now.
        generation: One that this direction has not had before whenever it comes up.
        checked: True if bytes may change on the way.
    """
    record = CableRecord(
        direction=direction,
        carrier=int(up),
        generation=generation,
        flags=CABLE_FLAG_CHECKED if checked else 0,
    )
    payload = record.serialize()
    header = FrameHeader(
        src_node=CABLE_NODE,
        dst_node=0,
        type=FrameType.CABLE,
        length=len(payload),
        payload_crc=crc32c(payload),
    )
    return encode_frame(header, payload)


class FrameStream:
    """Cuts a byte stream into frames and finds the next frame after garbage.

    Only the header is checked here; the payload CRC is the link's business. Holds at most one
    unfinished frame.
    """

    def __init__(self, mtu: int) -> None:
        """Begin with an empty stream.

        Args:
            mtu: Largest payload this end receives, in bytes; a longer length is garbage.
        """
        self._mtu = mtu
        self._buffer = bytearray()
        self._skipped_bytes = 0

    @property
    def skipped_bytes(self) -> int:
        """Bytes thrown away so far because they began no frame."""
        return self._skipped_bytes

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes of the stream and return every frame that is complete now."""
        self._buffer += data
        frames: list[bytes] = []
        offset = 0
        end = len(self._buffer)
        while end - offset >= FRAME_HEADER_SIZE:
            if _header_fault(self._buffer, offset, self._mtu) is not None:
                offset = self._next_candidate(offset + 1)
                continue
            (length,) = _HEADER_CRC.unpack_from(self._buffer, offset + 36)
            frame_end = offset + FRAME_HEADER_SIZE + length
            if frame_end > end:
                break
            frames.append(bytes(self._buffer[offset:frame_end]))
            offset = frame_end
        del self._buffer[:offset]
        return frames

    def _next_candidate(self, start: int) -> int:
        """Return the next offset from `start` on at which a magic may begin, and count the skipped
        bytes."""
        found = self._buffer.find(_MAGIC_BYTES, start)
        if found < 0:
            end = len(self._buffer)
            found = end - 1 if self._buffer[-1] == _MAGIC_BYTES[0] and end > start else end
        self._skipped_bytes += found - (start - 1)
        return found
