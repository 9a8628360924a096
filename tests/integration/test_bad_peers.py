# SPDX-License-Identifier: MIT
"""Real nodes that disagree, claim another's id, or speak garbage: what becomes of them, and what the user is told."""

from __future__ import annotations

import io
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from emulator import RunOptions, TrainingRefused
from emulator.bench.limits import STREAM, raw_request
from emulator.events.types import Event, HostRefusal, LinkDropped, LinkEndChanged, LinkRefused
from emulator.links.stream import StreamCable
from emulator.machines.boot_page import BootArguments, BootLink
from emulator.model import Arch, Drop, NodeId, Refusal
from emulator.protocol.constants import FRAME_MAGIC
from emulator.protocol.services import (
    Service,
    parse_link_statistics,
    statistics_request,
    take_status,
)
from emulator.scenario import load_scenario, run_scenario
from emulator.testing.clusters import (
    cluster_of,
    link_text,
    node_text,
    nothing_is_lost,
    pair_text,
)
from emulator.view.live import PlainView

pytestmark = [pytest.mark.qemu, pytest.mark.slow, pytest.mark.usefixtures("real_machines")]

FIRMWARE = Path(__file__).resolve().parents[2] / "firmware"

Tell = Callable[[BootArguments], BootArguments]

HUB = "".join(
    [
        *(node_text(name, servers=()) for name in ("hub", "first", "second")),
        link_text("hub", "first"),
        link_text("hub", "second"),
    ]
)
SECOND_LINK = link_text("a", "b") + 'name = "good"\n'

# What only garbage leads to; a resend on a busy machine leads to other drops.
UNREADABLE = {Drop.RESYNC, Drop.BAD_HEADER, Drop.BAD_LENGTH, Drop.BAD_PAYLOAD, Drop.BAD_TYPE}


def pair(second: Arch = Arch.X86_64, kind: str = "ivshmem") -> str:
    return pair_text(second=second, kind=kind, servers=["traffic", "raw_ring"])


def of_node(name: str, change: Tell) -> Tell:
    """Tell one node something else than the topology says."""
    return lambda arguments: change(arguments) if arguments.node_name == name else arguments


def change_link(index: int, change: Callable[[BootLink], BootLink]) -> Tell:
    """Describe one link otherwise."""

    def changed(arguments: BootArguments) -> BootArguments:
        links = [change(link) if at == index else link for at, link in enumerate(arguments.links)]
        return replace(arguments, links=tuple(links))

    return changed


async def refused(
    tmp_path: Path, text: str, tell: Tell, images: Mapping[Arch, Path] | None = None
) -> tuple[TrainingRefused, list[Event]]:
    """Boot a cluster that cannot come up: what it raised, and its events."""
    events: list[Event] = []
    options = RunOptions(tell=tell, listeners=(events.append,), images=images or {})
    cluster = cluster_of(text, tmp_path, options)
    with pytest.raises(TrainingRefused) as raised:
        async with cluster:
            pass
    return raised.value, events


@pytest.mark.parametrize("kind", ["ivshmem", "virtio-serial"])
async def test_another_protocol_version(tmp_path: Path, kind: str) -> None:
    tell = of_node("b", change_link(1, lambda link: replace(link, version=2)))
    error, events = await refused(tmp_path, pair(Arch.RISCV64, kind), tell)
    assert error.message.endswith("it speaks another version of the link protocol")
    assert error.message.startswith("link a-b: ")
    refusals = [event for event in events if isinstance(event, LinkRefused)]
    assert {event.refusal for event in refusals} == {Refusal.VERSION}
    assert {event.link for event in refusals} == {"a-b"}


async def test_other_cluster_constants(tmp_path: Path) -> None:
    tell = of_node(
        "b",
        lambda arguments: replace(arguments, constants=replace(arguments.constants, window=32)),
    )
    error, events = await refused(tmp_path, pair(Arch.AARCH64), tell)
    assert error.message.endswith("it has other cluster constants")
    assert any(
        isinstance(event, HostRefusal) and event.refusal is Refusal.CONSTANTS for event in events
    )


async def test_node_that_claims_the_id_of_another_to_the_host(tmp_path: Path) -> None:
    def as_a(arguments: BootArguments) -> BootArguments:
        renamed = replace(arguments, node_id=NodeId(1))
        return change_link(1, lambda link: replace(link, peer=NodeId(2)))(renamed)

    text = pair()
    error, events = await refused(tmp_path, text, of_node("b", as_a))
    assert error.message == (
        "link b-host: host refused b 1.1: it is not the node at the other end of this cable"
    )
    assert not any(
        isinstance(event, LinkEndChanged) and event.link == "a-b" and event.rx_up
        for event in events
    )


@pytest.fixture
def image_with_drivers(tmp_path: Path) -> Path:
    """An image that has its drivers from the start, for nodes that the loader does not reach; in a
    folder without servers to load."""
    image = "build/x86_64/kernel_with_drivers.elf"
    command = ["make", "-s", f"-j{os.cpu_count()}", "-C", str(FIRMWARE), image]
    subprocess.run(command, check=True, timeout=200)
    place = tmp_path / "kernel.elf"
    shutil.copy(FIRMWARE / image, place)
    return place


