# SPDX-License-Identifier: MIT
"""A byte-stream cable between two machines: two socket pairs, and a relay between them that drops
what a cut direction carries.

The relay passes bytes on without parsing them (see `boundary`). It reads from one end only while
the other has room, so nothing is buffered without bound: a receiver that stops reading stops the
sender, as a wire with flow control would.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final

from emulator.links.boundary import Boundary
from emulator.links.cable import CarrierListener
from emulator.links.cable_page import Difference
from emulator.links.carrier import END_COUNT, CarrierState, Direction
from emulator.links.outlet import Outlet
from emulator.protocol.constants import Direction as EndDirection
from emulator.protocol.frames import cable_frame

_READ_BYTES: Final = 64 * 1024


class StreamCable:
    """A virtio-serial cable between two machines.

    Args:
        on_carrier: called after each change of a direction.
    """

    def __init__(self, on_carrier: CarrierListener) -> None:
        self.state = CarrierState()
        self._loop = asyncio.get_running_loop()
        self._on_carrier = on_carrier
        self._sockets: list[socket.socket | None] = [None, None]
        self._lanes = (_Lane(self, 0), _Lane(self, 1))

    def plug(self, end: int) -> socket.socket:
        """Make a socket pair for an end; see `Cable.plug`."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._sockets[end] = ours
        self._lanes[1 - end].outlet.open(ours)
        self._lanes[end].start()
        changed = self.state.plug(end)
        self._switch(changed)
        self._announce(end)
        self._report(changed)
        return theirs

    def unplug(self, end: int) -> None:
        """Forget an end; see `Cable.unplug`."""
        sock = self._sockets[end]
        if sock is None:
            return
        changed = self.state.unplug(end)
        self._switch(changed)
        self._lanes[end].stop()
        self._lanes[1 - end].outlet.close()
        self._sockets[end] = None
        sock.close()
        self._report(changed)

    def restarted(self, end: int) -> None:
        """A machine was reset: end the frame it was sending, and tell it its carriers again."""
        self._lanes[end].outlet.truncate()
        self._announce(end)

    def cut(self, direction: int) -> None:
        """Cut a direction; see `Cable.cut`."""
        changed = self.state.cut(direction)
        self._switch(changed)
        self._report(changed)

    def splice(self, direction: int) -> None:
        """Splice a direction; see `Cable.splice`."""
        changed = self.state.splice(direction)
        self._switch(changed)
        self._report(changed)

    def differences(self) -> tuple[Difference, ...]:
        """None: nothing of this cable lies where a guest could write."""
        return ()

    def close(self) -> None:
        """Close both ends."""
        for end in range(END_COUNT):
            self.unplug(end)

    def socket_of(self, end: int) -> socket.socket | None:
        """Our side of an end's socket pair."""
        return self._sockets[end]

    def _switch(self, changed: tuple[Direction, ...]) -> None:
        for direction in changed:
            lane = self._lanes[direction.index]
            if direction.carrier:
                lane.open()
            else:
                lane.shut()

    def _report(self, changed: tuple[Direction, ...]) -> None:
        if changed:
            for end in range(END_COUNT):
                self._announce(end)
        for direction in changed:
            self._on_carrier(direction)

    def _announce(self, end: int) -> None:
        """Tell an end the state of both directions; what it knows already it passes over."""
        frames = b"".join(
            cable_frame(
                EndDirection.TX if direction.index == end else EndDirection.RX,
                up=direction.carrier,
                generation=direction.generation,
            )
            for direction in self.state.directions
        )
        self._lanes[1 - end].outlet.announce(frames)


class _Lane:
    """One direction of the relay: from end `index` to the other.

    Shut, it reads and drops. Opened in the middle of a frame, it goes on dropping to that frame's
    end.
    """

    def __init__(self, cable: StreamCable, index: int) -> None:
        self._cable = cable
        self._index = index
        self._loop = asyncio.get_running_loop()
        self.outlet = Outlet(on_room=self.start)
        self._is_open = False
        self._dropping: Boundary | None = Boundary()

    def start(self) -> None:
        """Read from the source."""
        sock = self._cable.socket_of(self._index)
        if sock is not None:
            self._loop.add_reader(sock, self._read, sock)

    def stop(self) -> None:
        """The source is gone; the next one begins between two frames."""
        sock = self._cable.socket_of(self._index)
        if sock is not None:
            self._loop.remove_reader(sock)
        self.outlet.truncate()
        self._is_open = False
        self._dropping = Boundary()

    def open(self) -> None:
        """Pass on what comes, from the next beginning of a frame."""
        self._is_open = True

    def shut(self) -> None:
        """Drop what comes, and what is in our hands."""
        self._is_open = False
        if self._dropping is None:
            self._dropping = self.outlet.position_of_source()
            self.outlet.truncate()
        self.start()  # it may have been waiting for room

    def _read(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        if not data:
            self._loop.remove_reader(sock)  # the process's end is noticed by its owner
            return
        if self._dropping is not None:
            data = self._drop(self._dropping, data)
        if data:
            self.outlet.forward(data)
            if self.outlet.is_full:
                self._loop.remove_reader(sock)

    def _drop(self, position: Boundary, data: bytes) -> bytes:
        """Move over bytes that are not passed on; return those that are."""
        if self._is_open:
            whole = position.distance(data)
            if whole is not None:
                self._dropping = None
                return data[whole:]
        position.feed(data)
        return b""
