# SPDX-License-Identifier: MIT
"""The loaders of a run for those who ask by messages: guests.

Node 0 publishes `server_loader`: for a guest that looks it up, the loader of the guest itself; and
`server_loader.<node>`: that of any node. A guest takes a bounded number of unsettled messages from
its loader; beyond it lines are lost, and nobody waits.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from emulator.loader.service import LoaderService
from emulator.runtime.host_node import HostMessage, HostNode

__all__ = ["SERVICE_NAME", "GuestDoor"]

SERVICE_NAME: Final = "server_loader"
_UNSETTLED_MAXIMUM: Final = 16  # as many as a port queues at most


class _Guest:
    """A guest as a client of one loader; implements `Client`."""

    def __init__(self, host: HostNode) -> None:
        self._host = host
        self._unsettled = 0

    def post(self, port: int, message_id: int, body: bytes) -> bool:
        """As `Client.post`; the port is a name of the guest's."""
        if not port or self._unsettled >= _UNSETTLED_MAXIMUM:
            return False
        self._unsettled += 1
        if not self._host.post(port, message_id, body, self._settled):
            self._unsettled -= 1
            return False
        return True

    def end(self) -> None:
        """As `Client.end`; its ports stay its own."""

    def _settled(self) -> None:
        self._unsettled -= 1


class GuestDoor:
    """Takes guests' requests to loaders."""

    def __init__(self, host: HostNode, services: Mapping[str, tuple[int, LoaderService]]) -> None:
        """Publish the loaders.

        Args:
            host: node 0.
            services: id and loader's service of each node, by its name.
        """
        self._host = host
        self._clients: dict[tuple[int, int], _Guest] = {}
        self._ports: dict[int, int] = {}
        self._services: dict[int, LoaderService] = {}
        for name, (node_id, service) in services.items():
            port = host.listen(partial(self._received, node_id))
            self._ports[node_id] = port.name
            self._services[node_id] = service
            host.publish(f"{SERVICE_NAME}.{name}", partial(self._port_of, node_id))
        host.publish(SERVICE_NAME, lambda guest: self._ports.get(guest, 0))
        host.on_deaths(lambda death: self._forget(death.node_id))

    def _port_of(self, node_id: int, _guest: int) -> int:
        return self._ports[node_id]

    def _received(self, node_id: int, guest: int, message: HostMessage) -> None:
        key = (guest, node_id)
        if key not in self._clients:
            self._clients[key] = _Guest(self._host)
        self._services[node_id].receive(
            self._clients[key],
            message.id,
            message.body,
            message.local,
            lambda body: self._host.reply(message, body),
        )

    def _forget(self, guest: int) -> None:
        for key in [key for key in self._clients if key[0] == guest]:
            self._services[key[1]].forget(self._clients.pop(key))
