# SPDX-License-Identifier: MIT
"""Topology files: what is accepted, and every way to be refused with its exact message."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator.config import load_topology, parse_topology
from emulator.errors import TopologyError, UsageError
from emulator.model import Arch, Idle, LinkKind, Trace

DATA = Path(__file__).parents[2] / "data" / "topologies"
REJECTED = sorted(path.stem for path in DATA.glob("*.toml"))

FULL = """
[cluster]
name = "pair"
seed = 7
nodes_max = 8
window = 32
keepalive_s = 0.05
link_down_after_s = 0.5
dead_after_s = 1
ack_delay_s = 0.0002
ack_count = 4
idle = "poll"
poll_us = 100
trace = "messages"
host_forwards = true

[[node]]
name = "a"
id = 5
arch = "riscv64"
memory = "64M"
servers = ["echo", "traffic"]
forward = true

[[node]]
name = "b"
arch = "aarch64"

[[link]]
kind = "ivshmem"
ends = ["a", "b"]
cable = "direct"
payload_crc = true

[[link]]
kind = "virtio-serial"
ends = ["b", "a"]

[[link]]
kind = "ivshmem"
ends = ["a", "b"]

[[link]]
kind = "ivshmem"
ends = ["a", "b"]
name = "raw"
use = "raw"
"""


def test_rejections_are_there() -> None:
    assert len(REJECTED) >= 20


@pytest.mark.parametrize("fault", REJECTED)
def test_rejected_with_exact_message(fault: str) -> None:
    with pytest.raises(TopologyError) as caught:
        load_topology(DATA / f"{fault}.toml")
    told = "".join(f"{problem}\n" for problem in caught.value.problems)
    expected = (DATA / f"{fault}.txt").read_text(encoding="utf-8")
    assert told.replace(f"{DATA}/", "") == expected
    assert caught.value.exit_code == 2


def test_everything_that_can_be_said() -> None:
    topology = parse_topology(FULL, source="full.toml")
    assert (topology.name, topology.seed) == ("pair", 7)
    assert (topology.idle, topology.poll_ns, topology.trace) == (Idle.POLL, 100_000, Trace.MESSAGES)
    assert topology.host_forwards
    constants = topology.constants
    assert (constants.nodes_max, constants.window, constants.ack_count) == (8, 32, 4)
    assert (constants.keepalive_ns, constants.link_down_after_ns) == (50_000_000, 500_000_000)
    assert (constants.dead_after_ns, constants.ack_delay_ns) == (1_000_000_000, 200_000)
    a, b = topology.nodes
    assert (a.id, a.arch, a.memory_bytes) == (5, Arch.RISCV64, 64 << 20)
    assert (a.servers, a.forward) == (("echo", "traffic"), True)
    assert (b.id, b.arch, b.servers) == (2, Arch.AARCH64, ())
    assert [link.name for link in topology.links] == ["a-b", "b-a", "a-b.2", "raw"]
    assert [link.kind for link in topology.links][:2] == [LinkKind.IVSHMEM, LinkKind.VIRTIO_SERIAL]
    assert topology.links[0].payload_crc
    assert topology.links[3].raw
    assert topology.links[1].directions == ("b->a", "a->b")


def test_a_link_with_a_driver() -> None:
    text = "".join(f'[[node]]\nname = "{name}"\narch = "x86_64"\n' for name in "abc")
    text += '[[link]]\nkind = "ivshmem"\nends = ["a", "b"]\ndriver = "mnl_ring"\n'
    text += '[[link]]\nkind = "virtio-serial"\nends = ["b", "c"]\ndriver = "my/own.kern_server"\n'
    first, second = parse_topology(text, source="driven.toml").links
    assert (first.driver, second.driver) == ("mnl_ring", "my/own.kern_server")


def test_defaults() -> None:
    topology = parse_topology('[[node]]\nname = "a"\narch = "x86_64"\n', source="dir/My Lab.toml")
    assert topology.name == "my-lab"
    assert topology.seed == 1
    assert topology.nodes[0].id == 1
    assert topology.nodes[0].memory_bytes == 32 << 20
    assert topology.constants.nodes_max == 64


def test_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        load_topology(tmp_path / "none.toml")


def test_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="no UTF-8 text"):
        load_topology(path)
