# SPDX-License-Identifier: MIT
"""Where frames end in a byte stream, found by their lengths alone. No I/O, no checksums.

A relay needs it for three things: to put its own CABLE frames between two frames, to stop after a
whole frame, and to go on at the beginning of one. It is no parser: a stream that carries garbage is
passed on as it is, and the receiver's checks deal with it.
"""

from __future__ import annotations

import struct
from typing import Final

HEADER_BYTES: Final = 64  # FRAME_HEADER_SIZE
PAYLOAD_MAXIMUM: Final = 65536  # FRAME_MTU_MAXIMUM
_MAGIC: Final = b"MN"  # FRAME_MAGIC, little-endian
_LENGTH = struct.Struct("<I")
_LENGTH_OFFSET: Final = 36


class Boundary:
    """Position in a stream of frames. A new one stands between two frames."""

    def __init__(self) -> None:
        self._header = b""  # what is known of a header that has begun
        self._payload_left = 0

    @property
    def is_here(self) -> bool:
        """Whether the position is between two frames."""
        return not self._header and not self._payload_left

    @property
    def missing(self) -> int:
        """Bytes to the end of the frame, or of its header while that is incomplete."""
        return self._payload_left or (HEADER_BYTES - len(self._header) if self._header else 0)

    def copy(self) -> Boundary:
        """A second position at the same place."""
        other = Boundary()
        other._header = self._header
        other._payload_left = self._payload_left
        return other

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Move over bytes."""
        self._move(bytes(data), stop=False)

    def distance(self, data: bytes | bytearray | memoryview) -> int | None:
        """How many of these bytes lie before the next place between two frames.

        Returns:
            The count, 0 if the position is such a place, None if it lies beyond `data`.
        """
        if self.is_here:
            return 0
        return self.copy()._move(bytes(data), stop=True)

    def _move(self, data: bytes, *, stop: bool) -> int | None:
        at = 0
        while at < len(data):
            if self._payload_left:
                step = min(self._payload_left, len(data) - at)
                self._payload_left -= step
                at += step
            else:
                at = self._move_header(data, at)
            if stop and self.is_here:
                return at
        return None

    def _move_header(self, data: bytes, at: int) -> int:
        """Move to the end of the header, of the data, or of the garbage before a header."""
        if self._header == _MAGIC[:1] and data[at : at + 1] != _MAGIC[1:]:
            self._header = b""  # it was no header
            return at
        if not self._header:
            start = data.find(_MAGIC, at)
            if start < 0:
                self._header = _MAGIC[:1] if data.endswith(_MAGIC[:1]) else b""
                return len(data)
            at = start
        end = min(at + HEADER_BYTES - len(self._header), len(data))
        self._header += data[at:end]
        if len(self._header) == HEADER_BYTES:
            length = _LENGTH.unpack_from(self._header, _LENGTH_OFFSET)[0]
            self._payload_left = length if length <= PAYLOAD_MAXIMUM else 0
            self._header = b""
        return end
