# SPDX-License-Identifier: MIT
"""Contents and digests of checked traffic, so that the host can compute what every end should hold.

The functions that docs/spec/flipc.md, section 4, names: content of message n of a stream, its hash,
and the running hash over messages 0 .. n-1.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from emulator.protocol.wire_types import MalformedMessage

TRAFFIC_MAGIC: Final = 0x46525448
CHECK_HEADER: Final = 0
CHECK_CONTENT: Final = 1

_MASK: Final = 0xFFFF_FFFF_FFFF_FFFF
_GOLDEN: Final = 0x9E37_79B9_7F4A_7C15
_HEADER: Final = struct.Struct("<IIQQQQQ")
HEADER_SIZE: Final = _HEADER.size


def splitmix64(value: int) -> int:
    """Return the splitmix64 finaliser of a 64-bit value."""
    value = (value ^ value >> 30) * 0xBF58_476D_1CE4_E5B9 & _MASK
    value = (value ^ value >> 27) * 0x94D0_49BB_1331_11EB & _MASK
    return value ^ value >> 31


def _mix(a: int, b: int, c: int) -> int:
    b_rotated = (b << 24 | b >> 40) & _MASK
    c_rotated = (c << 48 | c >> 16) & _MASK
    return splitmix64(a ^ b_rotated ^ c_rotated)


def _words(seed: int, sequence: int, count: int) -> list[int]:
    """Return the first `count` words of a message's xorshift64* stream."""
    state = seed ^ (sequence * _GOLDEN & _MASK)
    state = state or _GOLDEN  # xorshift has no way out of 0
    words: list[int] = []
    for _ in range(count):
        state ^= state >> 12
        state ^= state << 25 & _MASK
        state ^= state >> 27
        words.append(state * 0x2545_F491_4F6C_DD1D & _MASK)
    return words


def traffic_content(seed: int, sequence: int, len_bytes: int) -> bytes:
    """Return what follows the traffic header in message `sequence` of a stream."""
    words = _words(seed, sequence, (len_bytes + 7) // 8)
    return struct.pack(f"<{len(words)}Q", *words)[:len_bytes]


def traffic_hash(seed: int, sequence: int, size_bytes: int, check: int) -> int:
    """Return the hash of one message.

    Args:
        seed: Of the stream.
        sequence: Of the message, from 0.
        size_bytes: Of the whole body, header included.
        check: 1 to cover the content, 0 not to.
    """
    value = _mix(seed, sequence, size_bytes)
    if check == CHECK_CONTENT:
        content = traffic_content(seed, sequence, size_bytes - HEADER_SIZE)
        content += bytes(-len(content) % 8)
        for (word,) in struct.iter_unpack("<Q", content):
            value = splitmix64(value ^ word)
    return value


def traffic_digest(
    seed: int, count: int, size_bytes: int, check: int, *, start: int = 0, value: int = 0
) -> int:
    """Return the running hash after messages 0 .. count-1 of a stream.

    Args:
        seed: Of the stream.
        count: Messages covered.
        size_bytes: Of each body.
        check: 0 header only, 1 whole content.
        start: Go on from here: messages before this one are in `value`.
        value: Running hash after messages 0 .. start-1.
    """
    if check != CHECK_HEADER:
        for sequence in range(start, count):
            value = splitmix64(value ^ traffic_hash(seed, sequence, size_bytes, check))
        return value
    # The same as above, spelled out: runs of millions of messages are checked with it.
    fixed = seed ^ ((size_bytes << 48 | size_bytes >> 16) & _MASK)
    for sequence in range(start, count):
        x = fixed ^ ((sequence << 24 | sequence >> 40) & _MASK)
        x = (x ^ x >> 30) * 0xBF58_476D_1CE4_E5B9 & _MASK
        x = (x ^ x >> 27) * 0x94D0_49BB_1331_11EB & _MASK
        x ^= x >> 31 ^ value
        x = (x ^ x >> 30) * 0xBF58_476D_1CE4_E5B9 & _MASK
        x = (x ^ x >> 27) * 0x94D0_49BB_1331_11EB & _MASK
        value = x ^ x >> 31
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficHeader:
    """First 48 bytes of the body of a TRAFFIC_DATA message."""

    check: int
    stream_id: int
    sequence: int
    source_incarnation: int
    seed: int
    hash: int

    @classmethod
    def parse(cls, body: bytes) -> TrafficHeader:
        """Return the header at the start of a body.

        Raises:
            MalformedMessage: Too short, or another magic.
        """
        if len(body) < HEADER_SIZE:
            raise MalformedMessage(f"traffic message of {len(body)} bytes")
        magic, check, stream_id, sequence, source_incarnation, seed, hashed = _HEADER.unpack_from(
            body
        )
        if magic != TRAFFIC_MAGIC:
            raise MalformedMessage(f"traffic magic {magic:#x}")
        return cls(
            check=check,
            stream_id=stream_id,
            sequence=sequence,
            source_incarnation=source_incarnation,
            seed=seed,
            hash=hashed,
        )

    def serialize(self) -> bytes:
        """Return the 48 bytes."""
        return _HEADER.pack(
            TRAFFIC_MAGIC,
            self.check,
            self.stream_id,
            self.sequence,
            self.source_incarnation,
            self.seed,
            self.hash,
        )


def traffic_message(
    *,
    stream_id: int,
    sequence: int,
    source_incarnation: int,
    seed: int,
    size_bytes: int,
    check: int,
) -> bytes:
    """Return the body of message `sequence` of a stream, `size_bytes` long."""
    header = TrafficHeader(
        check=check,
        stream_id=stream_id,
        sequence=sequence,
        source_incarnation=source_incarnation,
        seed=seed,
        hash=traffic_hash(seed, sequence, size_bytes, check),
    )
    return header.serialize() + traffic_content(seed, sequence, size_bytes - HEADER_SIZE)
