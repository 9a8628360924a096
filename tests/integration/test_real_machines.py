# SPDX-License-Identifier: MIT
"""The runtime on real QEMU with the real firmware: every verb on every architecture, and kill -9 of the tool."""

from __future__ import annotations

import asyncio
import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from emulator import (
    Cluster,
    DeathNotice,
    DirectionState,
    Node,
    NodeState,
)
from emulator.events import types
from emulator.model import Arch, DeathCause
from emulator.runtime.run_folder import OWNER
from emulator.runtime.sweep import sweep
from emulator.testing.clusters import cluster_of, pair_text

pytestmark = [pytest.mark.qemu, pytest.mark.slow, pytest.mark.usefixtures("real_machines")]


def pair(tmp_path: Path, *, arch: Arch = Arch.X86_64, kind: str = "ivshmem") -> Cluster:
    return cluster_of(pair_text(second=arch, kind=kind), tmp_path)


def state(node: Node) -> NodeState:
    return node.state


@pytest.mark.parametrize("arch", list(Arch))
async def test_every_verb(tmp_path: Path, arch: Arch) -> None:
    async with pair(tmp_path, arch=arch) as cluster:
        a, b = cluster.nodes
        assert 0 < await a.ping(b) < 1
        assert 0 < await b.ping(a) < 1
        first = b.incarnation

        await b.reset()
        assert b.incarnation == first + 1
        await cluster.expect(DeathNotice, node=a, of=b, of_incarnation=first, within_s=10)
        await cluster.wait_links_up()
        await a.ping(b)

        await b.hang()
        assert state(b) is NodeState.HUNG
        await b.resume()
        assert state(b) is NodeState.READY
        await a.ping(b, within_s=20)

        await b.crash()
        await cluster.expect(DeathNotice, node=a, of=b, of_incarnation=first + 1, within_s=10)
        await b.restart()
        assert b.incarnation == 2 << 32 | 1
        await cluster.wait_links_up()
        await a.ping(b)

        await b.panic()
        assert state(b) is NodeState.OFF
        assert await b.wait_exited() == 0
        panics = [item for item in cluster.stream.history if isinstance(item, types.NodePanicked)]
        assert len(panics) == 1
        assert panics[0].text.startswith("PANIC node=b id=2 incarnation=200000001 at=")
        assert panics[0].text.splitlines()[0] in b.console_path.read_text(errors="replace")
        lost = [item for item in cluster.stream.history if isinstance(item, types.EventsLost)]
        assert lost == []
    explained = [item for item in cluster.stream.history if isinstance(item, types.PanicExplained)]
    assert [item.node for item in explained] == ["b"]
    assert "panic_asked+" in explained[0].backtrace[0]
    assert "(core/kernel_main.c:" in explained[0].backtrace[0]
    assert any("kernel_service" in call for call in explained[0].backtrace)


@pytest.mark.parametrize("kind", ["ivshmem", "virtio-serial"])
async def test_traffic_survives_cuts(tmp_path: Path, kind: str) -> None:
    async with pair(tmp_path, kind=kind) as cluster:
        a, b = cluster.nodes
        link = cluster.link("a", "b")
        streams = [await a.traffic(to=b, rate_hz=2000), await b.traffic(to=a, rate_hz=2000)]
        for direction in (None, "a->b", "b->a"):
            await link.cut(direction=direction)
            await link.wait_down(direction=direction)
            await link.splice(direction=direction)
            await link.wait_up()
        assert dict(link.state) == {"a->b": DirectionState.UP, "b->a": DirectionState.UP}
        for stream in streams:
            ledger = await stream.stop()
            assert ledger.sent == ledger.acked == ledger.received > 0
            assert ledger.failed == ledger.unknown == 0
            assert ledger.duplicates == ledger.gaps == ledger.corrupt == 0


