# SPDX-License-Identifier: MIT
"""Every invariant, against a run that keeps them all and against runs that break exactly one.

`tests/data/runs/good.jsonl` is the whole event log of a run: three nodes, b crashes under traffic
and comes back, the cable a-c is cut and spliced. Each file in `violations/` is that run with a few
events dropped, changed or inserted, the one invariant this breaks, and the line the checker says.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from emulator.checkers import Bounds, Verdict, check_run, read_events
from emulator.checkers.history import StreamHistory
from emulator.checkers.log import parse_events
from emulator.errors import UsageError
from emulator.events.stream import event_line
from emulator.events.types import (
    Event,
    FaultKind,
    FaultReceipt,
    Outcome,
    StreamAccount,
    StreamDigest,
    StreamOpened,
)

RUNS = Path(__file__).parents[2] / "data" / "runs"
GOOD = RUNS / "good.jsonl"
VIOLATIONS = sorted((RUNS / "violations").glob("*.json"))
INVARIANTS = ["I1", "I2", "I3", "I4", "I5", "I6", "I7", "I11", "I15"]


def changed(patch: dict[str, Any]) -> list[Event]:
    """The good run with a patch applied, numbered anew."""
    lines = []
    for line in GOOD.read_text().splitlines():
        record = json.loads(line)
        seq = record["seq"]
        if seq not in patch.get("drop", ()):
            for name, value in patch.get("change", {}).get(str(seq), {}).items():
                (record if name in record else record["fields"])[name] = value
            lines.append(record)
        lines += [item for item in patch.get("insert", ()) if item["after"] == seq]
    return list(
        parse_events(
            (json.dumps({**record, "seq": seq}) for seq, record in enumerate(lines)), name="patched"
        )
    )


def outcomes(verdicts: tuple[Verdict, ...]) -> dict[str, Outcome]:
    return {verdict.invariant: verdict.outcome for verdict in verdicts}


def test_good_run_passes_everything() -> None:
    verdicts = check_run(read_events(GOOD), expected=[FaultKind.CRASH, FaultKind.CUT])
    assert outcomes(verdicts) == dict.fromkeys(INVARIANTS, Outcome.PASS)
    assert not any(verdict.context for verdict in verdicts)


@pytest.mark.parametrize("file", VIOLATIONS, ids=lambda file: file.stem)
def test_violation_fails_exactly_its_invariant(file: Path) -> None:
    patch = json.loads(file.read_text())
    verdicts = check_run(changed(patch), bounds=Bounds(notice_s=0.05))
    broken = {
        verdict.invariant: verdict.detail for verdict in verdicts if verdict.outcome is Outcome.FAIL
    }
    assert broken == {patch["fails"]: patch["detail"]}


def test_every_invariant_has_a_violation() -> None:
    assert {json.loads(file.read_text())["fails"] for file in VIOLATIONS} == set(INVARIANTS)


def test_violation_carries_the_events_that_led_to_it() -> None:
    patch = json.loads((RUNS / "violations" / "i6_dead_taken_for_alive.json").read_text())
    (verdict,) = (item for item in check_run(changed(patch)) if item.outcome is Outcome.FAIL)
    assert set(verdict.context) == {"a", "b", "c"}
    assert verdict.context["a"][-1] is verdict.at
    assert all(len(events) <= 20 for events in verdict.context.values())
    assert all(
        event.seq <= verdict.at.seq
        for events in verdict.context.values()
        for event in events
        if verdict.at
    )


def test_run_without_traffic_fails() -> None:
    silent = [
        event
        for event in read_events(GOOD)
        if "Stream" not in event.kind and event.kind != "PingAnswered"
    ]
    found = {verdict.invariant: verdict for verdict in check_run(silent)}
    assert found["I15"].outcome is Outcome.FAIL
    assert found["I15"].detail == "no message flowed in this run"
    assert [
        name for name in INVARIANTS[:5] if found[name].outcome is Outcome.NOT_EXERCISED
    ] == INVARIANTS[:5]


def test_streams_that_carried_nothing_fail() -> None:
    opened = [
        event for event in read_events(GOOD) if not isinstance(event, StreamAccount | StreamDigest)
    ]
    found = outcomes(check_run(opened))
    assert found["I3"] is Outcome.FAIL
    assert {found[name] for name in ("I1", "I2", "I4", "I5")} == {Outcome.NOT_EXERCISED}


def test_streams_in_which_nothing_arrived_fail() -> None:
    empty = [
        dataclasses.replace(event, received=0) if isinstance(event, StreamAccount) else event
        for event in read_events(GOOD)
    ]
    found = outcomes(check_run(empty))
    assert {found[name] for name in ("I1", "I2", "I3", "I4", "I5")} == {Outcome.FAIL}


def test_run_without_faults_exercises_no_death() -> None:
    patch = {"drop": list(range(54, 107))}
    calm = [event for event in changed(patch) if getattr(event, "stream_id", 3) == 3]
    found = outcomes(check_run(calm))
    assert found.pop("I6") is Outcome.NOT_EXERCISED
    assert found.pop("I7") is Outcome.NOT_EXERCISED
    assert set(found.values()) == {Outcome.PASS}


def test_expected_fault_that_never_happened_fails() -> None:
    found = {v.invariant: v for v in check_run(read_events(GOOD), expected=[FaultKind.HANG])}
    assert found["I15"].detail == "the scenario is about hang, which never happened"


def test_bounds_are_respected() -> None:
    tight = outcomes(check_run(read_events(GOOD), bounds=Bounds(notice_s=0.001, recovery_s=0.01)))
    assert [name for name, outcome in tight.items() if outcome is Outcome.FAIL] == ["I7", "I11"]


def test_link_left_cut_on_purpose_is_no_violation() -> None:
    left_cut = changed({"drop": list(range(100, 107))})
    assert outcomes(check_run(left_cut))["I11"] is Outcome.PASS


def test_hung_survivor_is_told_when_it_runs_again() -> None:
    hang = {"kind": "NodeHung", "time_monotonic_ns": 295_000_000, "after": 53}
    resume = {"kind": "NodeResumed", "time_monotonic_ns": 420_000_000, "after": 95}
    fields = {"node": "c", "incarnation": 1 << 32 | 1}
    late = changed(
        {
            "insert": [{**hang, "fields": fields}, {**resume, "fields": fields}],
            "change": {"66": {"time_monotonic_ns": 430_000_000}},
        }
    )
    assert outcomes(check_run(late))["I7"] is Outcome.PASS


def test_host_computes_the_digest_of_a_dead_sinks_messages() -> None:
    asked: list[tuple[int, int]] = []

    def digest(stream: StreamHistory, count: int) -> int | None:
        asked.append((stream.opened.stream_id, count))
        return 1 if stream.opened.stream_id == 3 else None

    found = {v.invariant: v for v in check_run(read_events(GOOD), digest=digest)}
    assert asked == [(1, 205), (2, 208), (3, 500)]
    assert found["I4"].detail == (
        "stream 3 c->a: the first 500 messages hash to 0000000000000dac at a, "
        "sent were 0000000000000001"
    )


def test_log_reads_back_what_the_stream_wrote() -> None:
    lines = GOOD.read_text().splitlines(keepends=True)
    assert [event_line(event) for event in read_events(GOOD)] == lines
    opened = next(
        event for event in read_events(RUNS / "good.jsonl") if isinstance(event, StreamOpened)
    )
    assert opened.size_bytes == 64
    assert any(isinstance(event, FaultReceipt) for event in read_events(GOOD))


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('{"kind":"Run', "Unterminated string"),
        ('{"kind":"Nothing","seq":0,"time_monotonic_ns":1,"fields":{}}', "'Nothing'"),
        (
            '{"kind":"ClusterReady","seq":0,"time_monotonic_ns":1,"fields":{"before_s":1}}',
            "before_s",
        ),
    ],
)
def test_line_that_is_no_event_is_named(line: str, what: str) -> None:
    with pytest.raises(UsageError, match=r"^log:2: not an event: ") as caught:
        list(parse_events(["", line], name="log"))
    assert what in caught.value.message


def test_missing_log_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*events\.jsonl: No such file"):
        read_events(tmp_path)


@pytest.mark.parametrize(("torn", "outcome"), [(True, Outcome.PASS), (False, Outcome.FAIL)])
def test_account_torn_by_death_may_be_one_message_off(torn: bool, outcome: Outcome) -> None:
    off_by_one = changed({"change": {"67": {"torn": torn, "received": 203, "next_sequence": 203}}})
    assert outcomes(check_run(off_by_one))["I3"] is outcome


def test_streams_of_a_run_that_was_broken_off_are_passed_over() -> None:
    patch = json.loads((RUNS / "violations" / "i3_never_stopped.json").read_text())
    assert outcomes(check_run(changed(patch), finished=False))["I3"] is Outcome.PASS
