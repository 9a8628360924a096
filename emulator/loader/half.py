# SPDX-License-Identifier: MIT
"""The kernel half on one node, as the loader asks it (docs/spec/kern_server.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from emulator.errors import GuestError
from emulator.loader.codes import Code, LoaderError
from emulator.loader.node_messages import (
    Attached,
    LoadRequest,
    LoadResult,
    Reserved,
    ReserveRequest,
    ServerMessage,
    UnloadRequest,
    server_request,
)
from emulator.protocol.services import ErrorCode, ServiceError, take_status
from emulator.protocol.wire_types import MalformedMessage

__all__ = ["KernelHalf", "NodeCalls", "code_of_status"]

CALL_WITHIN_S: Final = 10.0
"""The most that a script's CALL, and so a request, may take."""

_CODES: Final[Mapping[int, Code]] = {
    ErrorCode.NO_MEMORY: Code.MEM_ALLOC_PROBLEM,
    ErrorCode.NOT_FOUND: Code.UNKNOWN_SERVER,
    ErrorCode.EXISTS: Code.SERVER_EXISTS,
    ErrorCode.FULL: Code.RESOURCE_SHORTAGE,
    ErrorCode.TIMED_OUT: Code.QUIESCE_TIMEOUT,
    ErrorCode.UNSUPPORTED: Code.BAD_RELOCATABLE,
    ErrorCode.BUSY: Code.BUSY,
    ErrorCode.DENIED: Code.NO_PERMISSION,
    ErrorCode.STALE: Code.WRONG_IMAGE,
    ErrorCode.FAILED: Code.INIT_FAILED,
}


class NodeCalls(Protocol):
    """How messages get to a node."""

    async def call(self, port: int | None, message_id: int, body: bytes, within_s: float) -> bytes:
        """Ask and wait for the answer's body.

        Args:
            port: a server's communication port; None: the node's servers port.
            message_id: of the request.
            body: of the request.
            within_s: bound for the answer.

        Raises:
            GuestError: no answer: refused, late, or the node died.
        """

    async def attach(self, within_s: float) -> bytes:
        """Send ATTACH with a loader port of the host's; return the answer's body.

        What comes to that port later goes to `NodeLoader.message`.
        """


class KernelHalf:
    """Requests to one node. Every failure is a `LoaderError`: NODE_UNREACHABLE if nobody answered."""

    def __init__(self, calls: NodeCalls, *, within_s: float = CALL_WITHIN_S) -> None:
        """Begin.

        Args:
            calls: the way to the node.
            within_s: bound for each request.
        """
        self._calls = calls
        self._within_s = within_s

    async def attach(self) -> Attached:
        """Become the node's loader."""
        try:
            return Attached.parse(await self._calls.attach(self._within_s))
        except (GuestError, MalformedMessage) as error:
            raise _failure(error) from error

    async def reserve(self, request: ReserveRequest) -> Reserved:
        """Reserve memory and ports."""
        return Reserved.parse(await self._ask(ServerMessage.RESERVE, request.serialize()))

    async def release(self, server_id: int) -> None:
        """Give memory and ports back; messages that wait in the ports end as failed."""
        take_status(await self._ask(ServerMessage.RELEASE, server_request(server_id)))

    async def load(self, request: LoadRequest) -> LoadResult:
        """Bring a server up; a command that failed is in the result."""
        return LoadResult.parse(await self._call(ServerMessage.LOAD, request.serialize()))

    async def unload(self, request: UnloadRequest) -> LoadResult:
        """Bring a server down; what failed is in the result."""
        return LoadResult.parse(await self._call(ServerMessage.UNLOAD, request.serialize()))

    async def set_log_level(self, com_port: int, level: int) -> None:
        """Switch a server's log on (level) or off (0)."""
        body = level.to_bytes(4, "little") + bytes(4)
        await self._ask(ServerMessage.LOG_LEVEL, body, com_port)

    async def ask_log(self, com_port: int) -> bool:
        """Have the server's log sent: at once if there is something in it, else with the next entry.

        Returns:
            False: its log is off. True also if it was asked before: one LOG_DATA answers both.
        """
        answer = await self._call(ServerMessage.GET_LOG, b"", com_port)
        try:
            take_status(answer)
        except ServiceError as error:
            if error.status not in (ErrorCode.EXISTS, ErrorCode.UNSUPPORTED):
                raise _failure(error) from error
            return error.status == ErrorCode.EXISTS
        except MalformedMessage as error:
            raise _failure(error) from error
        return True

    async def _ask(self, message: ServerMessage, body: bytes, port: int | None = None) -> bytes:
        """Call, and refuse an answer that is an error."""
        answer = await self._call(message, body, port)
        try:
            take_status(answer)
        except (ServiceError, MalformedMessage) as error:
            raise _failure(error) from error
        return answer

    async def _call(self, message: ServerMessage, body: bytes, port: int | None = None) -> bytes:
        try:
            return await self._calls.call(port, message, body, self._within_s)
        except GuestError as error:
            raise _failure(error) from error


def code_of_status(status: int) -> Code:
    """The loader's code for a status of the node's."""
    return _CODES.get(status, Code.SERVER_WONT_LOAD)


def _failure(error: Exception) -> LoaderError:
    if isinstance(error, ServiceError):
        return LoaderError(code_of_status(error.status), f"the node says {error.status}")
    return LoaderError(Code.NODE_UNREACHABLE, str(error).partition("\n")[0])
