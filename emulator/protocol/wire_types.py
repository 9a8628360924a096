# SPDX-License-Identifier: MIT
"""What the codecs of messages share: the rights that names carry, records of a fixed size, and the
error of all of them."""

from __future__ import annotations

import struct
from enum import IntEnum

__all__ = ["Disposition", "MalformedMessage", "exactly"]


class MalformedMessage(Exception):
    """Bytes that are no message; the text says what is wrong with them."""


class Disposition(IntEnum):
    """The right that a port name in a message carries; RECEIVE only in a descriptor."""

    NONE = 0
    RECEIVE = 16
    SEND = 17
    SEND_ONCE = 18


def exactly(layout: struct.Struct, data: bytes, what: str) -> tuple[int, ...]:
    """Return the numbers of a record that is all there is.

    Args:
        layout: Of the record; numbers only.
        data: Any bytes.
        what: Names the record in the error.

    Raises:
        MalformedMessage: The bytes are fewer or more.
    """
    if len(data) != layout.size:
        raise MalformedMessage(f"{what} of {len(data)} bytes, not {layout.size}")
    return layout.unpack(data)
