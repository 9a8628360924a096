# SPDX-License-Identifier: MIT
"""A machine's monitor: QMP over a socket that exists before the machine does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
from collections.abc import Callable, Mapping
from typing import Final, cast

from qemu.qmp import EventListener, ExecuteError, QMPClient, QMPError

from emulator.errors import HostError

ANSWER_WITHIN_S: Final = 5.0
_PROGRAM_COUNTER: Final = re.compile(r"\b(?:RIP=|PC=|pc\s+)([0-9a-f]+)")
GREETING_WITHIN_S: Final = 15.0  # of many machines that start at once on a small host

MonitorEvent = Callable[[str, Mapping[str, object]], None]


class Monitor:
    """The control connection of one machine.

    Args:
        name: the node's name, for messages.
        sock: our end of the socket pair whose other end QEMU was given.
        on_event: called with the name and data of every QMP event, in order.
    """

    def __init__(self, name: str, sock: socket.socket, on_event: MonitorEvent) -> None:
        self._name = name
        self._sock = sock
        self._on_event = on_event
        self._client = QMPClient(name)
        # A machine that is killed drops its connection: that is news to the process, not an error.
        self._client.logger.setLevel(logging.CRITICAL)

    async def connect(self) -> None:
        """Wait for QEMU's greeting and negotiate.

        Raises:
            HostError: the machine went away, or does not speak QMP.
        """
        try:
            async with asyncio.timeout(GREETING_WITHIN_S):
                await self._client.connect(self._sock)
        except TimeoutError as error:
            raise HostError(
                f"node {self._name}: QEMU did not greet within {GREETING_WITHIN_S:g} s",
                hint="is its process stopped, or this host overloaded?",
            ) from error
        except (QMPError, OSError, EOFError) as error:
            raise HostError(
                f"node {self._name}: no monitor: {error}",
                hint="see the machine's stderr.log in the run folder",
            ) from error

    @property
    def version(self) -> str:
        """What QEMU says it is; empty before it greeted."""
        greeting = self._client.greeting
        if greeting is None:
            return ""
        numbers = cast(Mapping[str, int], greeting.QMP.version["qemu"])
        package = greeting.QMP.version["package"]
        return f"{numbers['major']}.{numbers['minor']}.{numbers['micro']} {package}".strip()

    async def pump_events(self) -> None:
        """Pass events on until cancelled."""
        listener = EventListener()
        with self._client.listen(listener):
            async for message in listener:
                data = message.get("data", {})
                assert isinstance(data, dict)
                self._on_event(str(message["event"]), data)

    async def stop(self) -> None:
        """Stop the virtual CPU."""
        await self._execute("stop")

    async def cont(self) -> None:
        """Let the virtual CPU run."""
        await self._execute("cont")

    async def system_reset(self) -> None:
        """Press the reset button."""
        await self._execute("system_reset")

    async def program_counter(self) -> int | None:
        """The address of the instruction the CPU is at; None: QEMU says it in no way known here."""
        said = await self._execute("human-monitor-command", {"command-line": "info registers"})
        found = _PROGRAM_COUNTER.search(str(said))
        return int(found[1], 16) if found else None

    async def console_pty(self) -> str | None:
        """The terminal device of the chardev `console`, or None."""
        chardevs = cast(list[dict[str, object]], await self._execute("query-chardev"))
        for chardev in chardevs:
            filename = str(chardev["filename"])
            if chardev["label"] == "console" and filename.startswith("pty:"):
                return filename.removeprefix("pty:")
        return None

    async def close(self) -> None:
        """Drop the connection, whatever state it is in; cancelling it does not cut that short."""
        disconnecting = asyncio.ensure_future(self._disconnect())
        try:
            await asyncio.shield(disconnecting)
        finally:
            await disconnecting
            self._sock.close()

    async def _disconnect(self) -> None:
        with contextlib.suppress(QMPError, OSError, EOFError, asyncio.IncompleteReadError):
            await self._client.disconnect()

    async def _execute(self, command: str, arguments: dict[str, object] | None = None) -> object:
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                return await self._client.execute(command, arguments)
        except TimeoutError as error:
            raise HostError(
                f"node {self._name}: QEMU did not answer {command} within {ANSWER_WITHIN_S:g} s",
                hint="is its process stopped, or this host overloaded?",
            ) from error
        except ExecuteError as error:
            raise HostError(
                f"node {self._name}: QEMU refused {command}: {error}",
                hint="see the machine's stderr.log in the run folder",
            ) from error
        except (QMPError, OSError, EOFError) as error:
            raise HostError(
                f"node {self._name}: the monitor went away during {command}: {error}",
                hint="the machine ended meanwhile; see its console in the run folder",
            ) from error
