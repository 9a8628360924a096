# SPDX-License-Identifier: MIT
"""Ports of node 0 that tasks of the host receive on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from emulator.errors import DeadlineExpired, UsageError
from emulator.protocol.ipc import Message, Port, PortItem, Transfer
from emulator.protocol.names import describe
from emulator.runtime.deadline import Deadline
from emulator.runtime.host_rights import HostMessage

if TYPE_CHECKING:
    from emulator.runtime.host_space import HostSpace

__all__ = ["HostPort", "ListenPort", "ReceivePort"]


class HostPort:
    """A port whose receive right node 0 has."""

    def __init__(self, host: HostSpace, port: Port, name: int) -> None:
        """Take a receive right over; made by `HostSpace`.

        Args:
            host: Node 0.
            port: Its port.
            name: Of it, for messages to it.
        """
        self.name = name
        self.port = port
        self.is_closed = False
        self._host = host

    def close(self) -> None:
        """End the port: what waits in it is refused as DEAD_PORT, as is whatever comes later."""
        if not self.is_closed:
            self._leave()
            self._host.release_port(self.port)

    def ready(self) -> None:
        """A message was queued, or the port is closed."""

    # Rights to it, for messages ------------------------------------------------------------------

    def send_right(self) -> PortItem:
        """Return a send right for a message."""
        return PortItem(self._alive(), Transfer.MAKE_SEND)

    def send_once_right(self) -> PortItem:
        """Return a send-once right for a message."""
        return PortItem(self._alive(), Transfer.MAKE_SEND_ONCE)

    def receive_right(self) -> PortItem:
        """Return the receive right for a message: the port goes where that is received, with what
        is queued; this object is closed by that."""
        port = self._alive()
        self._leave()
        return PortItem(port, Transfer.MOVE_RECEIVE)

    def has_senders(self) -> bool:
        """Return whether anybody on any node has a send right to it, as far as is known here."""
        return not self.is_closed and self.port.has_senders()

    async def wait_no_senders(self, deadline: Deadline) -> None:
        """Wait until nobody on any node has a send right to the port; at once if nobody has one.

        Raises:
            DeadlineExpired: Somebody has one still.
            UsageError: The port is closed, or is while waiting.
        """
        gone = self._host.watch_senders(self._alive())
        try:
            async with deadline.timeout():
                await gone
            self._alive()
        except TimeoutError:
            raise DeadlineExpired(
                f"somebody has a right to port {describe(self.name)} after {deadline.within_s:g} s"
            ) from None

    def _leave(self) -> None:
        """The receive right is in these hands no more: whoever waits for something looks again."""
        self.is_closed = True
        self._host.unwatch_senders(self.port)
        self.ready()

    def _alive(self) -> Port:
        if self.is_closed:
            raise UsageError(f"port {describe(self.name)} is closed")
        return self.port


class ListenPort(HostPort):
    """A port of node 0 whose messages go to a function at once; each is settled by that.

    The function gets the id of the node that sent it and the message, whose rights are given back
    when it returns, but for that to reply. It must not wait.
    """

    def __init__(
        self, host: HostSpace, port: Port, name: int, handler: Callable[[int, HostMessage], None]
    ) -> None:
        """Begin; made by `HostSpace.listen()`.

        Args:
            host: Node 0.
            port: Its port.
            name: Of it.
            handler: Called with each message.
        """
        super().__init__(host, port, name)
        self._handler = handler

    def ready(self) -> None:
        """Hand over what is there."""
        while not self.is_closed and (message := self._host.take(self.port)) is not None:
            self._handle(message)

    def _handle(self, message: Message) -> None:
        received = HostMessage(self._host, message)
        try:
            self._handler(received.source, received)
        finally:
            received.release(keep_reply=True)


class ReceivePort(HostPort):
    """A port of node 0: nodes send to it, a task of the host receives.

    A message counts as received, and is settled at its source, when `receive()` returned it.
    """

    def __init__(self, host: HostSpace, port: Port, name: int) -> None:
        """Begin; made by `HostSpace.port()`.

        Args:
            host: Node 0.
            port: Its port.
            name: Of it.
        """
        super().__init__(host, port, name)
        self._changed = asyncio.Event()

    def ready(self) -> None:
        """Wake whoever waits."""
        self._changed.set()

    async def receive(self, deadline: Deadline, *, keep_rights: bool = False) -> HostMessage:
        """Return the next message; cancellation leaves it in the queue.

        Args:
            deadline: By when it has to be there.
            keep_rights: The rights that it brought are the caller's; else they are given back at
                once, but for that to reply.

        Raises:
            DeadlineExpired: None came in time.
            UsageError: The port is closed.
        """
        try:
            async with deadline.timeout():
                while (message := self._host.take(self._alive())) is None:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise DeadlineExpired(
                f"no message came to port {describe(self.name)} within {deadline.within_s:g} s"
            ) from None
        received = HostMessage(self._host, message)
        if not keep_rights:
            received.release(keep_reply=True)
        return received
