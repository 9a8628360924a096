# SPDX-License-Identifier: MIT
"""A node's loader as its clients see it: messages with the published ids, each answered in its own
time (docs/spec/kern_loader.md).

Clients are guests (Mach messages to node 0), tools (a socket) and tasks of this process: `receive`
does not tell them apart but by the privilege that each request brings. A request that takes long
delays no other; PING is answered when everything that the same client asked before it is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from emulator.errors import MnlabError
from emulator.loader.codes import Code, LoaderError
from emulator.loader.daemon import NodeLoader
from emulator.loader.messages import (
    ListenRequest,
    NameRequest,
    Reply,
    Request,
    RequestFlag,
    answer,
    names_message,
    parse_com_port,
)
from emulator.loader.status import Client

__all__ = ["LoaderService"]

Answer: TypeAlias = Callable[[bytes], None]
"""Sends a reply's body to whoever asked."""


class LoaderService:
    """The service of one node's loader."""

    def __init__(
        self,
        loader: NodeLoader,
        privileged_port: int,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        """Begin.

        Args:
            loader: what is served.
            privileged_port: whoever names it may do everything; not 0.
            spawn: runs a coroutine; the run ends it.
        """
        self._loader = loader
        self._privileged_port = privileged_port
        self._spawn = spawn
        self._under_way: dict[Client, set[asyncio.Task[None]]] = {}
        self._handlers: Mapping[int, Callable[[NameRequest], Awaitable[bytes]]] = {
            Request.ABORT: self._abort,
            Request.LOAD_SERVER: self._load,
            Request.UNLOAD_SERVER: self._unload,
            Request.ADD_SERVER: self._add,
            Request.DELETE_SERVER: self._delete,
            Request.SERVER_TASK_PORT: self._port_of,
            Request.SERVER_COM_PORT: self._port_of,
            Request.SERVER_LIST: self._list,
            Request.SERVER_INFO_OLD: self._info,
            Request.SERVER_INFO: self._info,
            Request.REPLACE_SERVER: self._replace,
            Request.ACTIVE: self._active,
        }

    @property
    def loader(self) -> NodeLoader:
        """What is served."""
        return self._loader

    @property
    def privileged_port(self) -> int:
        """The port that stands for privilege."""
        return self._privileged_port

    def receive(
        self, client: Client, message_id: int, body: bytes, port: int, reply: Answer
    ) -> None:
        """Take a request; never waits.

        Args:
            client: who asks.
            message_id: of `Request`; an unknown one is answered with BAD_ID.
            body: of the request.
            port: of the client's, that the message brings: where lines, pings and logs go.
            reply: called with the reply's body, unless the request has none.
        """
        self._under_way.setdefault(client, set())
        if message_id == Request.STATUS_PORT:
            self._listen(client, body, port)
        elif message_id == Request.PING:
            before = frozenset(self._under_way.get(client, ()))
            self._start(client, self._ping(client, body, port, before))
        else:
            self._start(client, self._answer(client, message_id, body, port, reply))

    def forget(self, client: Client) -> None:
        """A client is gone; what it asked for is finished all the same."""
        self._under_way.pop(client, None)
        self._loader.forget(client)

    def _end(self) -> None:
        """The loader was aborted: for its clients, that is its death."""
        for client in tuple(self._under_way):
            self.forget(client)
            client.end()

    def _start(self, client: Client, work: Coroutine[Any, Any, None]) -> None:
        task = self._spawn(work)
        tasks = self._under_way[client]
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _answer(
        self, client: Client, message_id: int, body: bytes, port: int, reply: Answer
    ) -> None:
        try:
            data = await self._handle(client, message_id, body, port)
        except LoaderError as error:
            reply(answer(error.code, what=error.what))
        except MnlabError as error:
            reply(answer(Code.FAILURE, what=error.message))
        else:
            reply(answer(Code.SUCCESS, data))
            if message_id == Request.ABORT and not self._loader.is_active:
                self._end()

    async def _handle(self, client: Client, message_id: int, body: bytes, port: int) -> bytes:
        if message_id == Request.LOG_LEVEL:
            com_port, level = parse_com_port(body)
            await self._loader.logs.set_level(com_port, level)
            return b""
        if message_id == Request.GET_LOG:
            com_port, _ = parse_com_port(body)
            await self._loader.logs.read(com_port, client, port)
            return b""
        handler = self._handlers.get(message_id)
        if handler is None:
            raise LoaderError(Code.BAD_ID, f"message {message_id}")
        return await handler(NameRequest.parse(body))

    async def _ping(
        self, client: Client, body: bytes, port: int, before: frozenset[asyncio.Task[None]]
    ) -> None:
        """A barrier: everything that this client asked before is done, and its lines are sent."""
        if before:
            await asyncio.wait(before)
        client.post(port, Reply.PING, body[:8].ljust(8, b"\0"))

    def _listen(self, client: Client, body: bytes, port: int) -> None:
        try:
            wanted = ListenRequest.parse(body)
        except LoaderError:
            return  # a request without a reply: nobody to tell
        if wanted.listen:
            self._loader.lines.subscribe(client, port, level=wanted.level, server=wanted.server)
        else:
            self._loader.lines.unsubscribe(client, port)

    # --- requests about servers: the name first, then privilege, then the state ---

    def _check_privilege(self, request: NameRequest) -> None:
        if request.privileged != self._privileged_port:
            raise LoaderError(Code.NO_PERMISSION)

    def _check_known(self, request: NameRequest) -> None:
        if request.name not in self._loader.list():
            raise LoaderError(Code.UNKNOWN_SERVER, request.name)

    async def _abort(self, request: NameRequest) -> bytes:
        self._check_privilege(request)
        await self._loader.abort(restart=bool(request.flags & RequestFlag.RESTART))
        return b""

    async def _load(self, request: NameRequest) -> bytes:
        await self._loader.load(request.name, request.extra)
        return b""

    async def _unload(self, request: NameRequest) -> bytes:
        self._check_known(request)
        self._check_privilege(request)
        await self._loader.unload(
            request.name,
            quiesce=bool(request.flags & RequestFlag.QUIESCE),
            force=bool(request.flags & RequestFlag.FORCE),
        )
        return b""

    async def _add(self, request: NameRequest) -> bytes:
        self._check_privilege(request)
        await self._loader.add(Path(request.name))
        return b""

    async def _delete(self, request: NameRequest) -> bytes:
        self._check_known(request)
        self._check_privilege(request)
        await self._loader.delete(request.name)
        return b""

    async def _replace(self, request: NameRequest) -> bytes:
        self._check_known(request)
        self._check_privilege(request)
        if not request.extra:
            raise LoaderError(Code.BAD_ARGUMENTS, "no path")
        path, *parameters = request.extra
        await self._loader.replace(request.name, Path(path), parameters)
        return b""

    async def _port_of(self, request: NameRequest) -> bytes:
        """The communication port; a server has no task of its own, so it stands for that, too."""
        self._check_known(request)
        self._check_privilege(request)
        return (await self._loader.com_port(request.name)).to_bytes(8, "little")

    async def _active(self, request: NameRequest) -> bytes:
        if request.flags & RequestFlag.WAIT:
            await self._loader.wait_active()
        return int(self._loader.is_active).to_bytes(4, "little") + bytes(4)

    async def _list(self, _: NameRequest) -> bytes:
        return names_message(self._loader.list())

    async def _info(self, request: NameRequest) -> bytes:
        privileged = request.privileged == self._privileged_port
        return self._loader.info(request.name, privileged=privileged).serialize()
