# SPDX-License-Identifier: MIT
"""Figures: names, arithmetic, how they are shown, and what is read from /proc."""

from __future__ import annotations

import json

import pytest

from emulator.bench import NAMES, Figure, catalogue
from emulator.bench.figure import cores, figure
from emulator.bench.footprint import private_bytes
from emulator.bench.pair import PAIRS, Wire
from emulator.cli import bench as command
from emulator.cli.main import main
from emulator.cli.output import make_console
from emulator.model import LinkKind

ONE_PAIR = [
    "boot.links_up_s",
    "rtt.ivshmem.64B_us",
    "rtt.ivshmem.120B_us",
    "rate.ivshmem.64B_per_s",
    "bulk.ivshmem.4KiB_Bps",
    "bulk.ivshmem.64KiB_Bps",
    "bulk.ivshmem.64KiB_crc_Bps",
    "rtt.ivshmem.64B_sleeping_us",
    "rtt.virtio_serial.64B_us",
    "crash.reachable_s",
    "crash.notice_s",
    "memory.private_per_node_B",
    "idle.cpu_per_node_pct",
]

SMAPS = """\
00400000-00500000 rw-p 00000000 00:00 0                                  [heap]
Rss:                 900 kB
Private_Dirty:       700 kB
7f0000000000-7f0002000000 rw-s 00000000 00:01 77                         /memfd:mnlab-ram (deleted)
Rss:                 4096 kB
Private_Dirty:       4096 kB
7f0004000000-7f0004200000 rw-s 00000000 00:01 78                         /memfd:mnlab-cable (deleted)
Rss:                 64 kB
Private_Dirty:       64 kB
7ffe00000000-7ffe00021000 rw-p 00000000 00:00 0
Private_Dirty:       24 kB
VmFlags: rd wr
"""


def test_names_are_those_of_the_contract() -> None:
    assert list(NAMES) == ONE_PAIR + [f"{name}.mixed" for name in ONE_PAIR]


def test_figure_is_the_median_beside_its_limit() -> None:
    shown = figure("rtt", "us", [5.0, 4.0, 9.0], virtual_cpus=2, limits=[2.0, 2.5, 1.0])
    assert (shown.value, shown.minimum, shown.maximum, shown.runs) == (5.0, 4.0, 9.0, 3)
    assert (shown.limit, shown.ratio) == (2.0, 2.5)
    assert shown.cores == cores()
    data = shown.as_data()
    assert list(data)[:8] == ["name", "value", "unit", "min", "max", "runs", "limit", "ratio"]
    assert json.loads(json.dumps(data)) == data


def test_figure_without_limit_has_no_ratio() -> None:
    shown = figure("notice", "s", [0.001], virtual_cpus=2)
    assert shown.limit is None
    assert shown.ratio is None


def test_memory_is_private_pages_and_touched_ram() -> None:
    assert private_bytes(SMAPS) == (700 + 24 + 4096) << 10


@pytest.mark.parametrize("wire", Wire)
def test_pairs_are_valid_topologies(wire: Wire) -> None:
    for pair in PAIRS:
        topology = pair.topology(wire)
        kind = LinkKind.VIRTIO_SERIAL if wire is Wire.SERIAL else LinkKind.IVSHMEM
        assert topology.links[0].kind is kind
        assert any(link.raw for link in topology.links) == (wire in (Wire.POLLING, Wire.CHECKED))


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1.5e6, "1/s", "1.50 M/s"),
        (2.5e9, "B/s", "2.50 GB/s"),
        (17_400_000, "B", "17.40 MB"),
        (12.0, "B", "12.00 B"),
        (0.0123, "s", "12.3 ms"),
        (1.5, "s", "1.50 s"),
        (4.25, "us", "4.25 µs"),
        (0.5, "%", "0.50 %"),
    ],
)
def test_values_are_shown_in_fitting_units(value: float, unit: str, text: str) -> None:
    assert command._shown(value, unit) == text


@pytest.mark.qemu
@pytest.mark.timeout(60)
def test_one_figure_measured_and_printed(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path_factory.mktemp("runs")
    assert main(["bench", "--only", "crash.*", "--json", "--runs", str(runs)]) == 0
    figures = json.loads(capsys.readouterr().out)
    names = [item["name"] for item in figures]
    assert names == [name for name in NAMES if name.startswith("crash.")]
    assert all(item["value"] > 0 for item in figures)
    assert figures[0]["limit"] > 0


def test_unfit_figures_are_marked(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Figure(
        name="rtt.ivshmem.64B_us",
        value=9,
        unit="us",
        minimum=8,
        maximum=10,
        runs=5,
        limit=4,
        virtual_cpus=2,
        cores=2,
        fit=False,
    )
    command._show(make_console(), [shown])
    said = capsys.readouterr().out
    assert "2.25" in said
    assert "Each with 2 virtual CPUs on 2 cores." in said
    assert "Unfit: the raw round trip took more than 3 µs" in said


def test_groups_hold_every_name_once() -> None:
    names = [name for group in catalogue._GROUPS for name in group.names]
    assert sorted(names) == sorted(ONE_PAIR)
