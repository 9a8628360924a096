# SPDX-License-Identifier: MIT
"""Whole clusters of fake machines: verbs, waits, reasons, and what is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import resource
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from emulator import (
    AmbiguousLink,
    Cluster,
    DeadlineExpired,
    DeathNotice,
    DirectionState,
    ExpectationFailed,
    HostError,
    LaunchError,
    Node,
    NodeDied,
    NodeState,
    RunOptions,
    StateError,
    UsageError,
)
from emulator.config import parse_topology
from emulator.events import types
from emulator.machines.machine import MACHINES
from emulator.model import Arch
from emulator.runtime.run_folder import OWNER, RunFolder
from emulator.testing.fake_image import fake_images, write_fake_image
from emulator.testing.fake_machine import Behaviour, fake_machines

pytestmark = pytest.mark.slow

NODES = """
[[node]]
name = "a"
arch = "x86_64"

[[node]]
name = "b"
arch = "aarch64"
"""
PAIR = (
    NODES
    + """
[[link]]
kind = "ivshmem"
ends = ["a", "b"]

[[link]]
kind = "virtio-serial"
ends = ["b", "a"]
"""
)
UP, CUT = DirectionState.UP, DirectionState.CUT


class Lab:
    """Makes clusters of fakes below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs = folder / "runs"
        self.images = fake_images(folder)

    def options(
        self, behaviours: Mapping[Arch, Behaviour] | None = None, *, boot_within_s: float = 60
    ) -> RunOptions:
        return RunOptions(
            runs_path=self.runs,
            boot_within_s=boot_within_s,
            machines=fake_machines(self.folder, behaviours),
            images=self.images,
        )

    def cluster(
        self,
        text: str = PAIR,
        behaviours: Mapping[Arch, Behaviour] | None = None,
        *,
        boot_within_s: float = 60,
    ) -> Cluster:
        topology = parse_topology(text, source="lab.toml")
        options = self.options(behaviours, boot_within_s=boot_within_s)
        return Cluster.from_topology(topology, options=options)

    def processes(self) -> list[int]:
        """Machines of ours that still run."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                try:
                    line = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                if b"fake_machine" in line and str(self.runs).encode() in line:
                    found.append(int(entry.name))
        return found


def state(node: Node) -> NodeState:
    return node.state


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    lab = Lab(tmp_path)
    before = descriptors()
    yield lab
    assert lab.processes() == []
    assert descriptors() == before
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert list(lab.runs.glob(f"*/{OWNER}")) == []
    assert list(lab.runs.glob("*/nodes/*/console.pty")) == []


async def test_boot_and_names(lab: Lab) -> None:
    async with lab.cluster() as cluster:
        a, b = cluster.nodes
        assert [node.state for node in (a, b)] == [NodeState.READY] * 2
        assert (a.incarnation, a.launch) == (1 << 32 | 1, 1)
        assert (a.id, b.id, b.arch) == (1, 2, Arch.AARCH64)
        assert [link.name for link in cluster.links] == ["a-b", "b-a"]
        assert dict(cluster.link("a-b").state) == {"a->b": UP, "b->a": UP}
        assert cluster.link("host", "b") is cluster.link("b", "host")
        assert cluster.link("b", "host").is_management
        assert cluster.link("b", "host").is_up
        with pytest.raises(AmbiguousLink, match="2 links join a and b"):
            cluster.link("a", "b")
        with pytest.raises(UsageError, match="no node is called 'aa'; did you mean 'a'"):
            cluster.node("aa")
        with pytest.raises(UsageError, match="no link is called 'a_b'; did you mean 'a-b'"):
            cluster.link("a_b")
        with pytest.raises(TypeError):
            bool(cluster.link("a-b"))
        assert await a.ping(b) == pytest.approx(1e-6)
        assert a.console_tail() == ("fake firmware, normal",)
        folder = cluster.folder
    assert (folder / "nodes" / "a" / "launch-1" / "command.txt").read_text().startswith("setpriv ")
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert [event["seq"] for event in events] == list(range(len(events)))
    kinds = [event["kind"] for event in events]
    assert kinds[0] == "RunStarted"
    assert (
        kinds.index("ClusterReady") < kinds.index("PingAnswered") < kinds.index("ClusterStopping")
    )
    assert "DeathAnnounced" not in kinds


async def test_directions_are_down_before_they_are_up(lab: Lab) -> None:
    async with lab.cluster() as cluster:
        assert cluster.link("a", "host").is_up
    changes: dict[str, list[str]] = {}
    for event in cluster.stream.history:
        if isinstance(event, types.ClusterStopping):
            break
        if isinstance(event, types.DirectionChanged):
            changes.setdefault(event.direction, []).append(event.state.value)
    assert set(changes) == {"a->b", "b->a", "a->host", "host->a", "b->host", "host->b"}
    assert all(states[0] == "down" for states in changes.values())
    assert all(changes[f"{end}"] == ["down", "up"] for end in ("a->host", "host->a"))


async def test_note_is_in_the_stream(lab: Lab) -> None:
    async with lab.cluster() as cluster:
        cluster.note("so far so good")
    (note,) = (event for event in cluster.stream.history if isinstance(event, types.Note))
    assert note.text == "so far so good"


async def test_crash_and_restart(lab: Lab) -> None:
    async with lab.cluster() as cluster:
        a, b = cluster.nodes
        link, first = cluster.link("a-b"), b.incarnation
        watching = cluster.events(node=b)
        await b.crash()
        assert state(b) is NodeState.OFF
        assert b.pid is None
        assert dict(link.state) == {"a->b": CUT, "b->a": CUT}
        told = await cluster.expect(DeathNotice, node=a, of=b, of_incarnation=first, within_s=10)
        assert told.incarnation == a.incarnation
        with pytest.raises(StateError, match="cannot hang node b: it is off"):
            await b.hang()
        with pytest.raises(StateError):
            await b.crash()
        await b.restart()
        assert (b.incarnation, b.launch) == (2 << 32 | 1, 2)
        await link.wait_up()
        with pytest.raises(StateError, match="still runs"):
            await b.restart()
        kinds = [event.kind for event in watching.drain()]
    order = ["DeathAnnounced", "NodeExited", "FaultReceipt", "NodeStarted", "NodeIncarnation"]
    assert [kind for kind in kinds if kind in order][:3] == order[:3]
    assert kinds.count("NodeReady") == 1


async def test_reset_is_a_new_life_of_the_same_launch(lab: Lab) -> None:
    async with lab.cluster() as cluster:
        a, b = cluster.nodes
        first = b.incarnation
        await b.reset()
        assert (b.incarnation, b.launch) == (first + 1, 1)
        await cluster.expect(DeathNotice, node=a, of=b, of_incarnation=first, within_s=10)
        await cluster.wait_links_up()
        resets = [event for event in cluster.stream.history if isinstance(event, types.NodeReset)]
        assert [event.incarnation for event in resets] == [first]


async def test_hang_and_resume(lab: Lab) -> None:
    async with lab.cluster() as cluster:
        a, b = cluster.nodes
        await b.hang()
        assert state(b) is NodeState.HUNG
        with pytest.raises(StateError, match="cannot hang node b: it is hung"):
            await b.hang()
        await b.resume()
        assert state(b) is NodeState.READY
        with pytest.raises(StateError, match="node b is not hung"):
            await b.resume()
        await b.ping(a)
        await b.hang()
        await b.crash()
        assert state(b) is NodeState.OFF


async def test_panic(lab: Lab) -> None:
    async with lab.cluster() as cluster:
        a, b = cluster.nodes
        await b.panic()
        assert state(b) is NodeState.OFF
        assert await b.wait_exited() == 0
        panics = [
            event for event in cluster.stream.history if isinstance(event, types.NodePanicked)
        ]
        assert [event.text for event in panics] == [
            "PANIC node=2 at=fake_machine.py:1 reason=asked to"
        ]
        assert b.console_tail(1) == (panics[0].text,)
        await cluster.expect(DeathNotice, node=a, of=b, within_s=10)


@pytest.mark.parametrize("name", ["a-b", "b-a"])
async def test_cut_and_splice(lab: Lab, name: str) -> None:
    async with lab.cluster() as cluster:
        link = cluster.link(name)
        there, back = link.directions
        await link.cut()
        assert dict(link.state) == {there: CUT, back: CUT}
        await link.wait_down()
        await link.splice()
        await link.wait_up()
        await link.cut(direction=there)
        assert dict(link.state) == {there: CUT, back: UP}
        await link.wait_down(direction=there)
        with pytest.raises(DeadlineExpired, match=f"link {name} is not down after 0.05 s"):
            await link.wait_down(direction=back, within_s=0.05)
        with pytest.raises(DeadlineExpired) as caught:
            await link.wait_up(within_s=0.05)
        assert f"{name} {there}: cut (by us)" in caught.value.details
        await link.splice(direction=there)
        await link.wait_up()
        with pytest.raises(UsageError, match="no direction 'a->c'"):
            await link.cut(direction="a->c")


async def test_cut_outlives_a_crash(lab: Lab) -> None:
    async with lab.cluster() as cluster:
        link, b = cluster.link("a-b"), cluster.node("b")
        await link.cut(direction="b->a")
        await b.crash()
        await b.restart()
        assert link.state["b->a"] is CUT
        await link.splice(direction="b->a")
        await link.wait_up()


async def test_management_link_is_cut_only_when_allowed(lab: Lab) -> None:
    async with lab.cluster() as cluster:
        a = cluster.node("a")
        link = cluster.link("a", "host")
        with pytest.raises(UsageError, match="management link"):
            await link.cut()
        await link.cut(allow_management=True)
        assert dict(link.state) == {"a->host": CUT, "host->a": CUT}
        await link.splice()
        await link.wait_up()
        assert await a.ping(cluster.node("b")) > 0


async def test_expectation_that_fails(lab: Lab) -> None:
    async with lab.cluster() as cluster:
        a, b = cluster.nodes
        with pytest.raises(
            ExpectationFailed, match=r"no DeathNotice\(node=a, of=b\) within 0.05 s"
        ):
            await cluster.expect(DeathNotice, node=a, of=b, within_s=0.05)


async def test_two_runs_side_by_side(lab: Lab) -> None:
    async with lab.cluster() as first, lab.cluster() as second:
        assert first.folder != second.folder
        await first.node("a").crash()
        assert second.node("a").state is NodeState.READY


async def test_error_in_the_body_leaves_nothing(lab: Lab) -> None:
    with pytest.raises(ZeroDivisionError):
        async with lab.cluster():
            raise ZeroDivisionError


async def test_cancelled_body_leaves_nothing(lab: Lab) -> None:
    up = asyncio.Event()

    async def run() -> None:
        async with lab.cluster():
            up.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(run())
    await up.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancelled_boot_leaves_nothing(lab: Lab) -> None:
    async def run() -> None:
        async with lab.cluster(behaviours={Arch.AARCH64: Behaviour.NEVER_READY}):
            pytest.fail("it is never up")

    task = asyncio.create_task(run())
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_missing_qemu_says_what_to_install(lab: Lab) -> None:
    machine = replace(MACHINES[Arch.X86_64], qemu_binary="qemu-system-none")
    options = replace(lab.options(), machines={**lab.options().machines, Arch.X86_64: machine})
    topology = parse_topology(PAIR, source="lab.toml")
    with pytest.raises(LaunchError) as caught:
        async with Cluster.from_topology(topology, options=options):
            pytest.fail("it cannot start")
    assert caught.value.message == "qemu-system-none is not installed"
    assert caught.value.hint == "install it: apt-get install qemu-system-x86"
    assert not lab.runs.exists()


async def test_machine_that_dies_at_start_shows_its_last_words(lab: Lab) -> None:
    with pytest.raises(LaunchError) as caught:
        async with lab.cluster(behaviours={Arch.AARCH64: Behaviour.DIES_AT_START}):
            pytest.fail("it cannot start")
    error = caught.value
    assert re.fullmatch(
        r"node b: fake-aarch64-dies-at-start ended with status 1 before its kernel started",
        error.message,
    )
    assert error.last_words == ("fake: could not open the lid: it is nailed down",)
    assert error.status == 1
    assert error.exit_code == 3
    assert "stderr.log" in error.hint


async def test_boot_that_hangs_says_who_and_what_it_said_last(lab: Lab) -> None:
    with pytest.raises(DeadlineExpired) as caught:
        async with lab.cluster(behaviours={Arch.AARCH64: Behaviour.NEVER_READY}, boot_within_s=4):
            pytest.fail("it is never up")
    text = str(caught.value)
    assert "the cluster is not up after 4 s: node b is booting" in text
    assert "node b (aarch64): booting, its black box says booting" in text
    assert "b| waiting for a server that never starts" in text


async def test_node_that_panics_at_boot(lab: Lab) -> None:
    with pytest.raises(NodeDied) as caught:
        async with lab.cluster(behaviours={Arch.AARCH64: Behaviour.PANICS_AT_BOOT}):
            pytest.fail("it is never up")
    assert "node b: its machine ended with status 0" in str(caught.value)
    assert "reason=told to" in str(caught.value)


async def test_image_for_another_architecture(lab: Lab) -> None:
    write_fake_image(lab.images[Arch.AARCH64], Arch.X86_64)
    with pytest.raises(UsageError, match="image for another architecture"):
        async with lab.cluster():
            pytest.fail("it cannot start")
    assert not lab.runs.exists()


async def test_disk_that_fills_up_ends_the_run(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: object) -> object:
        return Path("/dev/full").open("w", encoding="utf-8")  # the stream closes it

    monkeypatch.setattr(RunFolder, "open_events", full)
    with pytest.raises(HostError) as caught:
        async with lab.cluster():
            await asyncio.Event().wait()
    assert caught.value.message == "cannot write the event stream: No space left on device"


@contextlib.contextmanager
def no_room() -> Iterator[None]:
    """No file can grow, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


async def test_folder_that_cannot_be_filled(lab: Lab) -> None:
    cluster = lab.cluster()
    with no_room(), pytest.raises(HostError, match="cannot be written: File too large"):
        async with cluster:
            pytest.fail("it cannot start")


async def test_leaving_twice_is_harmless_to_others(lab: Lab) -> None:
    async with lab.cluster(NODES) as cluster:
        subscription = cluster.events()
    assert [event.kind async for event in subscription][-1] == "NodeExited"
    with pytest.raises(StateError):
        await cluster.node("a").crash()
