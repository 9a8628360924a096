# SPDX-License-Identifier: MIT
"""A node's RAM: a memfd that we make, fill and keep, and that QEMU maps.

It outlives the machine, so the black box can be read after the node died. Nothing of it is in any
file system.
"""

from __future__ import annotations

import mmap
import os
from typing import Final

from emulator.errors import HostError
from emulator.machines.blackbox import BlackBox
from emulator.machines.boot_page import BOOT_PAGE_OFFSET, read_incarnation
from emulator.model import Incarnation, boot_count_of


class Ram:
    """RAM of one process start of a node.

    Args:
        name: shown in `/proc/*/maps`.
        size_bytes: how much, a multiple of the page size.
        launch: the launch number it belongs to.
        boot_page: the 4096 bytes left at the boot page's place.

    Raises:
        HostError: no memory or no descriptors left.
    """

    def __init__(self, *, name: str, size_bytes: int, launch: int, boot_page: bytes) -> None:
        self.size_bytes: Final = size_bytes
        self.launch: Final = launch
        try:
            self.descriptor = os.memfd_create(f"mnlab-ram-{name}", os.MFD_CLOEXEC)
            try:
                os.ftruncate(self.descriptor, size_bytes)
                self._map = mmap.mmap(self.descriptor, size_bytes)
            except BaseException:
                os.close(self.descriptor)
                raise
        except OSError as error:
            raise HostError(
                f"node {name}: cannot make {size_bytes} bytes of RAM: {error.strerror}",
                hint="free memory, or give the nodes less (`memory`)",
            ) from error
        self._view = memoryview(self._map)
        self._view[BOOT_PAGE_OFFSET : BOOT_PAGE_OFFSET + len(boot_page)] = boot_page
        self._boxes = [BlackBox(self._view, boot_count=count) for count in range(2)]

    @property
    def incarnation(self) -> Incarnation:
        """The life the machine is in by its boot count; 0 before the firmware's first step."""
        return read_incarnation(self._view, self.launch)

    def blackbox(self, life: Incarnation) -> BlackBox:
        """The black box of a life; the place is taken by the second life after it."""
        return self._boxes[boot_count_of(life) % 2]

    def close(self) -> None:
        """Give the memory back. The machine that maps it, if any, keeps its own hold."""
        if self.descriptor < 0:
            return
        for box in self._boxes:
            box.release()
        self._view.release()
        self._map.close()
        os.close(self.descriptor)
        self.descriptor = -1
