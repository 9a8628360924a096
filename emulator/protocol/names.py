# SPDX-License-Identifier: MIT
"""Names of ports between nodes: 64 bits of creator node id, life tag and serial
(docs/spec/flipc.md, section 2).

A name is a plain `int`, because it comes from and goes to the wire as one; 0 is null.
"""

from __future__ import annotations

from typing import Final

from emulator.errors import HostError

NAME_NULL: Final = 0
SERIAL_BOOTSTRAP: Final = 1
SERIAL_KERNEL: Final = 2
TAG_WELL_KNOWN: Final = 0
_TAG_COUNT: Final = 65535
_SERIAL_LAST: Final = 0xFFFFFFFF


def make_name(node_id: int, tag: int, serial: int) -> int:
    """Return the name with these parts: node id and tag of 16 bits, serial of 32 bits."""
    return node_id << 48 | tag << 32 | serial


def node_of(name: int) -> int:
    """Return the node id of the port's creator."""
    return name >> 48


def tag_of(name: int) -> int:
    """Return the life tag; 0 for a well-known name."""
    return name >> 32 & 0xFFFF


def serial_of(name: int) -> int:
    """Return the serial within the creator's life."""
    return name & 0xFFFFFFFF


def is_well_known(name: int) -> bool:
    """Return whether the name means a port of whatever incarnation the frame is for."""
    return tag_of(name) == TAG_WELL_KNOWN and serial_of(name) != 0


def kernel_port(node_id: int) -> int:
    """Return the well-known name of a node's kernel port."""
    return make_name(node_id, TAG_WELL_KNOWN, SERIAL_KERNEL)


def bootstrap_port(node_id: int) -> int:
    """Return the well-known name of a node's bootstrap port."""
    return make_name(node_id, TAG_WELL_KNOWN, SERIAL_BOOTSTRAP)


def tag_of_incarnation(incarnation: int) -> int:
    """Return the tag that an incarnation gives its names, 1 .. 65535."""
    launch, count = incarnation >> 32, incarnation & 0xFFFFFFFF
    return 1 + (launch * 256 + count) % _TAG_COUNT


def is_of_later_life(name: int, incarnation: int) -> bool:
    """Return whether an ordinary name is of a later life of its creator than that incarnation. Tags
    go round: half of them are of lives before, half of lives after."""
    distance = (tag_of(name) - tag_of_incarnation(incarnation)) % _TAG_COUNT
    return tag_of(name) != TAG_WELL_KNOWN and 0 < distance < _TAG_COUNT // 2


def describe(name: int) -> str:
    """Return a name as people read it: node.tag.serial."""
    if name == NAME_NULL:
        return "null"
    return f"{node_of(name)}.{tag_of(name)}.{serial_of(name)}"


class NameAllocator:
    """Gives out the ordinary names of one life; none twice."""

    def __init__(self, node_id: int, incarnation: int) -> None:
        """Begin at serial 1.

        Args:
            node_id: The creator.
            incarnation: Its life.
        """
        self._node_id = node_id
        self._tag = tag_of_incarnation(incarnation)
        self._serial = 0

    @property
    def last_serial(self) -> int:
        """The serial given out last, 0 for none."""
        return self._serial

    def allocate(self) -> int:
        """Return a name that was never given out before.

        Raises:
            HostError: All 2^32 - 1 serials of this life are used up.
        """
        if self._serial == _SERIAL_LAST:
            raise HostError("every name of this life is used up", hint="start a new run")
        self._serial += 1
        return make_name(self._node_id, self._tag, self._serial)
