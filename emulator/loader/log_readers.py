# SPDX-License-Identifier: MIT
"""Who reads which server's log: one reader a server, who gets one answer for each time it asks.

Invariant: a reader is remembered from its request until its answer, which is what the node sends next
or the word that the log is closed; so nobody waits for ever. A client that does not take its answer
loses it, and delays nobody.
"""

from __future__ import annotations

from dataclasses import dataclass

from emulator.loader.codes import Code, LoaderError
from emulator.loader.half import KernelHalf
from emulator.loader.log import format_entries
from emulator.loader.messages import Reply, log_message
from emulator.loader.node_messages import LogData
from emulator.loader.status import Client
from emulator.loader.table import State, Table

__all__ = ["LogReaders"]


@dataclass(frozen=True, slots=True)
class _Reader:
    """Who waits for a server's log."""

    client: Client
    port: int

    def answer(self, text: str) -> None:
        self.client.post(self.port, Reply.LOG_DATA, log_message(text))


class LogReaders:
    """The logs of one node's servers."""

    def __init__(self, half: KernelHalf, table: Table) -> None:
        """Begin without readers.

        Args:
            half: the kernel half, which keeps the logs.
            table: the servers.
        """
        self._half = half
        self._table = table
        self._readers: dict[str, _Reader] = {}

    async def set_level(self, com_port: int, level: int) -> None:
        """Keep a server's log entries of at least a level; 0: none, and its log is closed.

        Raises:
            LoaderError: UNKNOWN_SERVER, SERVER_UNLOADED.
        """
        server = self._table.by_com_port(com_port)
        await self._half.set_log_level(com_port, level)
        if not level:
            self.close(server.name)

    async def read(self, com_port: int, client: Client, port: int) -> None:
        """Send what is in a server's log to a port of the client: at once, or with the next entry.

        Raises:
            LoaderError: UNKNOWN_SERVER, SERVER_UNLOADED; PORT_EXISTS: somebody waits already;
                INVALID_ARGUMENT: its log is off.
        """
        server = self._table.by_com_port(com_port)
        if server.name in self._readers:
            raise LoaderError(Code.PORT_EXISTS, f"somebody reads the log of {server.name}")
        reader = self._readers[server.name] = _Reader(client, port)
        try:
            if not await self._half.ask_log(com_port):
                raise LoaderError(Code.INVALID_ARGUMENT, f"the log of {server.name} is off")
        except LoaderError as error:
            if self._readers.get(server.name) is reader:
                del self._readers[server.name]
            if server.state not in (State.LOADED, State.DETACHED):
                raise LoaderError(Code.SERVER_UNLOADED, server.name) from error
            raise

    def deliver(self, data: LogData) -> None:
        """What the node sent: entries for whoever waits, or the end of a log."""
        server = self._table.by_id(data.server_id)
        if server is None or server.linked is None:
            return
        if not data.entries:
            self.close(server.name)
            return
        reader = self._readers.pop(server.name, None)
        if reader is None:
            server.log_unread += len(data.entries)  # whoever asked for them left
            return
        lost = server.log_lost(data.lost)
        reader.answer(format_entries(data.entries, server.linked, lost=lost))

    def close(self, name: str) -> None:
        """Tell whoever waits for a server's log that there will be no more of it."""
        reader = self._readers.pop(name, None)
        if reader is not None:
            reader.answer("")

    def close_all(self) -> None:
        """The node is gone, and all logs with it."""
        for name in tuple(self._readers):
            self.close(name)

    def forget(self, client: Client) -> None:
        """A client is gone: another may read the logs it waited for."""
        for name, reader in tuple(self._readers.items()):
            if reader.client is client:
                del self._readers[name]
