# SPDX-License-Identifier: MIT
"""Ports of node 0 that tasks of the host receive on."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from emulator.errors import DeadlineExpired, UsageError
from emulator.protocol.flipc import IpcArrived, Pair
from emulator.protocol.mnl import MachMessage, NakReason
from emulator.protocol.names import describe
from emulator.runtime.deadline import Deadline
from emulator.runtime.host_link import ManagementLink

__all__ = ["ListenPort", "ReceivePort"]


@dataclass(frozen=True, slots=True)
class _Parked:
    """A message in a port's queue, not settled yet."""

    link: ManagementLink
    pair: Pair
    sequence: int
    message: MachMessage


class ListenPort:
    """A port of node 0 whose messages go to a function at once; each is settled by that.

    The function gets the guest's id and the message. It must not wait.
    """

    def __init__(
        self,
        name: int,
        forget: Callable[[int], None],
        handler: Callable[[int, MachMessage], None],
    ) -> None:
        """Begin; made by `HostNode.listen()`.

        Args:
            name: Of the port, for messages to it.
            forget: Called with the name when the port closes.
            handler: Called with each message.
        """
        self.name = name
        self._forget = forget
        self._handler = handler

    def close(self) -> None:
        """Close the port: what comes later is refused as DEAD_PORT."""
        self._forget(self.name)

    def deliver(self, link: ManagementLink, arrival: IpcArrived) -> None:
        """Hand a message over."""
        link.consumed(link.pair, arrival.sequence)
        self._handler(link.node_id, arrival.message)


class ReceivePort:
    """A port of node 0: guests send to `name`, a task of the host receives.

    A message counts as received, and is settled at its source, when `receive()` returned it.
    """

    def __init__(self, name: int, forget: Callable[[int], None]) -> None:
        """Begin empty; made by `HostNode.port()`.

        Args:
            name: Of the port, for messages to it.
            forget: Called with the name when the port closes.
        """
        self.name = name
        self._forget = forget
        self._queue: deque[_Parked] = deque()
        self._arrived = asyncio.Event()
        self._is_closed = False

    async def receive(self, deadline: Deadline) -> MachMessage:
        """Return the next message; cancellation leaves it in the queue.

        Args:
            deadline: By when it has to be there.

        Raises:
            DeadlineExpired: None came in time.
            UsageError: The port is closed.
        """
        try:
            async with deadline.timeout():
                while not self._queue:
                    if self._is_closed:
                        raise UsageError(f"port {describe(self.name)} is closed")
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            raise DeadlineExpired(
                f"no message came to port {describe(self.name)} within {deadline.within_s:g} s"
            ) from None
        parked = self._queue.popleft()
        parked.link.consumed(parked.pair, parked.sequence)
        return parked.message

    def close(self) -> None:
        """Close the port: what waits in it is refused as DEAD_PORT, as is whatever comes later."""
        if self._is_closed:
            return
        self._is_closed = True
        self._arrived.set()
        self._forget(self.name)
        for parked in self._queue:
            if parked.pair is parked.link.pair:
                parked.link.refuse(parked.sequence, NakReason.DEAD_PORT)
        self._queue.clear()

    def deliver(self, link: ManagementLink, arrival: IpcArrived) -> None:
        """Queue a message; the credit of its source bounds the queue."""
        self._queue.append(_Parked(link, link.pair, arrival.sequence, arrival.message))
        self._arrived.set()
