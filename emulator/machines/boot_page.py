# SPDX-License-Identifier: MIT
"""The boot area of a node's RAM: the page we leave there, and the boot count the firmware keeps.

Specified in `docs/spec/boot.md`; C: `firmware/include/abi/boot.h`. All offsets from the first byte
of RAM.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import crc32c

from emulator.errors import UsageError
from emulator.model import (
    ClusterConstants,
    Idle,
    Incarnation,
    LinkKind,
    NodeId,
    Trace,
    incarnation_of,
)
from emulator.protocol.route import Transit

BOOT_PAGE_OFFSET: Final = 0x800000
BOOT_COUNT_OFFSET: Final = 0x801000
BOOT_PAGE_BYTES: Final = 4096
BOOT_TEXT_OFFSET: Final = 64
BOOT_TEXT_MAXIMUM: Final = 4032
BOOT_MAGIC: Final = b"MNLBOOT1"
BOOT_VERSION: Final = 1
COUNT_MAGIC: Final = b"MNLCOUNT"

_HEAD = struct.Struct("<8sIII")
_COUNT = struct.Struct("<8sII")


@dataclass(frozen=True, slots=True, kw_only=True)
class BootLink:
    """One `link` line: what the node must know of one of its links.

    Args:
        name: the link's name.
        kind: what its frames travel through.
        slot: PCI device number on bus 0.
        peer: the node at the other end.
        payload_crc: whether this end asks for payload CRCs.
        replay: whether this end offers replay.
        raw: left to the `raw_ring` server; the link protocol does not run on it.
        driver: left to the kernel server of this name, which brings the peer in by itself.
        version: of the link protocol, to offer in training; None: what the image speaks.
    """

    name: str
    kind: LinkKind
    slot: int
    peer: NodeId
    payload_crc: bool
    replay: bool
    raw: bool = False
    driver: str = ""
    version: int | None = None

    def line(self) -> str:
        """The value of the line."""
        use = f"driver driver:{self.driver}" if self.driver else "raw" if self.raw else "link"
        version = "" if self.version is None else f" version:{self.version}"
        return (
            f"name:{self.name} kind:{self.kind.value} slot:{self.slot} peer:{self.peer} "
            f"payload_crc:{self.payload_crc:d} replay:{self.replay:d} use:{use}{version}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BootRoute:
    """A `link` line of a route that ends at the node.

    Args:
        name: as events call it.
        peer: the node at its other end.
        via: index of the link over which it starts.
        route: its number.
    """

    name: str
    peer: NodeId
    via: int
    route: int

    def line(self) -> str:
        """The value of the line."""
        return f"name:{self.name} kind:route peer:{self.peer} via:{self.via} route:{self.route}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BootArguments:
    """Everything a node is told at power-up; link 0 is the management link.

    The indices of routes follow those of the links.
    """

    node_id: NodeId
    node_name: str
    launch: int
    seed: int
    constants: ClusterConstants
    idle: Idle
    poll_ns: int
    trace: Trace
    servers: tuple[str, ...]
    links: Sequence[BootLink]
    routes: Sequence[BootRoute] = ()
    transits: Sequence[Transit] = ()

    def text(self) -> str:
        """The page's text: one `key=value` line each."""
        constants = self.constants
        pairs = [
            ("node.id", self.node_id),
            ("node.name", self.node_name),
            ("launch", self.launch),
            ("seed", self.seed),
            ("nodes_max", constants.nodes_max),
            ("window", constants.window),
            ("keepalive_ns", constants.keepalive_ns),
            ("link_down_after_ns", constants.link_down_after_ns),
            ("dead_after_ns", constants.dead_after_ns),
            ("ack_delay_ns", constants.ack_delay_ns),
            ("ack_count", constants.ack_count),
            ("idle", self.idle.value),
            ("poll_ns", self.poll_ns),
            ("trace", self.trace.value),
            ("servers", " ".join(self.servers)),
            *(("link", link.line()) for link in self.links),
            *(("link", route.line()) for route in self.routes),
            *(("transit", str(transit)) for transit in self.transits),
        ]
        return "".join(f"{key}={value}\n" for key, value in pairs)


def build_boot_page(arguments: BootArguments) -> bytes:
    """Lay out the boot page.

    Returns:
        4096 bytes for `BOOT_PAGE_OFFSET`.

    Raises:
        UsageError: the text does not fit; the node has too many or too long-named links.
    """
    text = arguments.text().encode("ascii")
    if len(text) > BOOT_TEXT_MAXIMUM:
        raise UsageError(
            f"node {arguments.node_name}: boot arguments take {len(text)} bytes of "
            f"{BOOT_TEXT_MAXIMUM}",
            hint="give the node fewer links or servers, let fewer nodes forward, or give its links "
            "shorter names",
        )
    head = _HEAD.pack(BOOT_MAGIC, BOOT_VERSION, len(text), crc32c.crc32c(text))
    return (head.ljust(BOOT_TEXT_OFFSET, b"\0") + text).ljust(BOOT_PAGE_BYTES, b"\0")


def read_boot_count(ram: memoryview) -> int:
    """The boot count in a node's RAM; 0 when the firmware has not written one yet.

    Args:
        ram: the whole RAM.
    """
    record = bytes(ram[BOOT_COUNT_OFFSET : BOOT_COUNT_OFFSET + _COUNT.size])
    magic, count, check = _COUNT.unpack(record)
    if magic != COUNT_MAGIC or check != crc32c.crc32c(record[:12]):
        return 0
    return int(count)


def read_incarnation(ram: memoryview, launch: int) -> Incarnation:
    """The incarnation in which a machine is now; 0 before its firmware's first step."""
    count = read_boot_count(ram)
    return incarnation_of(launch, count) if count else Incarnation(0)
