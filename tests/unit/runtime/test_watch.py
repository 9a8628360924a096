# SPDX-License-Identifier: MIT
"""Waiting for conditions, with deadlines."""

from __future__ import annotations

import asyncio

import pytest

from emulator.runtime.deadline import Deadline
from emulator.runtime.watch import Watch


async def test_condition_that_holds_does_not_wait() -> None:
    watch = Watch()
    await watch.until(lambda: True, Deadline.after(0))
    assert not watch.busy.is_set()


async def test_change_wakes_everybody_and_busy_follows() -> None:
    watch, state = Watch(), {"value": 0}

    async def wait_for(value: int) -> None:
        await watch.until(lambda: state["value"] >= value, Deadline.after(2))

    async with asyncio.TaskGroup() as tasks:
        waits = [tasks.create_task(wait_for(value)) for value in (1, 2, 2)]
        await asyncio.sleep(0)
        assert watch.busy.is_set()
        state["value"] = 1
        watch.changed()
        await waits[0]
        assert watch.busy.is_set()
        state["value"] = 2
        watch.changed()
    assert not watch.busy.is_set()


async def test_deadline_ends_it() -> None:
    watch = Watch()
    with pytest.raises(TimeoutError):
        await watch.until(lambda: False, Deadline.after(0.01))
    assert not watch.busy.is_set()


async def test_what_the_condition_raises_ends_it() -> None:
    def broken() -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await Watch().until(broken, Deadline.after(1))


def test_deadline() -> None:
    deadline = Deadline.after(60)
    assert 59 < deadline.remaining_s <= 60
    assert not deadline.expired
    assert Deadline.after(0).expired
    assert Deadline.after(-1).remaining_s == 0
