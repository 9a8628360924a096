# SPDX-License-Identifier: MIT
"""Who on the host waits for what becomes of a port: its death, or the end of its last sender.

Node 0's kernel tells both by messages to one port, which is here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from emulator.protocol.ipc import IpcSpace, Port
from emulator.protocol.services import Notification

__all__ = ["Watches"]


class Watches:
    """All of node 0."""

    def __init__(self, space: IpcSpace) -> None:
        """Begin with nobody.

        Args:
            space: Node 0's.
        """
        self._space = space
        self._port = space.create(limit=1)
        self._port.context = self
        self._deaths: dict[int, list[Callable[[], None]]] = {}  # by name
        self._senders: dict[int, list[asyncio.Future[None]]] = {}

    def death(self, port: Port, listener: Callable[[], None]) -> None:
        """Call `listener` when a port dies, or soon if it is dead."""
        self._deaths.setdefault(port.name, []).append(listener)
        self._space.notify_dead(port, self._port)

    def senders(self, port: Port) -> asyncio.Future[None]:
        """Return what is done when nobody has a send right to a port that is here."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._senders.setdefault(self._space.name_of(port), []).append(future)
        self._space.notify_no_senders(port, self._port)
        return future

    def end_senders(self, name: int) -> None:
        """End every wait for the senders of the port of that name."""
        for future in self._senders.pop(name, []):
            if not future.done():
                future.set_result(None)

    def ready(self) -> None:
        """Something was told."""
        while (message := self._space.next_message(self._port, time.monotonic_ns())) is not None:
            name = int.from_bytes(message.body[:8], "little")
            if message.id == Notification.NO_SENDERS:
                self.end_senders(name)
            elif message.id == Notification.DEAD_NAME:
                listeners = self._deaths.pop(name, [])
                for listener in listeners:
                    listener()
