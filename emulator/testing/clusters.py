# SPDX-License-Identifier: MIT
"""Clusters of real machines, as tests open them: two nodes with a link, and a run in the test's folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emulator import Cluster, RunOptions
from emulator.config import parse_topology
from emulator.model import Arch

__all__ = ["cluster_of", "pair_text"]


def pair_text(
    first: Arch = Arch.X86_64,
    second: Arch = Arch.X86_64,
    *,
    kind: str = "ivshmem",
    servers: Sequence[str] = ("echo", "traffic"),
) -> str:
    """A topology of nodes `a` and `b`; its last table is their link's.

    Args:
        first, second: architecture of each.
        kind: of the link.
        servers: of both.
    """
    listed = ", ".join(f'"{server}"' for server in servers)
    nodes = "".join(
        f'[[node]]\nname = "{name}"\narch = "{arch.value}"\nservers = [{listed}]\n'
        for name, arch in (("a", first), ("b", second))
    )
    return f'{nodes}[[link]]\nkind = "{kind}"\nends = ["a", "b"]\n'


def cluster_of(text: str, folder: Path) -> Cluster:
    """A cluster of a topology, with its run folders below a folder."""
    topology = parse_topology(text, source="test.toml")
    return Cluster.from_topology(topology, options=RunOptions(runs_path=folder / "runs"))
