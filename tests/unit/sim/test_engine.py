# SPDX-License-Identifier: MIT
"""Seeds, schedules and replay files of the simulator."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import threading
from pathlib import Path
from typing import cast

import pytest

from emulator.errors import UsageError
from emulator.sim import (
    CRASHED,
    Entry,
    Kind,
    Profile,
    Schedule,
    Workload,
    broken_by,
    child,
    engine,
    generate,
    read_schedule,
    run,
    run_range,
    run_twice,
    write_schedule,
)

WORKLOAD = Workload(profile=Profile.ALL)


def test_a_seed_is_one_schedule_and_one_run() -> None:
    assert generate(7, WORKLOAD) == generate(7, WORKLOAD)
    assert generate(7, WORKLOAD) != generate(8, WORKLOAD)
    first = run(generate(7, WORKLOAD))
    assert first.invariant is None
    assert run_twice(generate(7, WORKLOAD)) == first
    assert run(generate(8, WORKLOAD)).trace != first.trace


def test_a_repetition_that_breaks_something_is_another_run(monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(generate(7, WORKLOAD))
    second = dataclasses.replace(first, invariant=9, text="bytes are left")
    runs = iter((first, second))
    monkeypatch.setattr(engine, "run", lambda _schedule: next(runs))
    outcome = run_twice(generate(7, WORKLOAD))
    assert outcome.invariant == 13
    assert "bytes are left" in outcome.text


def test_the_ends_of_a_link_need_not_be_alike() -> None:
    options = []
    for seed in range(1, 41):
        settings = generate(seed, WORKLOAD).settings
        links = cast("list[dict[str, list[int]]]", settings["links"])
        options += [tuple(link["options"]) for link in links[: cast("int", settings["link_count"])]]
    assert set(options) == {(first, second) for first in range(4) for second in range(4)}
    assert options.count((0, 0)) > len(options) / 3


def test_a_schedule_survives_its_file(tmp_path: Path) -> None:
    schedule = generate(9, WORKLOAD)
    file = tmp_path / "runs" / "sim-9.json"
    write_schedule(file, schedule, invariant=3, text="lost")
    again = read_schedule(file)
    assert again == schedule
    assert run(again).trace == run(schedule).trace


def test_every_part_of_a_schedule_is_a_schedule() -> None:
    schedule = generate(10, WORKLOAD)
    for start in range(0, len(schedule.entries), 20):
        part = schedule.with_entries(schedule.entries[start : start + 20])
        assert run(part).invariant is None


@pytest.mark.parametrize("profile", [p for p in Profile if p is not Profile.MIXED])
def test_every_profile_passes(profile: Profile) -> None:
    totals, failure = run_range(1, 60, Workload(profile=profile))
    assert failure is None
    assert totals.counters["seeds"] == 60
    assert totals.counters["received"] > 1000
    if profile is Profile.CONTROL:
        assert not any(kind.is_fault for kind in totals.fired)
    else:
        assert any(kind.is_fault for kind in totals.fired)


@pytest.mark.parametrize("nodes", [2, 4, 5])
def test_other_sizes_of_cluster(nodes: int) -> None:
    _, failure = run_range(1, 40, Workload(nodes=nodes))
    assert failure is None


@pytest.mark.slow
def test_every_fault_happens_and_every_invariant_is_looked_at() -> None:
    totals, failure = run_range(1, 1500, Workload())
    assert failure is None
    assert set(totals.fired) == set(Kind)
    assert all(totals.passed[invariant] for invariant in range(1, 14))
    assert totals.counters["repeated"] == 15


def entry(time_ns: int, kind: Kind = Kind.CALL) -> Entry:
    return Entry(time_ns=time_ns, kind=kind, target=0, duration_ns=0, arguments=(1, 8, 0, 0))


def test_what_makes_no_sense_is_refused() -> None:
    schedule = generate(1, WORKLOAD)
    with pytest.raises(UsageError, match="order"):
        run(schedule.with_entries((entry(2), entry(1))))
    with pytest.raises(UsageError, match="settings"):
        run(Schedule(settings={**schedule.settings, "node_count": 9}, entries=()))
    with pytest.raises(UsageError, match="make no sense"):
        run(Schedule(settings={"no_such_field": 1}, entries=()))


def test_a_run_that_takes_the_process_with_it_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = generate(1, WORKLOAD)
    assert broken_by(schedule) is None
    with pytest.raises(UsageError, match="make no sense"):
        broken_by(schedule.with_entries((entry(2), entry(1))))
    monkeypatch.setattr(child, "run_twice", lambda _schedule: os.kill(os.getpid(), signal.SIGKILL))
    assert broken_by(schedule) == CRASHED


def test_a_run_without_end_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "_LIMIT_S", 1)
    monkeypatch.setattr(child, "run_twice", lambda _schedule: threading.Event().wait())
    assert broken_by(generate(1, WORKLOAD)) == CRASHED


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nothing", "is no replay file"),
        ("[]", "is no replay file of version 1"),
        (json.dumps({"version": 2}), "is no replay file of version 1"),
        (json.dumps({"version": 1}), "is no replay file: KeyError"),
        (
            json.dumps({"version": 1, "settings": {}, "entries": [{"arguments": [1]}]}),
            "an entry has four arguments",
        ),
        (
            json.dumps({"version": 1, "settings": {}, "entries": [{"arguments": [1, 2, 3, -1]}]}),
            "-1 is no number",
        ),
    ],
)
def test_files_that_are_no_schedules(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "bad.json"
    file.write_text(text)
    with pytest.raises(UsageError, match=said):
        read_schedule(file)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        read_schedule(tmp_path / "none.json")
