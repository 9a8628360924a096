# SPDX-License-Identifier: MIT
"""Decides when black boxes are looked at.

A black box is memory that a guest writes; nothing rings when it does. So it is looked at after
every arrival of frames from that node, and by the clock: often while somebody waits for a change,
seldom otherwise. Times of events come from the nodes' own clocks, so how often we look bounds how
soon we know, not how well.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

from emulator.runtime.link_runtime import LinkRuntime
from emulator.runtime.node_runtime import NodeRuntime
from emulator.runtime.watch import Watch

BUSY_PERIOD_S: Final = 0.002
IDLE_PERIOD_S: Final = 0.02  # a node that resets itself leaves its last words for 0.05 s


async def sample(nodes: Sequence[NodeRuntime], links: Sequence[LinkRuntime], watch: Watch) -> None:
    """Look at every node until cancelled."""
    while True:
        for node in nodes:
            node.look()
        if watch.busy.is_set():
            await asyncio.sleep(BUSY_PERIOD_S)
            continue
        for link in links:
            link.check_page()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(IDLE_PERIOD_S):
                await watch.busy.wait()
