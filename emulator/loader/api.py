# SPDX-License-Identifier: MIT
"""The loader's seventeen functions.

Fourteen are methods of `Loader`, which `look_up` gives; `reply_handler`, `error` and `error_string`
need none. Where the originals return a code, these raise `LoaderError` with it; asynchronous answers
come to a `ReplyPort`, and `reply_handler` hands each to its callback.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

from emulator.loader.channel import Channel, LoaderMessage, ReplyPort
from emulator.loader.codes import Code, LoaderError, error_line, error_string
from emulator.loader.messages import (
    ListenRequest,
    NameRequest,
    Reply,
    Request,
    RequestFlag,
    ServerInfo,
    com_port_request,
    parse_log,
    parse_names,
    parse_string,
    take_answer,
)

__all__ = [
    "Loader",
    "ReplyCallbacks",
    "error",
    "error_string",
    "look_up",
    "reply_handler",
]

CALL_WITHIN_S: Final = 60.0  # a chain of dependencies, ten seconds each at worst
ArgumentT = TypeVar("ArgumentT")


async def look_up(channel: Channel) -> Loader:
    """The loader at the end of a channel; must precede everything else."""
    return Loader(channel)


class Loader:
    """One node's loader, as a client sees it."""

    def __init__(self, channel: Channel) -> None:
        """Use `look_up`, or `Node.loader` of a running cluster."""
        self._channel = channel

    def port(self) -> ReplyPort:
        """A new port for asynchronous answers."""
        return self._channel.port()

    async def abort(self, *, restart: bool = False) -> None:
        """Unload and deallocate all servers but detached ones, the latest loaded first.

        Args:
            restart: then bring up what `kern_loader.conf` says; else the loader ends.

        Raises:
            LoaderError: NO_PERMISSION.
        """
        await self._ask(Request.ABORT, "", flags=RequestFlag.RESTART if restart else 0)

    async def add_server(self, path: str | Path) -> None:
        """Allocate the server of an object, and load it if its script says START.

        Raises:
            LoaderError: NO_PERMISSION, SERVER_EXISTS, CANT_OPEN_SERVER, or what is wrong with it.
        """
        await self._ask(Request.ADD_SERVER, _absolute(path))

    async def delete_server(self, name: str) -> None:
        """Unload a server if need be, and free everything of it.

        Raises:
            LoaderError: UNKNOWN_SERVER, NO_PERMISSION, BUSY.
        """
        await self._ask(Request.DELETE_SERVER, name)

    async def load_server(self, name: str, parameters: Sequence[str] = ()) -> None:
        """Load a server, what it depends on first; needs no privilege.

        Args:
            name: of an allocated server.
            parameters: `name=value` words.

        Raises:
            LoaderError: UNKNOWN_SERVER, or why it is FAILED now.
        """
        await self._ask(Request.LOAD_SERVER, name, extra=tuple(parameters))

    async def unload_server(self, name: str, *, quiesce: bool = False, force: bool = False) -> None:
        """Unload a server; its memory and ports stay reserved, and a message loads it again.

        Args:
            name: of a loaded server.
            quiesce: close links over its drivers in order first.
            force: whoever uses it, and whatever its unload script says; taints the node.

        Raises:
            LoaderError: UNKNOWN_SERVER, NO_PERMISSION, SERVER_UNLOADED, DETACHED, BUSY, WONT_UNLOAD.
        """
        flags = RequestFlag.QUIESCE * quiesce | RequestFlag.FORCE * force
        await self._ask(Request.UNLOAD_SERVER, name, flags=flags)

    async def replace_server(
        self, name: str, path: str | Path, parameters: Sequence[str] = ()
    ) -> None:
        """Put another build in a server's place, under its clients and links; ours, not NeXT's.

        Args:
            name: of the server, which the build has, too.
            path: of the build.
            parameters: `name=value` words for it.

        Raises:
            LoaderError: what is wrong with the new build: then nothing has happened; or as
                `unload_server` and `load_server`.
        """
        extra = (_absolute(path), *parameters)
        await self._ask(Request.REPLACE_SERVER, name, extra=extra)

    async def server_task_port(self, name: str) -> int:
        """What stands for a server's task: its communication port; 0 while it is not loaded.

        Raises:
            LoaderError: UNKNOWN_SERVER, NO_PERMISSION.
        """
        return int.from_bytes(await self._ask(Request.SERVER_TASK_PORT, name), "little")

    async def server_com_port(self, name: str) -> int:
        """A server's communication port; 0 while it is not loaded.

        Raises:
            LoaderError: UNKNOWN_SERVER, NO_PERMISSION.
        """
        return int.from_bytes(await self._ask(Request.SERVER_COM_PORT, name), "little")

    def status_port(
        self, port: ReplyPort, *, listen: bool = True, level: int = 6, server: str = ""
    ) -> None:
        """Send the loader's lines to a port, as string messages.

        Args:
            port: where to.
            listen: False: no more.
            level: lines of at most this priority number; 7: all.
            server: only about this one; empty: all.
        """
        wanted = ListenRequest(listen=listen, level=level, server=server)
        self._channel.send(Request.STATUS_PORT, wanted.serialize(), port.number)

    def ping(self, port: ReplyPort, number: int) -> None:
        """Ask for one ping message with that number, when all that was asked before is done."""
        self._channel.send(Request.PING, number.to_bytes(8, "little", signed=True), port.number)

    async def log_level(self, com_port: int, level: int) -> None:
        """Keep a server's log entries of at least a level; 0: none.

        Raises:
            LoaderError: UNKNOWN_SERVER, SERVER_UNLOADED.
        """
        await self._call(Request.LOG_LEVEL, com_port_request(com_port, level))

    async def get_log(self, com_port: int, port: ReplyPort) -> None:
        """Ask for one log_data message: with what is in the log, or with the next entry.

        Raises:
            LoaderError: UNKNOWN_SERVER, SERVER_UNLOADED, INVALID_ARGUMENT: its level is 0;
                PORT_EXISTS: somebody waits already.
        """
        await self._call(Request.GET_LOG, com_port_request(com_port), port.number)

    async def server_list(self) -> tuple[str, ...]:
        """Names of all servers that are not deallocated, oldest first."""
        return parse_names(await self._call(Request.SERVER_LIST, b""))

    async def server_info(self, name: str) -> ServerInfo:
        """What is known of a server, also of a deallocated one; names of ports with privilege only.

        Raises:
            LoaderError: UNKNOWN_SERVER.
        """
        return ServerInfo.parse(await self._ask(Request.SERVER_INFO, name))

    async def is_active(self) -> bool:
        """Whether the loader does anything: its node is up, and it was not aborted; ours."""
        return any(await self._ask(Request.ACTIVE, ""))

    async def wait_active(self) -> None:
        """Wait until the loader is active, however long it takes; ours.

        Raises:
            LoaderError: NODE_UNREACHABLE: the run has ended.
        """
        body = NameRequest(name="", flags=RequestFlag.WAIT).serialize()
        take_answer(await self._channel.call(Request.ACTIVE, body, 0, None))

    async def _ask(
        self, request: Request, name: str, *, flags: int = 0, extra: tuple[str, ...] = ()
    ) -> bytes:
        body = NameRequest(
            privileged=self._channel.privileged_port, name=name, flags=flags, extra=extra
        )
        return await self._call(request, body.serialize())

    async def _call(self, request: Request, body: bytes, port: int = 0) -> bytes:
        return take_answer(await self._channel.call(request, body, port, CALL_WITHIN_S))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyCallbacks(Generic[ArgumentT]):
    """What `reply_handler` calls; any may be None.

    Args:
        argument: given to each of them first.
        timeout_ms: for replies to answers; there are none, so it is not used.
        string: called with text, length and level of a status line.
        ping: called with the id.
        log_data: called with the text and its length in bytes.
    """

    argument: ArgumentT
    timeout_ms: int = 0
    string: Callable[[ArgumentT, str, int, int], object] | None = None
    ping: Callable[[ArgumentT, int], object] | None = None
    log_data: Callable[[ArgumentT, str, int], object] | None = None


def reply_handler(message: LoaderMessage, callbacks: ReplyCallbacks[ArgumentT]) -> None:
    """Hand an asynchronous answer to its callback, whose result counts for nothing.

    Raises:
        LoaderError: BAD_ID: no such answer, or no callback for it; the message is dropped.
    """
    if message.id == Reply.STRING and callbacks.string is not None:
        level, text = parse_string(message.body)
        callbacks.string(callbacks.argument, text, len(text.encode()), level)
    elif message.id == Reply.PING and callbacks.ping is not None:
        number = int.from_bytes(message.body[:8], "little", signed=True)
        callbacks.ping(callbacks.argument, number)
    elif message.id == Reply.LOG_DATA and callbacks.log_data is not None:
        text = parse_log(message.body)
        callbacks.log_data(callbacks.argument, text, len(text.encode()))
    else:
        raise LoaderError(Code.BAD_ID, f"message {message.id} is not handled")


def _absolute(path: str | Path) -> str:
    """A path as the loader, which may run elsewhere, finds it."""
    return str(Path(path).absolute())


def error(label: str, code: int) -> None:
    """Print label, text and number of a code to standard error."""
    print(error_line(label, code), file=sys.stderr)
