# SPDX-License-Identifier: MIT
"""The safety net looks while somebody waits, and tells when it was woken too late."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from emulator.events.stream import EventStream
from emulator.events.types import HostStalled
from emulator.runtime.deadline import Deadline
from emulator.runtime.sampler import LOOK_PERIOD_S, STALL_S, sample
from emulator.runtime.watch import Watch


@contextlib.asynccontextmanager
async def sampling(watch: Watch, stream: EventStream) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(sample((), (), watch, stream))
        yield
        task.cancel()


async def wait_in_vain(watch: Watch, within_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        await watch.until(lambda: False, Deadline.after(within_s))


async def test_a_loop_that_was_not_let_run_is_told_of() -> None:
    watch, stream = Watch(), EventStream()
    async with sampling(watch, stream):
        asyncio.get_running_loop().call_later(
            LOOK_PERIOD_S / 2, time.sleep, LOOK_PERIOD_S + 2 * STALL_S
        )
        await wait_in_vain(watch, 2 * LOOK_PERIOD_S + 2 * STALL_S)
    stalls = [event for event in stream.history if isinstance(event, HostStalled)]
    assert stalls
    assert stalls[0].for_s > STALL_S


async def test_nothing_is_looked_at_while_nobody_waits() -> None:
    watch, stream = Watch(), EventStream()
    async with sampling(watch, stream):
        await asyncio.sleep(0)
        time.sleep(LOOK_PERIOD_S + 2 * STALL_S)  # noqa: ASYNC251  on purpose: it must not be told
        await asyncio.sleep(0)
    assert not stream.history
