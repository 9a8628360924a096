# SPDX-License-Identifier: MIT
"""Maps a node's clock to the host's, with an error bound. No I/O.

A node's clock counts from its boot; the offset to the host's monotonic clock is unknown but
bounded: what was seen at a moment happened before it, what was not there at an earlier look
happened after that, and a training exchange bounds it from both sides. The bounds widen with time,
because the two clocks need not run at exactly the same rate.
"""

from __future__ import annotations

from typing import Final

DRIFT_PPM: Final = 200  # a guest calibrates its counter in a few milliseconds
CONFLICT_WIDTH_NS: Final = 1_000_000


class ClockMap:
    """Offset between the clock of one life of a node and the host's.

    Args:
        not_before_ns: host time at which the node's clock cannot have been above 0.
    """

    def __init__(self, not_before_ns: int) -> None:
        self._low = not_before_ns
        self._low_at = not_before_ns
        self._high: int | None = None
        self._high_at = not_before_ns

    def happened_before(self, guest_ns: int, host_ns: int) -> None:
        """Something the node stamped `guest_ns` was seen at `host_ns`."""
        high = host_ns - guest_ns
        if self._high is None or high <= self._high_now(host_ns):
            self._high, self._high_at = high, host_ns
            if self._low_now(host_ns) > high:
                self._low, self._low_at = high - CONFLICT_WIDTH_NS, host_ns

    def happened_after(self, guest_ns: int, host_ns: int) -> None:
        """Something the node stamped `guest_ns` had not happened yet at `host_ns`."""
        low = host_ns - guest_ns
        if low < self._low_now(host_ns):
            return
        # The node stamps an event before it publishes it, and may be preempted in between; so such a
        # bound can be wrong, unlike one from having seen something: where they conflict, it loses.
        if self._high is None or low <= self._high_now(host_ns):
            self._low, self._low_at = low, host_ns

    def measured(self, offset_ns: int, error_ns: int, taken_ns: int) -> None:
        """An exchange with the node bounded the offset from both sides."""
        low, high = offset_ns - error_ns, offset_ns + error_ns
        if self._high is None or high <= self._high_now(taken_ns):
            self._high, self._high_at = high, taken_ns
        if low >= self._low_now(taken_ns) or self._low_now(taken_ns) > high:
            self._low, self._low_at = low, taken_ns

    def stood_still(self) -> None:
        """The node was stopped for a while: its clock fell back by an unknown time."""
        self._high = None

    def host_time(self, guest_ns: int, now_ns: int) -> tuple[int, int]:
        """The host's time for a node's.

        Args:
            guest_ns: the node's time, not later than now.
            now_ns: the host's time now.

        Returns:
            Host time and error bound, both in nanoseconds.
        """
        low = self._low_now(now_ns) + guest_ns
        high = now_ns if self._high is None else min(now_ns, self._high_now(now_ns) + guest_ns)
        low = min(low, high)
        return (low + high) // 2, (high - low + 1) // 2

    def _low_now(self, now_ns: int) -> int:
        return self._low - _drift(now_ns - self._low_at)

    def _high_now(self, now_ns: int) -> int:
        assert self._high is not None
        return self._high + _drift(now_ns - self._high_at)


def _drift(elapsed_ns: int) -> int:
    return max(0, elapsed_ns) * DRIFT_PPM // 1_000_000
