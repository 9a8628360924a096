# SPDX-License-Identifier: MIT
"""The tools' way to the loaders of a run: a socket in its folder.

Whoever may open the socket is privileged; the file system decides that, as root's password did. A
frame is a head of 24 bytes (length of the body 4, message id 4, port 8, transaction 8) and a body of
docs/spec/kern_loader.md. A client's first frame is LOOK_UP with the node's name; the answer brings
the privileged port. A reply has its request's transaction, an asynchronous answer has 0.

A client that does not read loses asynchronous answers; replies to what it asked are few.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self

from emulator.errors import HostError
from emulator.loader.channel import PortTable, ReplyPort
from emulator.loader.codes import Code, LoaderError
from emulator.loader.messages import MESSAGE_BYTES_MAXIMUM, REPLY_OFFSET, answer, take_answer
from emulator.loader.service import LoaderService

__all__ = ["SOCKET_NAME", "LoaderSocket", "SocketChannel"]

SOCKET_NAME: Final = "kern_loader"
LOOK_UP: Final = 0
_HEAD: Final = struct.Struct("<IIQQ")
_BACKLOG_BYTES: Final = 256 * 1024
_LOOK_UP_WITHIN_S: Final = 5.0


@contextlib.contextmanager
def _short_name(path: Path) -> Iterator[str]:
    """A name of a socket that fits its 107 bytes, however deep the folder is."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


async def _read_frame(reader: asyncio.StreamReader) -> tuple[int, int, int, bytes]:
    """Message id, port, transaction and body.

    Raises:
        EOFError: the other side is gone, or speaks something else.
    """
    try:
        size, message_id, port, transaction = _HEAD.unpack(await reader.readexactly(_HEAD.size))
        if size > MESSAGE_BYTES_MAXIMUM:
            raise EOFError(f"a frame of {size} bytes")
        return message_id, port, transaction, await reader.readexactly(size)
    except ConnectionError as error:
        raise EOFError(str(error)) from error


def _frame(message_id: int, port: int, transaction: int, body: bytes) -> bytes:
    return _HEAD.pack(len(body), message_id, port, transaction) + body


