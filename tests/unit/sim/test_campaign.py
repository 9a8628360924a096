# SPDX-License-Identifier: MIT
"""Seeds in several processes, and the verb that asks for them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from emulator.cli import sim
from emulator.errors import UsageError
from emulator.sim import Profile, Workload, generate, run_campaign, run_range, write_schedule


async def test_processes_do_what_one_does() -> None:
    report = await run_campaign(1, 301, Workload(profile=Profile.NODES), jobs=2)
    totals, _ = run_range(1, 301, Workload(profile=Profile.NODES))
    assert report.failure is None
    assert report.seeds == 301
    for name in ("sent", "received", "lives", "steps", "world_ns"):
        assert report.counters[name] == totals.counters[name]
    assert report.fired == {kind.name: count for kind, count in totals.fired.items()}
    assert report.verdict(3) == "pass"
    assert report.seeds_per_cpu_s > 0


async def test_what_did_not_happen_is_no_pass() -> None:
    report = await run_campaign(1, 3, Workload(profile=Profile.CONTROL), jobs=1)
    assert report.verdict(0) == "pass"
    assert report.verdict(13) == "not exercised"


def run_verb(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    sim.add_parser(parser.add_subparsers())
    parsed = parser.parse_args(["sim", *arguments])
    return int(parsed.verb(parsed))


def test_the_verb_reports(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run_verb("--seeds", "40", "--runs", str(tmp_path), "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["seeds"] == 40
    assert report["failure"] is None
    assert report["invariants"]["I1"]["verdict"] == "pass"
    assert run_verb("--seeds", "20", "--profile", "swizzle", "--runs", str(tmp_path)) == 0
    shown = capsys.readouterr().out
    assert "20 seeds" in shown
    assert "cut" in shown
    assert list(tmp_path.iterdir()) == []


def test_the_verb_replays(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "sim-5.json"
    write_schedule(file, generate(5, Workload()), invariant=1, text="once")
    assert run_verb("--replay", str(file)) == 0
    assert capsys.readouterr().out == "pass\n"


def test_the_verb_refuses_a_schedule_that_makes_no_sense(tmp_path: Path) -> None:
    file = tmp_path / "sim-5.json"
    schedule = generate(5, Workload())
    write_schedule(file, schedule.with_entries(schedule.entries[::-1]), invariant=1, text="once")
    with pytest.raises(UsageError, match="make no sense"):
        run_verb("--replay", str(file))
