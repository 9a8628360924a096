# SPDX-License-Identifier: MIT
"""Figures: names, arithmetic, how they are shown, and what is read from /proc."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from rich.console import Console

from emulator.bench import NAMES, Figure, bounds, catalogue
from emulator.bench.bounds import bound_of, is_kept
from emulator.bench.figure import cores, figure
from emulator.bench.footprint import private_bytes
from emulator.bench.pair import PAIRS, Wire
from emulator.cli import bench as command
from emulator.cli.bench_table import scale_of, show_figures
from emulator.cli.main import main
from emulator.cli.output import make_console
from emulator.model import LinkKind

ONE_PAIR = [
    "boot.links_up_s",
    "rtt.ivshmem.64B_us",
    "rtt.ivshmem.120B_us",
    "rate.ivshmem.64B_per_s",
    "rights.four_ratio",
    "bulk.ivshmem.4KiB_Bps",
    "bulk.ivshmem.64KiB_Bps",
    "bulk.ivshmem.64KiB_crc_Bps",
    "rtt.ivshmem.64B_sleeping_us",
    "rtt.virtio_serial.64B_us",
    "crash.reachable_s",
    "crash.notice_s",
    "server.load_s",
    "server.swap_s",
    "server.call_ratio",
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
        (17_400_000, "B", "17.4 MB"),
        (12.0, "B", "12.0 B"),
        (0.0123, "s", "12.3 ms"),
        (1.5, "s", "1.50 s"),
        (425.4, "us", "425 µs"),
        (0.5, "%", "0.50 %"),
    ],
)
def test_values_are_shown_in_fitting_units(value: float, unit: str, text: str) -> None:
    scale = scale_of(value, unit)
    assert f"{scale.show(value)} {scale.name}" == text


def some_figure(name: str, value: float, limit: float | None = None, *, fit: bool = True) -> Figure:
    return Figure(
        name=name,
        value=value,
        unit="us" if "rtt" in name else "s",
        minimum=value / 2,
        maximum=value * 2,
        runs=5,
        limit=limit,
        virtual_cpus=2,
        cores=2,
        fit=fit,
    )


@pytest.mark.parametrize(
    ("name", "value", "limit", "kept"),
    [
        ("boot.links_up_s", 0.4, 0.1, True),
        ("boot.links_up_s", 0.41, 0.1, False),
        ("boot.links_up_s.mixed", 0.41, 0.1, False),
        ("rtt.ivshmem.64B_us", 12, 2, True),
        ("rtt.ivshmem.64B_us", 12.1, 2, False),
        ("rtt.ivshmem.64B_us", 12, None, False),
        ("rtt.ivshmem.64B_us.mixed", 18, 2, True),
        ("rate.ivshmem.64B_per_s", 499_999, 1e7, False),
        ("rate.ivshmem.64B_per_s.mixed", 340_000, 1e7, True),
        ("bulk.ivshmem.64KiB_crc_Bps", 11, 100, True),
        ("bulk.ivshmem.64KiB_Bps", 29, 100, False),
        ("rtt.virtio_serial.64B_us", 1e9, None, None),
    ],
)
def test_bounds(name: str, value: float, limit: float | None, kept: bool | None) -> None:
    assert is_kept(some_figure(name, value, limit)) is kept


def test_every_bound_is_of_a_figure() -> None:
    assert {name for name in NAMES if bound_of(name)} >= {
        "memory.private_per_node_B",
        "idle.cpu_per_node_pct.mixed",
    }
    assert set(bounds._BOUNDS) <= set(ONE_PAIR)


def test_table_fits_eighty_columns(capsys: pytest.CaptureFixture[str]) -> None:
    units = {"us": "us", "per_s": "1/s", "Bps": "B/s", "B": "B", "pct": "%", "s": "s", "ratio": "x"}
    figures = [
        replace(some_figure(name, 987.654, 12.3), unit=units[base.rpartition("_")[2]])
        for name in NAMES
        for base in [name.removesuffix(".mixed")]
    ]
    show_figures(Console(width=80), figures)
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines) <= 80
    assert all(any(line.startswith(name) for line in lines) for name in ONE_PAIR)
    assert not any("…" in line for line in lines)
    assert sum(" broken" in line for line in lines) == 20


def stub(monkeypatch: pytest.MonkeyPatch, *figures: Figure) -> None:
    async def measured(*_: object) -> AsyncIterator[Figure]:
        for item in figures:
            yield item

    monkeypatch.setattr(command, "measure", measured)


@pytest.mark.parametrize(
    ("shown", "code", "said"),
    [
        (some_figure("boot.links_up_s", 0.3), 0, ""),
        (some_figure("boot.links_up_s", 0.5), 1, "mnlab: boot.links_up_s breaks its bound\n"),
        (some_figure("rtt.ivshmem.64B_us", 9, 4, fit=False), 3, "mnlab: this machine is too busy"),
    ],
)
def test_check_judges_the_run(
    shown: Figure,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stub(monkeypatch, shown)
    assert main(["bench", "--check"]) == code
    assert capsys.readouterr().err.startswith(said)
    assert main(["bench"]) == 0


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


def test_unfit_runs_are_marked(capsys: pytest.CaptureFixture[str]) -> None:
    show_figures(make_console(), [some_figure("rtt.ivshmem.64B_us", 9, 4, fit=False)])
    said = capsys.readouterr().out
    assert "2.25" in said
    assert "2 virtual CPUs on 2 cores" in said
    assert "unfit: a raw round trip took more than 3 µs" in said


def test_groups_hold_every_name_once() -> None:
    names = [name for group in catalogue._GROUPS for name in group.names]
    assert sorted(names) == sorted(ONE_PAIR)