@pytest.mark.parametrize("verb", ["crash", "reset"])
async def test_accounts_of_a_life_that_ended_are_read_from_its_memory(
    tmp_path: Path, verb: str
) -> None:
    async with pair(tmp_path) as cluster:
        a, b = cluster.nodes
        stream = await b.traffic(to=a, rate_hz=2000)
        await cluster.expect(
            types.StreamDigest, node=a, role=types.Role.SINK, stream_id=stream.id, within_s=20
        )
        await getattr(b, verb)()
        ledger = await stream.stop()
        assert ledger.received > 0
        assert ledger.sent >= ledger.received >= ledger.acked
        assert ledger.duplicates == ledger.gaps == ledger.corrupt == 0


async def test_times_of_guest_events_are_host_times(tmp_path: Path) -> None:
    """A node learns of a death after the host saw it, by the host's clock, within the bound."""
    async with pair(tmp_path) as cluster:
        a, b = cluster.nodes
        await b.crash()
        notice = await cluster.expect(DeathNotice, node=a, of=b, within_s=10)
        told = next(
            event for event in cluster.stream.history if isinstance(event, types.DeathAnnounced)
        )
        assert notice.time_error_ns < 20_000_000
        assert notice.time_monotonic_ns + notice.time_error_ns > told.time_monotonic_ns - 20_000_000


TOOL = """
import asyncio, sys
from pathlib import Path
from emulator import Cluster, RunOptions

async def main():
    options = RunOptions(runs_path=Path(sys.argv[2]))
    async with Cluster.from_file(sys.argv[1], options=options) as cluster:
        print(*(node.pid for node in cluster.nodes), flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def wait_gone(pids: list[int], within_s: float) -> None:
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        poll = select.poll()
        poll.register(descriptor)
        assert poll.poll(within_s * 1000), f"process {pid} outlived the tool"
        os.close(descriptor)


def test_no_machine_outlives_a_killed_tool(tmp_path: Path) -> None:
    topology, runs = tmp_path / "pair.toml", tmp_path / "runs"
    topology.write_text(pair_text())
    tool = subprocess.Popen(
        [sys.executable, "-c", TOOL, str(topology), str(runs)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert tool.stdout is not None
    pids = [int(word) for word in tool.stdout.readline().split()]
    assert len(pids) == 2
    tool.kill()
    tool.wait()
    tool.stdout.close()
    wait_gone(pids, 5)
    assert len(list(runs.glob(f"*/{OWNER}"))) == 1
    assert sweep(runs) == []
    assert list(runs.glob(f"*/{OWNER}")) == []
    assert [path for path in Path("/dev/shm").iterdir() if "mnlab" in path.name] == []


async def test_ten_crashes_cost_the_host_nothing(tmp_path: Path) -> None:
    async with pair(tmp_path, arch=Arch.RISCV64) as cluster:
        a, b = cluster.nodes
        before = (0, 0)
        for turn in range(10):
            await b.crash()
            await b.restart()
            await cluster.wait_links_up()
            await a.ping(b)
            now = (len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks()))
            if turn == 1:
                before = now
        assert now == before


async def test_hung_node_that_was_declared_dead_takes_a_new_life(tmp_path: Path) -> None:
    text = "[cluster]\nlink_down_after_s = 0.8\ndead_after_s = 1.5\n"
    text += pair_text(second=Arch.AARCH64, kind="virtio-serial")
    async with cluster_of(text, tmp_path) as cluster:
        a, b = cluster.nodes
        first = b.incarnation
        stream = await b.traffic(to=a, rate_hz=1000)
        await stream.wait_received(100)
        await b.hang()
        notice = await cluster.expect(DeathNotice, node=a, of=b, of_incarnation=first, within_s=30)
        assert notice.cause is DeathCause.SILENCE
        await cluster.expect(types.HostPresumedDeath, node=b, incarnation=first, within_s=30)
        await b.resume()
        reset = await cluster.expect(types.NodeReset, node=b, within_s=30)
        assert reset.incarnation == first
        await b.wait_ready()
        assert b.incarnation == first + 1
        assert b.launch == 1
        await cluster.wait_links_up()
        await a.ping(b)
        ledger = await stream.stop()  # its source's account was read before the reset erased it
        assert ledger.sent >= ledger.received >= 100
        assert ledger.duplicates == ledger.gaps == ledger.corrupt == 0
