# SPDX-License-Identifier: MIT
"""The C transit table, with the interface of its Python twin in `emulator.protocol.route`."""

from __future__ import annotations

from collections.abc import Iterable

from emulator.core.library import ffi, lib
from emulator.protocol.constants import FRAME_HEADER_SIZE, LinkDrop
from emulator.protocol.route import Transit

__all__ = ["CTransitTable"]


class CTransitTable:
    """The routes that one node passes on."""

    def __init__(self, transits: Iterable[Transit]) -> None:
        """Take the node's transits; a route goes through a node once."""
        rows = [(transit.route, transit.ends, transit.links) for transit in transits]
        self._count = len(rows)
        self._transits = ffi.new("struct boot_transit[]", rows)

    def next_link(self, link: int, frame: bytes) -> int | LinkDrop:
        """Decide about a frame that came by a link."""
        header = ffi.new("struct frame_header *")
        ffi.memmove(header, frame[:FRAME_HEADER_SIZE], min(len(frame), FRAME_HEADER_SIZE))
        out = ffi.new("uint32_t *")
        fault = lib.route_next(self._transits, self._count, link, header, len(frame), out)
        return LinkDrop(fault) if fault else int.from_bytes(ffi.buffer(out), "little")
