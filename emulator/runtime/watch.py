# SPDX-License-Identifier: MIT
"""Waiting for a condition on the cluster: woken by changes, bounded by a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from emulator.runtime.deadline import Deadline


class Watch:
    """Wakes whoever waits for something that may have changed.

    `busy` is set while anybody waits; the black boxes are then looked at now and then.
    """

    def __init__(self) -> None:
        self._waiters: set[asyncio.Future[None]] = set()
        self.busy = asyncio.Event()

    def changed(self) -> None:
        """Something changed: let every waiter look."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def until(self, condition: Callable[[], bool], deadline: Deadline) -> None:
        """Wait until a condition holds.

        Args:
            condition: looked at now and after each change; must not block. What it raises ends the
                wait.
            deadline: when to give up.

        Raises:
            TimeoutError: it does not hold at the deadline.
        """
        loop = asyncio.get_running_loop()
        async with deadline.timeout():
            while not condition():
                waiter: asyncio.Future[None] = loop.create_future()
                self._waiters.add(waiter)
                self.busy.set()
                try:
                    await waiter
                finally:
                    self._waiters.discard(waiter)
                    if not self._waiters:
                        self.busy.clear()
