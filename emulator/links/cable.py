# SPDX-License-Identifier: MIT
"""What the runtime knows of a cable, and the shared-memory one.

A cable has two ends, 0 and 1. `plug` gives a descriptor for a machine that is about to start;
`unplug` says that it is gone. Cuts are per direction and survive both. A cable never decides
anything about nodes.
"""

from __future__ import annotations

import mmap
import os
import socket
from collections.abc import Callable
from typing import Protocol

from emulator.errors import HostError
from emulator.links.cable_page import REGION_BYTES, CablePage, Difference, ivshmem_id
from emulator.links.carrier import END_COUNT, CarrierState, Direction
from emulator.links.ivshmem import IvshmemServer

CarrierListener = Callable[[Direction], None]


class Cable(Protocol):
    """The host's side of what carries a link."""

    @property
    def state(self) -> CarrierState:
        """Which ends are plugged in, which directions are cut. Read only."""

    def plug(self, end: int) -> socket.socket:
        """Prepare an end for a machine about to start.

        Returns:
            The machine's end: pass its descriptor to QEMU, then close it here.
        """

    def unplug(self, end: int) -> None:
        """The machine at an end is gone; no effect if none is there."""

    def restarted(self, end: int) -> None:
        """The machine at an end was reset: tell it again what it must know."""

    def cut(self, direction: int) -> None:
        """Take the carrier of a direction away."""

    def splice(self, direction: int) -> None:
        """Give the carrier of a direction back."""

    def differences(self) -> tuple[Difference, ...]:
        """Where the cable's own description was overwritten by a guest."""

    def close(self) -> None:
        """Release everything."""


class SharedMemoryCable:
    """An ivshmem cable: one region, its page, its server.

    Args:
        name: shown in `/proc/*/maps`.
        on_carrier: called after each change of a direction, when both ends can see it.
        checked: whether bytes may change on the way.

    Raises:
        HostError: no memory or no descriptors left.
    """

    def __init__(self, name: str, on_carrier: CarrierListener, *, checked: bool = False) -> None:
        self.state = CarrierState()
        self._on_carrier = on_carrier
        self._memory = _make_region(name)
        self._map = mmap.mmap(self._memory, REGION_BYTES)
        self._view = memoryview(self._map)
        self._page = CablePage(self._view, checked=checked)
        self._server = IvshmemServer(
            self._memory, map(ivshmem_id, range(END_COUNT)), on_lost=self._lost
        )
        for direction in self.state.directions:
            self._page.write(direction)

    def plug(self, end: int) -> socket.socket:
        """Connect an end; see `Cable.plug`."""
        sock = self._server.connect(ivshmem_id(end))
        self._apply(self.state.plug(end))
        return sock

    def unplug(self, end: int) -> None:
        """Forget an end; see `Cable.unplug`."""
        self._server.disconnect(ivshmem_id(end))
        self._apply(self.state.unplug(end))

    def restarted(self, end: int) -> None:
        """Nothing to tell: the page outlives a reset."""

    def cut(self, direction: int) -> None:
        """Cut a direction; see `Cable.cut`."""
        self._apply(self.state.cut(direction))

    def splice(self, direction: int) -> None:
        """Splice a direction; see `Cable.splice`."""
        self._apply(self.state.splice(direction))

    def differences(self) -> tuple[Difference, ...]:
        """Words of the page that a guest has overwritten."""
        return self._page.differences()

    def close(self) -> None:
        """Release region and connections."""
        if self._memory < 0:
            return
        self._server.close()
        self._page.release()
        self._view.release()
        self._map.close()
        os.close(self._memory)
        self._memory = -1

    def _lost(self, client_id: int) -> None:
        # The machine's end is usually noticed by its pidfd first; whichever comes first acts.
        self._apply(self.state.unplug(client_id - 1))

    def _apply(self, changed: tuple[Direction, ...]) -> None:
        for direction in changed:
            self._page.write(direction)
        if changed:
            for end in range(END_COUNT):
                self._server.ring(ivshmem_id(end))
        for direction in changed:
            self._on_carrier(direction)


def _make_region(name: str) -> int:
    try:
        memory = os.memfd_create(f"mnlab-cable-{name}", os.MFD_CLOEXEC)
        os.ftruncate(memory, REGION_BYTES)
    except OSError as error:
        raise HostError(
            f"link {name}: cannot make its memory: {error.strerror}",
            hint="free memory, or raise the limit of open files (ulimit -n)",
        ) from error
    return memory
