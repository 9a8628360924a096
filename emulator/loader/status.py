# SPDX-License-Identifier: MIT
"""The loader's lines about what it does, and who hears them.

A subscriber that does not take its lines loses them; when it takes lines again it is told how many
those were. It never delays the loader.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Final, Protocol

from emulator.loader.messages import Reply, string_message

__all__ = ["Client", "Priority", "StatusLines"]

NAME: Final = "kern_loader"
_log = logging.getLogger(__name__)


@unique
class Priority(IntEnum):
    """Syslog's."""

    EMERG = 0
    ALERT = 1
    CRIT = 2
    ERR = 3
    WARNING = 4
    NOTICE = 5
    INFO = 6
    DEBUG = 7


class Client(Protocol):
    """Whoever asks a loader: a guest, a tool, a task of this process."""

    def post(self, port: int, message_id: int, body: bytes) -> bool:
        """Send a message to one of its ports, without waiting.

        Returns:
            False: there was no room, or nobody; the message is gone.
        """

    def end(self) -> None:
        """The loader has ended: nothing more will come."""


@dataclass(slots=True, kw_only=True)
class _Subscription:
    client: Client
    port: int
    level: int
    server: str
    lost: int = 0

    def send(self, priority: Priority, line: str) -> None:
        """Send a line, after a word about those that were lost before it."""
        if self.lost and self._post(Priority.WARNING, f"{NAME}: {self.lost} lines were lost"):
            self.lost = 0
        if self.lost or not self._post(priority, line):
            self.lost += 1

    def _post(self, priority: Priority, line: str) -> bool:
        return self.client.post(self.port, Reply.STRING, string_message(line, priority))


class StatusLines:
    """The lines of one node's loader, and their subscribers in the order they came."""

    def __init__(self, node: str, listener: Callable[[Priority, str, str], None]) -> None:
        """Begin without subscribers.

        Args:
            node: its name, for this process's own log.
            listener: called with priority, server and text of each line; for the run's events.
        """
        self._node = node
        self._listener = listener
        self._subscriptions: list[_Subscription] = []

    def subscribe(
        self, client: Client, port: int, *, level: int = Priority.INFO, server: str = ""
    ) -> None:
        """Send lines to a port of a client until it unsubscribes; again: as now asked.

        Args:
            client: whose port.
            port: where to.
            level: lines of at most this number, the most urgent being 0.
            server: only lines about this one; empty: about all.
        """
        self.unsubscribe(client, port)
        self._subscriptions.append(
            _Subscription(client=client, port=port, level=level, server=server)
        )

    def unsubscribe(self, client: Client, port: int | None = None) -> None:
        """Send no more lines to a port of a client; None: to none of its ports."""
        self._subscriptions = [
            item
            for item in self._subscriptions
            if item.client is not client or port not in (None, item.port)
        ]

    def post(self, priority: Priority, text: str, server: str = "") -> None:
        """Tell a line to everybody who wants it."""
        line = f"{NAME}: {text}" if priority <= Priority.WARNING else text
        _log.log(_LEVELS[priority], "%s: %s", self._node, line)
        self._listener(priority, server, line)
        for item in self._subscriptions:
            if priority <= item.level and item.server in ("", server):
                item.send(priority, line)


_LEVELS: Final = {
    priority: logging.ERROR
    if priority <= Priority.ERR
    else logging.WARNING
    if priority is Priority.WARNING
    else logging.INFO
    if priority <= Priority.INFO
    else logging.DEBUG
    for priority in Priority
}
