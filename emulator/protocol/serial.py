# SPDX-License-Identifier: MIT
"""Serial arithmetic: numbers of 32 bits that begin again at 0, compared over the shorter way.

It holds while all numbers that are compared lie within 2^31 of each other.
"""

from __future__ import annotations

from typing import Final

__all__ = ["MASK", "distance", "following"]

MASK: Final = 0xFFFFFFFF


def distance(a: int, b: int) -> int:
    """Return a - b as a signed number: negative if `a` comes before `b`."""
    delta = (a - b) & MASK
    return delta - 0x1_0000_0000 if delta & 0x8000_0000 else delta


def following(number: int) -> int:
    """Return the number after this one."""
    return (number + 1) & MASK
