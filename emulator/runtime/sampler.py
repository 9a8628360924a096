# SPDX-License-Identifier: MIT
"""The safety net under the reading of black boxes.

A black box is memory that a guest writes; nothing rings when it does. But a node that records an
event sends a frame soon, and its box is read at each of its frames, at its resets and after its end
(docs/design/decisions.md, D26). What no frame tells is seen here, while somebody waits for
something: events of a node that cannot reach node 0, and cable pages that somebody wrote to. And
when this task itself was woken much too late, so was everything else here: that is told as well.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from emulator.events.stream import EventStream
from emulator.events.types import HostStalled
from emulator.runtime.link_runtime import LinkRuntime
from emulator.runtime.node_runtime import NodeRuntime
from emulator.runtime.watch import Watch

LOOK_PERIOD_S: Final = 0.25
STALL_S: Final = 0.25  # a link is down after a second of silence


async def sample(
    nodes: Sequence[NodeRuntime], links: Sequence[LinkRuntime], watch: Watch, stream: EventStream
) -> None:
    """Look at everything every `LOOK_PERIOD_S` while somebody waits, until cancelled."""
    while True:
        await watch.busy.wait()
        slept_s = time.monotonic()
        await asyncio.sleep(LOOK_PERIOD_S)
        late_s = time.monotonic() - slept_s - LOOK_PERIOD_S
        if late_s > STALL_S:
            stream.emit(HostStalled(for_s=round(late_s, 3)))
        for node in nodes:
            node.look()
        for link in links:
            link.check_page()
