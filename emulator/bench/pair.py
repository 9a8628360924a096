# SPDX-License-Identifier: MIT
"""The two-node clusters that are measured."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from emulator.config import parse_topology
from emulator.model import Arch, Topology

RAW_LINK_INDEX = 2  # in the boot page: after the management link and the link


class Wire(Enum):
    """What joins the pair, and how its nodes wait."""

    POLLING = "ivshmem, both ends polling"
    CHECKED = "ivshmem with payload CRC, both ends polling"
    SLEEPING = "ivshmem, both ends sleeping when idle"
    SERIAL = "virtio-serial"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two architectures that are measured together.

    Args:
        first: node a's.
        second: node b's.
        suffix: what the names of its figures end in.
    """

    first: Arch
    second: Arch
    suffix: str

    def name(self, figure: str) -> str:
        """The name of one of its figures."""
        return figure + self.suffix

    def topology(self, wire: Wire) -> Topology:
        """A cluster of the pair."""
        serial = wire is Wire.SERIAL
        idle = "poll" if wire in (Wire.POLLING, Wire.CHECKED) else "halt"
        text = f"""
[cluster]
name = "bench"
seed = 1
idle = "{idle}"
poll_us = {0 if wire is Wire.SLEEPING else 50}

[[node]]
name = "a"
arch = "{self.first.value}"
servers = ["traffic", "raw_ring"]

[[node]]
name = "b"
arch = "{self.second.value}"
servers = ["traffic", "raw_ring"]

[[link]]
kind = "{"virtio-serial" if serial else "ivshmem"}"
ends = ["a", "b"]
payload_crc = {"true" if serial or wire is Wire.CHECKED else "false"}
"""
        if wire in (Wire.POLLING, Wire.CHECKED):
            text += '\n[[link]]\nkind = "ivshmem"\nends = ["a", "b"]\nuse = "raw"\nname = "raw"\n'
        return parse_topology(text, source="bench")


PAIRS = (
    Pair(first=Arch.X86_64, second=Arch.X86_64, suffix=""),
    Pair(first=Arch.AARCH64, second=Arch.RISCV64, suffix=".mixed"),
)


def pair_of(name: str) -> tuple[Pair, str]:
    """The pair a figure is of, and the figure's name without the pair's suffix.

    Args:
        name: a figure's name.
    """
    for pair in PAIRS:
        if pair.suffix and name.endswith(pair.suffix):
            return pair, name.removesuffix(pair.suffix)
    return PAIRS[0], name
