# SPDX-License-Identifier: MIT
"""The running hash of a stream's messages, computed by the host from the stream's seed alone."""

from __future__ import annotations

from emulator.checkers.history import StreamHistory
from emulator.protocol.traffic import CHECK_HEADER, traffic_digest

STEPS_MAXIMUM = 500_000  # a second of Python; longer streams are compared end with end only


def stream_digest(stream: StreamHistory, count: int) -> int | None:
    """What a sink must have after `count` messages; None when it would take too long to compute."""
    opened = stream.opened
    steps = count * (1 if opened.check == CHECK_HEADER else 1 + opened.size_bytes // 8)
    if steps > STEPS_MAXIMUM:
        return None
    return traffic_digest(opened.seed, count, opened.size_bytes, opened.check)
