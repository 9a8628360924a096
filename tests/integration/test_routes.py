# SPDX-License-Identifier: MIT
"""Routes on real machines: through the host, and as the spare of a cable."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator import UsageError
from emulator.model import Arch
from emulator.testing.clusters import cluster_of, link_text, node_text

pytestmark = [pytest.mark.qemu, pytest.mark.slow, pytest.mark.usefixtures("real_machines")]

THROUGH_THE_HOST = (
    "[cluster]\nhost_forwards = true\n" + node_text("a") + node_text("b", Arch.AARCH64_BE)
)
TRIANGLE = (
    node_text("a")
    + node_text("b", Arch.RISCV32)
    + "forward = true\n"
    + node_text("c")
    + link_text("a", "c")
    + link_text("a", "b", "virtio-serial")
    + link_text("b", "c")
)


async def test_through_the_host(tmp_path: Path) -> None:
    async with cluster_of(THROUGH_THE_HOST, tmp_path) as cluster:
        a, b = cluster.nodes
        (route,) = cluster.routes
        assert route.path == ("a", "host", "b")
        await a.ping(b)
        stream = await a.traffic(to=b, size_bytes=20000, count=50, check_content=True)
        await stream.wait_done()
        ledger = await stream.stop()
        assert (ledger.received, ledger.corrupt) == (50, 0)
        with pytest.raises(UsageError, match="has no cable to cut"):
            await route.cut()


async def test_the_way_round_is_the_spare_of_a_cable(tmp_path: Path) -> None:
    async with cluster_of(TRIANGLE, tmp_path) as cluster:
        a, b, c = cluster.nodes
        cable = cluster.link("a", "c")
        stream = await a.traffic(to=c, rate_hz=1000)
        await stream.wait_received(100)
        before = (await b.link_statistics("a-b")).forwarded

        await cable.cut()
        await cable.wait_down()
        await stream.wait_received(200)
        assert (await b.link_statistics("a-b")).forwarded >= before + 200

        await cable.splice()
        await cable.wait_up()
        await stream.wait_received(100)
        ledger = await stream.stop()
        assert ledger.received == ledger.sent
