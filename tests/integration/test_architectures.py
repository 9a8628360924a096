# SPDX-License-Identifier: MIT
"""Nodes of both byte orders and both widths understand each other: pings, checked traffic, and a life that ends."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from emulator import DeathNotice
from emulator.model import Arch
from emulator.testing.clusters import cluster_of, link_text, node_text, nothing_is_lost, pair_text

pytestmark = [pytest.mark.qemu, pytest.mark.slow, pytest.mark.usefixtures("real_machines")]

RING = [*Arch, next(iter(Arch))]
ALL_FIVE = "".join(
    [
        *(node_text(arch.value, arch) for arch in Arch),
        *(link_text(one.value, other.value) for one, other in pairwise(RING)),
    ]
)


@pytest.mark.parametrize("kind", ["ivshmem", "virtio-serial"])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Arch.AARCH64_BE, Arch.X86_64),
        (Arch.RISCV32, Arch.AARCH64_BE),
        (Arch.RISCV32, Arch.X86_64),
    ],
    ids=lambda arch: arch.value,
)
async def test_pair(tmp_path: Path, one: Arch, other: Arch, kind: str) -> None:
    async with cluster_of(pair_text(one, other, kind=kind), tmp_path) as cluster:
        a, b = cluster.nodes
        for source, sink in ((a, b), (b, a)):
            assert 0 < await source.ping(sink) < 1
            # An odd size: the last word of the content is cut.
            stream = await source.traffic(to=sink, size_bytes=5003)
            ledger = await nothing_is_lost(stream, 200)
            statistics = await source.statistics()
            assert statistics.sent >= ledger.sent
        for victim, witness in ((a, b), (b, a)):
            life = victim.incarnation
            await victim.crash()
            await cluster.expect(
                DeathNotice, node=witness, of=victim, of_incarnation=life, within_s=20
            )
            await victim.restart()
            await cluster.wait_links_up()
            assert 0 < await witness.ping(victim) < 1


async def test_a_ring_of_all_architectures(tmp_path: Path) -> None:
    async with cluster_of(ALL_FIVE, tmp_path) as cluster:
        nodes = cluster.nodes
        for node, following in zip(nodes, [*nodes[1:], nodes[0]], strict=True):
            assert 0 < await node.ping(following) < 1
            assert 0 < await following.ping(node) < 1