async def test_two_nodes_with_one_id(tmp_path: Path, image_with_drivers: Path) -> None:
    """Both claim to be `first` to the hub; the later one is refused, and the earlier one stays."""

    def impostor(arguments: BootArguments) -> BootArguments:
        arguments = replace(arguments, servers=("phy_ivshmem",))
        if arguments.node_name == "hub":
            return change_link(2, lambda link: replace(link, peer=NodeId(2)))(arguments)
        if arguments.node_name == "second":
            # Mute towards the host, which would find it out at once.
            mute = change_link(0, lambda link: replace(link, raw=True))(arguments)
            return replace(mute, node_id=NodeId(2), launch=7)
        return arguments

    error, events = await refused(tmp_path, HUB, impostor, {Arch.X86_64: image_with_drivers})
    assert error.message.endswith(": another node with its id is alive")
    refusal = next(event for event in events if isinstance(event, LinkRefused) and event.by_us)
    assert (refusal.node, refusal.refusal) == ("hub", Refusal.DUPLICATE_ID)
    heard = {
        event.link
        for event in events
        if isinstance(event, LinkEndChanged) and event.node == "hub" and event.rx_up
    }
    assert heard == {"host", "hub-first", "hub-second"} - {refusal.link}


async def test_what_a_run_says_of_nodes_that_disagree(tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / "topology.toml").write_text(pair())
    (folder / "scenario.py").write_text(
        '"""Never runs."""\nasync def scenario(cluster): raise AssertionError\n'
    )
    tell = of_node("b", change_link(1, lambda link: replace(link, version=2)))
    console = Console(file=io.StringIO(), width=140)
    view = PlainView(console, title="odd")
    result = await run_scenario(
        load_scenario(folder),
        options=RunOptions(runs_path=tmp_path / "runs", tell=tell),
        watch=view.watch,
    )
    assert result.exit_code == 1
    assert isinstance(result.error, TrainingRefused)
    assert result.elapsed_s < 10  # nobody waits for what cannot come
    assert result.folder is not None
    assert str(result.folder) in result.error.hint
    assert isinstance(console.file, io.StringIO)
    shown = [line.split(maxsplit=2)[2] for line in console.file.getvalue().splitlines()[1:]]
    assert any(
        line.startswith("a-b") and "refused" in line and "another version" in line for line in shown
    )


async def test_garbage_in_a_ring_stays_on_its_link(tmp_path: Path) -> None:
    """b fills a ring with records that are no frames; a counts them, and all else goes on."""
    text = pair(Arch.AARCH64) + 'name = "noise"\nuse = "raw"\n'
    events: list[Event] = []
    options = RunOptions(
        tell=of_node("a", change_link(1, lambda link: replace(link, raw=False))),
        listeners=(events.append,),
    )
    async with cluster_of(text + SECOND_LINK, tmp_path, options) as cluster:
        a, b = cluster.nodes
        streams = [await a.traffic(to=b, rate_hz=1000), await b.traffic(to=a, rate_hz=1000)]
        request = raw_request(1, 0, size_bytes=256, count=1000, within_s=30)
        reply = await b.call(STREAM, request, port=await b.port("raw_ring"), within_s=60)
        take_status(reply)
        counted = await a.call(Service.STATISTICS, statistics_request(1, 1))
        noise = parse_link_statistics(counted)
        assert noise.drops[Drop.BAD_HEADER] == 1000
        assert not noise.rx_up
        for stream in streams:
            await nothing_is_lost(stream, 500)
        assert 0 < await a.ping(b) < 1
    drops = [
        event for event in events if isinstance(event, LinkDropped) and event.drop in UNREADABLE
    ]
    assert {(event.node, event.link, event.drop) for event in drops} == {
        ("a", "noise", Drop.BAD_HEADER)
    }
    assert len(drops) < 10  # a flood is told of now and then


async def test_garbage_in_a_stream_costs_no_message(tmp_path: Path) -> None:
    """Noise between and inside the frames to b: it finds the next frame, and all is sent again."""
    events: list[Event] = []
    options = RunOptions(listeners=(events.append,))
    cluster = cluster_of(pair(Arch.AARCH64, "virtio-serial"), tmp_path, options)
    noise = random.Random(cluster.topology.seed)
    async with cluster:
        a, b = cluster.nodes
        streams = [await a.traffic(to=b, rate_hz=1000), await b.traffic(to=a, rate_hz=1000)]
        cable = cluster._link_runtimes["a-b"].cable
        assert isinstance(cable, StreamCable)
        wire = cable.socket_of(1)
        assert wire is not None
        for turn in range(1, 21):
            magic = FRAME_MAGIC.to_bytes(2, "little") * noise.randrange(3)
            wire.send(magic + noise.randbytes(noise.randrange(1, 3000)))
            await streams[0].wait_received(20 * turn, within_s=60)
        await cluster.link("a", "b").wait_up()
        for stream in streams:
            await nothing_is_lost(stream, 500)
    dropped = {(event.node, event.drop) for event in events if isinstance(event, LinkDropped)}
    assert ("b", Drop.RESYNC) in dropped
    assert not any(node == "a" and drop in UNREADABLE for node, drop in dropped)
