# SPDX-License-Identifier: MIT
"""What a cluster is made of: frozen records, no behaviour beyond look-up.

A `Topology` that exists is valid: `emulator.config` makes it from text and refuses everything else.
It says nothing about this host (binaries, images, accelerators): that is checked when the cluster
boots.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from emulator.model.ids import HOST_NAME, NodeId
from emulator.protocol.constants import ClusterConstants

MEMORY_BYTES_DEFAULT: Final = 32 << 20
LINKS_PER_NODE_MAX: Final = 30  # PCI bus 0 has 31 free slots; one carries the management link


class Arch(Enum):
    """A CPU architecture that the firmware runs on."""

    X86_64 = "x86_64"
    AARCH64 = "aarch64"
    RISCV64 = "riscv64"
    AARCH64_BE = "aarch64_be"
    RISCV32 = "riscv32"


class LinkKind(Enum):
    """What a link's frames travel through."""

    IVSHMEM = "ivshmem"
    VIRTIO_SERIAL = "virtio-serial"


class CableMode(Enum):
    """What lies between the two ends; further modes join this enum with the taps."""

    DIRECT = "direct"


class Idle(Enum):
    """What a node does that has nothing to do."""

    HALT = "halt"
    POLL = "poll"


class Trace(Enum):
    """How much of the traffic is recorded as events."""

    DIGESTS = "digests"
    MESSAGES = "messages"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    """One node as the topology describes it.

    `servers` are loaded when it boots, in this order, `lazy` ones by the first message to them: names
    of built servers, or paths of objects.
    """

    name: str
    id: NodeId
    arch: Arch
    memory_bytes: int = MEMORY_BYTES_DEFAULT
    servers: tuple[str, ...] = ()
    lazy: tuple[str, ...] = ()
    forward: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSpec:
    """One link as the topology describes it; `ends[0]` is end 0 of its cable.

    `driver` is the kernel server that brings each end's peer in by itself, the name of a built one or
    the path of an object; empty: the link manager's, over the PHY driver of the kind.
    """

    name: str
    kind: LinkKind
    ends: tuple[str, str]
    cable: CableMode = CableMode.DIRECT
    payload_crc: bool = False
    raw: bool = False
    driver: str = ""

    @property
    def directions(self) -> tuple[str, str]:
        """The link's two directions, `a->b` and `b->a`."""
        first, second = self.ends
        return (f"{first}->{second}", f"{second}->{first}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """A whole cluster, validated."""

    name: str
    seed: int
    nodes: tuple[NodeSpec, ...]
    links: tuple[LinkSpec, ...]
    constants: ClusterConstants = field(default_factory=ClusterConstants)
    idle: Idle = Idle.HALT
    poll_ns: int = 50_000
    trace: Trace = Trace.DIGESTS
    host_forwards: bool = False
    source: str = ""

    def node(self, name: str) -> NodeSpec:
        """Look a node up by name.

        Raises:
            KeyError: no node has that name.
        """
        for spec in self.nodes:
            if spec.name == name:
                return spec
        raise KeyError(name)

    def links_of(self, node: str) -> tuple[LinkSpec, ...]:
        """The links with an end at this node, in the order of the file."""
        return tuple(link for link in self.links if node in link.ends)


__all__ = [
    "HOST_NAME",
    "LINKS_PER_NODE_MAX",
    "MEMORY_BYTES_DEFAULT",
    "Arch",
    "CableMode",
    "ClusterConstants",
    "Idle",
    "LinkKind",
    "LinkSpec",
    "NodeSpec",
    "Topology",
    "Trace",
]