class _Connection:
    """One tool; a `Client` of the loader it asked for."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    def post(self, port: int, message_id: int, body: bytes) -> bool:
        """As `Client.post`."""
        if self._writer.is_closing():
            return False
        if self._writer.transport.get_write_buffer_size() > _BACKLOG_BYTES:
            return False
        self._writer.write(_frame(message_id, port, 0, body))
        return True

    def end(self) -> None:
        """As `Client.end`; what was sent still arrives."""
        self._writer.close()

    def reply(self, message_id: int, transaction: int, body: bytes) -> None:
        """Answer a request."""
        if not self._writer.is_closing():
            self._writer.write(_frame(message_id + REPLY_OFFSET, 0, transaction, body))


class LoaderSocket:
    """The socket of a run, for all its nodes' loaders."""

    def __init__(
        self,
        services: Mapping[str, LoaderService],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        """Begin closed.

        Args:
            services: by the name of the node.
            spawn: runs a coroutine; the run ends it.
        """
        self._services = services
        self._spawn = spawn
        self._listener: socket.socket | None = None
        self._path: Path | None = None

    def open(self, path: Path) -> None:
        """Listen; only this user may connect.

        Raises:
            HostError: the socket cannot be made.
        """
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            before = os.umask(0o177)
            try:
                with _short_name(path) as name:
                    listener.bind(name)
            finally:
                os.umask(before)
            listener.listen()
        except OSError as error:
            listener.close()
            raise HostError(
                f"{path}: no socket can be made there: {error.strerror}",
                hint="choose another place with --runs",
            ) from error
        self._listener, self._path = listener, path
        self._spawn(self._accept(listener))

    def close(self) -> None:
        """Listen no more; whoever accepts and serves is ended by the run."""
        if self._listener is not None and self._path is not None:
            self._listener.close()
            self._path.unlink(missing_ok=True)
            self._listener = None

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(listener)
            self._spawn(self._serve(connection))

    async def _serve(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_unix_connection(sock=connection)
        client = _Connection(writer)
        service: LoaderService | None = None
        try:
            service = await self._look_up(client, reader)
            while True:
                message_id, port, transaction, body = await _read_frame(reader)

                def reply(
                    body: bytes, message_id: int = message_id, transaction: int = transaction
                ) -> None:
                    client.reply(message_id, transaction, body)

                service.receive(client, message_id, body, port, reply)
        except EOFError:
            pass
        finally:
            if service is not None:
                service.forget(client)
            writer.close()

    async def _look_up(self, client: _Connection, reader: asyncio.StreamReader) -> LoaderService:
        """The loader that a tool asks for first.

        Raises:
            EOFError: it asked for none that there is, or for something else.
        """
        message_id, _, transaction, body = await _read_frame(reader)
        name = body.decode(errors="replace")
        service = self._services.get(name)
        if message_id != LOOK_UP or service is None:
            known = ", ".join(self._services) or "no node has a loader"
            what = f"no loader for node {name}; there are: {known}"
            client.reply(message_id, transaction, answer(Code.NODE_UNREACHABLE, what=what))
            raise EOFError(name)
        port = service.privileged_port.to_bytes(8, "little")
        client.reply(LOOK_UP, transaction, answer(Code.SUCCESS, port))
        return service


class SocketChannel:
    """The way of a tool to one node's loader; an async context manager."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Use `open`."""
        self.privileged_port = 0
        self._reader = reader
        self._writer = writer
        self._ports = PortTable()
        self._replies: dict[int, asyncio.Future[bytes]] = {}
        self._transaction = 0
        self._tasks = asyncio.TaskGroup()
        self._receiving: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, path: Path, node: str) -> SocketChannel:
        """Connect to a run's socket, for one node. Then enter it.

        Raises:
            LoaderError: NODE_UNREACHABLE: nobody listens there, or not for that node.
        """
        try:
            with _short_name(path) as name:
                reader, writer = await asyncio.open_unix_connection(name)
        except OSError as error:
            what = f"nobody listens at {path}: {error.strerror}"
            raise LoaderError(Code.NODE_UNREACHABLE, what) from error
        channel = cls(reader, writer)
        writer.write(_frame(LOOK_UP, 0, 0, node.encode()))
        try:
            async with asyncio.timeout(_LOOK_UP_WITHIN_S):
                _, _, _, body = await _read_frame(reader)
            channel.privileged_port = int.from_bytes(take_answer(body), "little")
        except (EOFError, TimeoutError) as error:
            writer.close()
            raise LoaderError(Code.NODE_UNREACHABLE, "the loader has ended") from error
        except LoaderError:
            writer.close()
            raise
        return channel

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._receiving = self._tasks.create_task(self._receive())
        return self

    async def __aexit__(self, *reason: object) -> None:
        if self._receiving is not None:
            self._receiving.cancel()
        self._writer.close()
        await self._tasks.__aexit__(None, None, None)  # what the body raised goes its own way

    def port(self) -> ReplyPort:
        """As `Channel.port`."""
        return self._ports.port()

    async def call(self, message_id: int, body: bytes, port: int, within_s: float | None) -> bytes:
        """As `Channel.call`."""
        self._transaction += 1
        transaction = self._transaction
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._replies[transaction] = reply
        try:
            self._writer.write(_frame(message_id, port, transaction, body))
            if self._receiving is None or self._receiving.done():
                raise LoaderError(Code.NODE_UNREACHABLE, "the loader has ended")
            async with asyncio.timeout(within_s):
                return await reply
        except TimeoutError:
            what = f"the loader did not answer within {within_s:g} s"
            raise LoaderError(Code.NODE_UNREACHABLE, what) from None
        finally:
            del self._replies[transaction]

    def send(self, message_id: int, body: bytes, port: int) -> None:
        """As `Channel.send`."""
        self._writer.write(_frame(message_id, port, 0, body))

    async def _receive(self) -> None:
        """Hand on what comes, until the run ends."""
        try:
            while True:
                message_id, port, transaction, body = await _read_frame(self._reader)
                reply = self._replies.get(transaction)
                if not transaction:
                    self._ports.post(port, message_id, body)
                elif reply is not None and not reply.done():
                    reply.set_result(body)
        except EOFError:
            gone = LoaderError(Code.NODE_UNREACHABLE, "the loader has ended")
            for waiting in self._replies.values():
                if not waiting.done():
                    waiting.set_exception(gone)
        finally:
            self._ports.end()
