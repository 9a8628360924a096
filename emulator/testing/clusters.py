# SPDX-License-Identifier: MIT
"""Clusters of real machines, as tests open them: topologies by table, a run in the test's folder, and
the account of a stream that went well."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from emulator import Cluster, RunOptions, Stream, StreamLedger
from emulator.config import parse_topology
from emulator.model import Arch

__all__ = ["cluster_of", "link_text", "node_text", "nothing_is_lost", "pair_text"]

SERVERS = ("echo", "traffic")


def node_text(name: str, arch: Arch = Arch.X86_64, servers: Sequence[str] = SERVERS) -> str:
    """A node's table, to which more lines may be added."""
    listed = ", ".join(f'"{server}"' for server in servers)
    return f'[[node]]\nname = "{name}"\narch = "{arch.value}"\nservers = [{listed}]\n'


def link_text(one: str, other: str, kind: str = "ivshmem") -> str:
    """The table of a link between two nodes, to which more lines may be added."""
    return f'[[link]]\nkind = "{kind}"\nends = ["{one}", "{other}"]\n'


def pair_text(
    first: Arch = Arch.X86_64,
    second: Arch = Arch.X86_64,
    *,
    kind: str = "ivshmem",
    servers: Sequence[str] = SERVERS,
) -> str:
    """A topology of nodes `a` and `b`; its last table is their link's.

    Args:
        first, second: architecture of each.
        kind: of the link.
        servers: of both.
    """
    nodes = node_text("a", first, servers) + node_text("b", second, servers)
    return nodes + link_text("a", "b", kind)


def cluster_of(text: str, folder: Path, options: RunOptions | None = None) -> Cluster:
    """A cluster of a topology, with its run folders below a folder.

    Args:
        text: the topology.
        folder: the test's.
        options: how to run it, but for the folder.
    """
    topology = parse_topology(text, source="test.toml")
    options = dataclasses.replace(options or RunOptions(), runs_path=folder / "runs")
    return Cluster.from_topology(topology, options=options)


async def nothing_is_lost(stream: Stream, received: int, *, within_s: float = 60) -> StreamLedger:
    """Let so many more messages of a stream arrive, stop it, and expect that each that was sent
    arrived once, whole and in order; return its account."""
    await stream.wait_received(received, within_s=within_s)
    ledger = await stream.stop()
    assert ledger.sent == ledger.acked == ledger.received >= received
    assert ledger.failed == ledger.unknown == 0
    assert ledger.duplicates == ledger.gaps == ledger.corrupt == 0
    return ledger
