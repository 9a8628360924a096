# SPDX-License-Identifier: MIT
"""Our ivshmem server: gives QEMU's ivshmem-doorbell devices their memory and their doorbells.

Protocol version 0 of QEMU's `docs/specs/ivshmem-spec.txt`: 8-byte little-endian integers, with
descriptors beside them. To a newcomer: version, its id, -1 with the memory, one message with a
doorbell for every peer that is there, then its own. To the
others: the newcomer's id with its doorbell; on departure its id alone.

What differs from a stock server: the connection is a socket pair made before QEMU starts, with the
whole greeting already in it, so the device finds its memory without waiting for us; and ids are
fixed, since doorbell values stand in the cable page. One vector per peer. The host is a peer that
is always there.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Final

PROTOCOL_VERSION: Final = 0
HOST_ID: Final = 0
_MEMORY_MARK: Final = -1
_MESSAGE = struct.Struct("<q")


class _Client:
    """One connected device: its socket, its doorbell, and what its socket had no room for."""

    def __init__(self, sock: socket.socket, doorbell: int) -> None:
        self.sock = sock
        self.doorbell = doorbell
        self.waiting: deque[tuple[int, int | None]] = deque()


class IvshmemServer:
    """The server of one region.

    Args:
        memory: descriptor of the region; stays the caller's.
        on_lost: called with the id of a client whose connection ended by itself.
    """

    def __init__(self, memory: int, on_lost: Callable[[int], None]) -> None:
        self._memory = memory
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._host_doorbell = _make_doorbell()
        self._clients: dict[int, _Client] = {}

    @property
    def connected(self) -> frozenset[int]:
        """Ids of the devices that are there now."""
        return frozenset(self._clients)

    def connect(self, client_id: int) -> socket.socket:
        """Make a connection for a device, and tell the others of it.

        Args:
            client_id: its fixed id, from 1; whoever had it before must be gone.

        Returns:
            The device's end: pass its descriptor to QEMU, then close it here.
        """
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        client = _Client(ours, _make_doorbell())
        self._send(client, PROTOCOL_VERSION)
        self._send(client, client_id)
        self._send(client, _MEMORY_MARK, self._memory)
        self._send(client, HOST_ID, self._host_doorbell)
        for other_id, other in self._clients.items():
            self._send(client, other_id, other.doorbell)
            self._send(other, client_id, client.doorbell)
        self._send(client, client_id, client.doorbell)
        self._clients[client_id] = client
        self._loop.add_reader(ours, self._read, client_id)
        return theirs

    def disconnect(self, client_id: int) -> None:
        """Forget a device and tell the others; no effect if it is not there."""
        client = self._clients.pop(client_id, None)
        if client is None:
            return
        self._drop(client)
        for other in self._clients.values():
            self._send(other, client_id)

    def ring(self, client_id: int) -> None:
        """Ring a device's doorbell; no effect if it is not there."""
        client = self._clients.get(client_id)
        if client is not None:
            os.eventfd_write(client.doorbell, 1)

    def close(self) -> None:
        """Drop every connection."""
        for client in self._clients.values():
            self._drop(client)
        self._clients.clear()
        if self._host_doorbell >= 0:
            os.close(self._host_doorbell)
            self._host_doorbell = -1

    def _send(self, client: _Client, value: int, descriptor: int | None = None) -> None:
        # A descriptor that has to wait is duplicated: its owner may be gone by then.
        if client.waiting or not _try_send(client.sock, value, descriptor):
            kept = os.dup(descriptor) if descriptor is not None else None
            client.waiting.append((value, kept))
            self._loop.add_writer(client.sock, self._flush, client)

    def _flush(self, client: _Client) -> None:
        while client.waiting:
            value, descriptor = client.waiting[0]
            if not _try_send(client.sock, value, descriptor):
                return
            client.waiting.popleft()
            if descriptor is not None:
                os.close(descriptor)
        self._loop.remove_writer(client.sock)

    def _read(self, client_id: int) -> None:
        # A device never speaks to its server: readable means that it is gone.
        self.disconnect(client_id)
        self._on_lost(client_id)

    def _drop(self, client: _Client) -> None:
        self._loop.remove_reader(client.sock)
        self._loop.remove_writer(client.sock)
        client.sock.close()
        os.close(client.doorbell)
        for _, descriptor in client.waiting:
            if descriptor is not None:
                os.close(descriptor)


def _make_doorbell() -> int:
    return os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)


def _try_send(sock: socket.socket, value: int, descriptor: int | None) -> bool:
    """Send one message; False if there is no room.

    A dead connection swallows it: whoever reads from it will notice.
    """
    descriptors = [] if descriptor is None else [descriptor]
    try:
        socket.send_fds(sock, [_MESSAGE.pack(value)], descriptors)
    except BlockingIOError:
        return False
    except (BrokenPipeError, ConnectionResetError):
        return True
    return True
