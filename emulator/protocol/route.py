# SPDX-License-Identifier: MIT
"""Passing on: where a frame of a route goes next.

A route is a link without a cable: its frames name it by number, and the nodes on its path pass them
on. A frame goes on by what its route's record says of the link by which it came, never by anything
else, and a record joins two links: so no frame visits a node twice, whatever it claims. A pure
decision; nothing is kept. Specified in docs/spec/link.md, section 6.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from emulator.protocol.constants import FRAME_HEADER_SIZE, ROUTE_MTU, LinkDrop
from emulator.protocol.frames import FrameHeader, header_fault

__all__ = ["Transit", "TransitTable", "route_of"]

_ROUTE_OFFSET = 34


def route_of(frame: bytes) -> int:
    """Return the route that a frame of at least a header's length says it is of, 0 for none."""
    return int.from_bytes(frame[_ROUTE_OFFSET : _ROUTE_OFFSET + 2], "little")


@dataclass(frozen=True, slots=True, kw_only=True)
class Transit:
    """A route that a node passes on.

    Args:
        route: Its number, 1 .. 65535.
        ends: The nodes at its ends.
        links: This node's links towards these, in the same order.
    """

    route: int
    ends: tuple[int, int]
    links: tuple[int, int]

    def __str__(self) -> str:
        (first, second), (one, other) = self.ends, self.links
        return f"{self.route} {first}:{one} {second}:{other}"


class TransitTable:
    """The routes that one node passes on."""

    def __init__(self, transits: Iterable[Transit]) -> None:
        """Take the node's transits; a route goes through a node once."""
        self._transits = {transit.route: transit for transit in transits}

    def next_link(self, link: int, frame: bytes) -> int | LinkDrop:
        """Decide about a frame that came by a link.

        Args:
            link: By which it came.
            frame: The whole frame; any bytes are allowed.

        Returns:
            The link by which it leaves, or why it does not: BAD_HEADER, BAD_LENGTH, WRONG_NODE (no
            such route here, or not by that link), WRONG_PEER (not between the route's ends, in that
            direction).
        """
        fault = header_fault(frame, ROUTE_MTU)
        if fault is not None:
            return fault
        header = FrameHeader.parse(frame)
        if header.length != len(frame) - FRAME_HEADER_SIZE:
            return LinkDrop.BAD_LENGTH
        transit = self._transits.get(header.route)
        if transit is None or link not in transit.links:
            return LinkDrop.WRONG_NODE
        side = transit.links.index(link)
        if (header.src_node, header.dst_node) != (transit.ends[side], transit.ends[1 - side]):
            return LinkDrop.WRONG_PEER
        return transit.links[1 - side]
