# SPDX-License-Identifier: MIT
"""How a client's messages get to a node's loader and back: a direct way for tasks of the process
that runs the cluster, and what every way has in common. The tools' way is in `socket_channel.py`.

Ports here are numbers of the client's own; the loader answers to them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final, Protocol

from emulator.errors import DeadlineExpired
from emulator.loader.codes import Code, LoaderError
from emulator.loader.service import LoaderService

__all__ = ["Channel", "LoaderMessage", "LocalChannel", "PortTable", "ReplyPort"]

QUEUE_MESSAGES: Final = 1024


@dataclass(frozen=True, slots=True)
class LoaderMessage:
    """An asynchronous answer, for `reply_handler`.

    Args:
        id: of `Reply`.
        body: of the message.
    """

    id: int
    body: bytes


class ReplyPort:
    """A port of a client: give it to an asynchronous function, receive on it."""

    def __init__(self, number: int, table: PortTable) -> None:
        """Begin empty; made by `Channel.port()`."""
        self.number = number
        self._table = table
        self._queue: asyncio.Queue[LoaderMessage | None] = asyncio.Queue(QUEUE_MESSAGES + 1)

    async def receive(self, within_s: float | None = None) -> LoaderMessage | None:
        """The next message; None: the loader is gone, and there will be no more.

        Args:
            within_s: bound; None: as long as it takes.

        Raises:
            DeadlineExpired: none came in time.
        """
        try:
            async with asyncio.timeout(within_s):
                message = await self._queue.get()
        except TimeoutError:
            raise DeadlineExpired(f"the loader sent nothing within {within_s:g} s") from None
        if message is None:
            self.end()  # whoever receives again is told again
        return message

    async def __aiter__(self) -> AsyncIterator[LoaderMessage]:
        while (message := await self.receive()) is not None:
            yield message

    def close(self) -> None:
        """Receive no more."""
        self._table.forget(self.number)

    def put(self, message: LoaderMessage) -> bool:
        """Queue a message; False: there is no room."""
        if self._queue.qsize() >= QUEUE_MESSAGES:
            return False
        self._queue.put_nowait(message)
        return True

    def end(self) -> None:
        """No more will come."""
        if not self._queue.full():
            self._queue.put_nowait(None)


class PortTable:
    """The ports of one client; itself a `Client` of a loader."""

    def __init__(self) -> None:
        self._ports: dict[int, ReplyPort] = {}
        self._next = 1

    def port(self) -> ReplyPort:
        """A new port."""
        port = ReplyPort(self._next, self)
        self._ports[port.number] = port
        self._next += 1
        return port

    def forget(self, number: int) -> None:
        """A port is closed."""
        self._ports.pop(number, None)

    def post(self, port: int, message_id: int, body: bytes) -> bool:
        """As `Client.post`."""
        target = self._ports.get(port)
        return target is not None and target.put(LoaderMessage(message_id, body))

    def end(self) -> None:
        """The loader is gone: nothing more will come to any port."""
        for port in self._ports.values():
            port.end()


class Channel(Protocol):
    """A way to a loader."""

    @property
    def privileged_port(self) -> int:
        """What stands for privilege; 0: this client has none."""

    def port(self) -> ReplyPort:
        """A new port, for asynchronous answers."""

    async def call(self, message_id: int, body: bytes, port: int, within_s: float | None) -> bytes:
        """Ask and wait for the reply's body.

        Args:
            message_id: of `Request`.
            body: of the request.
            port: that the message brings; 0: none.
            within_s: bound for the reply; None: as long as it takes.

        Raises:
            LoaderError: NODE_UNREACHABLE: none came.
        """

    def send(self, message_id: int, body: bytes, port: int) -> None:
        """Send a request that has no reply."""


class LocalChannel:
    """The way for tasks of the process that runs the loader."""

    def __init__(self, service: LoaderService, *, privileged: bool = True) -> None:
        """Begin.

        Args:
            service: whom to ask.
            privileged: whether this client may do everything.
        """
        self._service = service
        self._ports = PortTable()
        self.privileged_port = service.privileged_port if privileged else 0

    def port(self) -> ReplyPort:
        """As `Channel.port`."""
        return self._ports.port()

    async def call(self, message_id: int, body: bytes, port: int, within_s: float | None) -> bytes:
        """As `Channel.call`."""
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def take(body: bytes) -> None:
            if not reply.done():
                reply.set_result(body)

        self._service.receive(self._ports, message_id, body, port, take)
        try:
            async with asyncio.timeout(within_s):
                return await reply
        except TimeoutError:
            what = f"the loader did not answer within {within_s:g} s"
            raise LoaderError(Code.NODE_UNREACHABLE, what) from None

    def send(self, message_id: int, body: bytes, port: int) -> None:
        """As `Channel.send`."""
        self._service.receive(self._ports, message_id, body, port, lambda _: None)
