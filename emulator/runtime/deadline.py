# SPDX-License-Identifier: MIT
"""A moment by which something must have happened; passed down, never re-computed from a timeout on
the way."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """A moment on the host's monotonic clock.

    Args:
        at_ns: the moment, in `time.monotonic_ns()`.
        within_s: how long it was when it was set, for messages.
    """

    at_ns: int
    within_s: float

    @classmethod
    def after(cls, within_s: float) -> Deadline:
        """The moment `within_s` seconds from now."""
        return cls(at_ns=time.monotonic_ns() + round(within_s * _NS_PER_S), within_s=within_s)

    @property
    def remaining_s(self) -> float:
        """Seconds left, 0 when it has passed."""
        return max(0.0, (self.at_ns - time.monotonic_ns()) / _NS_PER_S)

    @property
    def expired(self) -> bool:
        """Whether the moment has passed."""
        return time.monotonic_ns() >= self.at_ns

    def timeout(self) -> asyncio.Timeout:
        """An `async with` block that raises TimeoutError at the moment."""
        return asyncio.timeout(self.remaining_s)
