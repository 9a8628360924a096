# SPDX-License-Identifier: MIT
"""What the codecs of messages share: the rights that names carry, and the error of all of them."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Disposition", "MalformedMessage"]


class MalformedMessage(Exception):
    """Bytes that are no message; the text says what is wrong with them."""


class Disposition(IntEnum):
    """The right that a port name in a message carries; RECEIVE only in a descriptor."""

    NONE = 0
    RECEIVE = 16
    SEND = 17
    SEND_ONCE = 18
