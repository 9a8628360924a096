# SPDX-License-Identifier: MIT
"""The way out of a relay, towards one end of a stream cable: bounded, never blocking, whole frames.

Two things come here: what the other end sent, and the cable's own CABLE frames, which must lie
between frames. Invariant: what has been written to the socket plus what is buffered is a sequence
of whole frames followed by at most one incomplete frame. The cable's frames wait beside the buffer
until the socket stands between two frames; the latest replace those that still wait.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from emulator.links.boundary import Boundary

BUFFER_LIMIT_BYTES: Final = 64 * 1024


class Outlet:
    """Writes to one end of a stream cable.

    Args:
        on_room: called when a buffer that was full has room again.
    """

    def __init__(self, on_room: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_room = on_room
        self._sock: socket.socket | None = None
        self._written = Boundary()
        self._buffer = bytearray()
        self._announcement = b""

    @property
    def is_full(self) -> bool:
        """Whether the source should stop for now."""
        return len(self._buffer) >= BUFFER_LIMIT_BYTES

    def open(self, sock: socket.socket) -> None:
        """Begin anew on a non-blocking socket, which stays the caller's."""
        self.close()
        self._sock = sock

    def close(self) -> None:
        """Drop everything; what is forwarded from now on goes nowhere."""
        if self._sock is not None:
            self._loop.remove_writer(self._sock)
        self._sock = None
        self._written = Boundary()
        self._buffer.clear()
        self._announcement = b""

    def forward(self, data: bytes) -> None:
        """Pass on what the other end sent."""
        if self._sock is None:
            return
        if self._buffer or self._announcement:
            self._buffer += data
            self._flush()
            return
        sent = self._write(data)
        if sent < len(data):
            self._buffer += data[sent:]
            self._watch()

    def announce(self, frames: bytes) -> None:
        """Send the cable's own frames, the whole state of it, as early as whole frames allow."""
        if self._sock is None:
            return
        self._announcement = frames
        self._flush()

    def position_of_source(self) -> Boundary:
        """Where in a frame the source stands, everything it sent until now taken together."""
        position = self._written.copy()
        position.feed(self._buffer)
        return position

    def truncate(self) -> None:
        """The source fell silent for good: drop its frames here, end the one that is half out.

        An incomplete frame is filled up with zeros; its checksum then fails at the receiver, which
        would otherwise wait for the rest and take what follows for it.
        """
        whole = self._written.distance(self._buffer)
        if whole is not None:
            del self._buffer[whole:]
        else:
            end = self.position_of_source()
            while not end.is_here:
                filler = bytes(end.missing)
                end.feed(filler)
                self._buffer += filler
        self._flush()

    def _flush(self) -> None:
        was_full = self.is_full
        blocked = False
        while not blocked:
            limit = len(self._buffer)
            if self._announcement:
                place = self._written.distance(self._buffer)
                if place == 0:
                    self._buffer[:0] = self._announcement
                    self._announcement = b""
                    limit = len(self._buffer)
                elif place is not None:
                    limit = place
            if not limit:
                break
            sent = self._write(bytes(self._buffer[:limit]))
            del self._buffer[:sent]
            blocked = sent < limit
        if self._sock is not None:
            if blocked:
                self._watch()
            else:
                self._loop.remove_writer(self._sock)
        if was_full and not self.is_full:
            self._on_room()

    def _watch(self) -> None:
        if self._sock is not None:
            self._loop.add_writer(self._sock, self._flush)

    def _write(self, data: bytes) -> int:
        """Write what fits; a dead receiver takes everything, its end is noticed elsewhere."""
        assert self._sock is not None
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            return 0
        except (BrokenPipeError, ConnectionResetError):
            return len(data)
        self._written.feed(data[:sent])
        return sent
