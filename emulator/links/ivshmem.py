# SPDX-License-Identifier: MIT
"""Our ivshmem server: gives QEMU's ivshmem-doorbell devices their memory and their doorbells.

Protocol version 0 of QEMU's `docs/specs/ivshmem-spec.txt`: 8-byte little-endian integers, with
descriptors beside them: version, the device's id, one message with a doorbell for every other id,
-1 with the memory, then the device's own doorbell.

What differs from a stock server, and why:

- The connection is a socket pair made before QEMU starts, with the whole greeting already in it, so
  the device finds its memory without waiting for us.
- The doorbells of the others come before the memory. QEMU reads a greeting up to the memory while
  it makes the device, the rest when its main loop finds time: a guest that boots first rings a
  doorbell that is not there yet, and nobody hears it. What is rung at the device's own is kept.
- Ids are fixed, since doorbell values stand in the cable page. One vector per id. The host is a
  peer that is always there.
- Each id has one doorbell for the life of the region, and a device is greeted with all of them,
  whoever is there. So nobody is told of arrivals and departures: QEMU frees a departed peer's table
  and writes to it when the same id arrives again, which ends the survivor. What guests have to know
  stands in the cable page.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Iterable
from typing import Final

PROTOCOL_VERSION: Final = 0
HOST_ID: Final = 0
_MEMORY_MARK: Final = -1
_MESSAGE = struct.Struct("<q")


class IvshmemServer:
    """The server of one region.

    Args:
        memory: descriptor of the region; stays the caller's.
        client_ids: the ids that devices may have, from 1.
        on_lost: called with the id of a client whose connection ended by itself.
    """

    def __init__(
        self, memory: int, client_ids: Iterable[int], on_lost: Callable[[int], None]
    ) -> None:
        self._memory = memory
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._doorbells = {
            peer_id: os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            for peer_id in (HOST_ID, *client_ids)
        }
        self._clients: dict[int, socket.socket] = {}

    @property
    def connected(self) -> frozenset[int]:
        """Ids of the devices that are there now."""
        return frozenset(self._clients)

    def connect(self, client_id: int) -> socket.socket:
        """Make a connection for a device.

        Args:
            client_id: its fixed id; whoever had it before must be gone.

        Returns:
            The device's end: pass its descriptor to QEMU, then close it here.
        """
        ours, theirs = socket.socketpair()
        _send(ours, PROTOCOL_VERSION)
        _send(ours, client_id)
        for peer_id, doorbell in self._doorbells.items():
            if peer_id != client_id:
                _send(ours, peer_id, doorbell)
        _send(ours, _MEMORY_MARK, self._memory)
        _send(ours, client_id, self._doorbells[client_id])
        ours.setblocking(False)
        self._clients[client_id] = ours
        self._loop.add_reader(ours, self._read, client_id)
        return theirs

    def disconnect(self, client_id: int) -> None:
        """Forget a device; no effect if it is not there."""
        sock = self._clients.pop(client_id, None)
        if sock is not None:
            self._loop.remove_reader(sock)
            sock.close()

    def ring(self, client_id: int) -> None:
        """Ring a doorbell; a device that arrives later hears it, too."""
        os.eventfd_write(self._doorbells[client_id], 1)

    def close(self) -> None:
        """Drop every connection and every doorbell."""
        for client_id in tuple(self._clients):
            self.disconnect(client_id)
        while self._doorbells:
            _, doorbell = self._doorbells.popitem()
            os.close(doorbell)

    def _read(self, client_id: int) -> None:
        # A device never speaks to its server: readable means that it is gone.
        self.disconnect(client_id)
        self._on_lost(client_id)


def _send(sock: socket.socket, value: int, descriptor: int | None = None) -> None:
    """Send one message; a greeting always has room in a socket that is new."""
    descriptors = [] if descriptor is None else [descriptor]
    socket.send_fds(sock, [_MESSAGE.pack(value)], descriptors)
