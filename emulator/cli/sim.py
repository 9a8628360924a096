# SPDX-License-Identifier: MIT
"""`mnlab sim`: many nodes in one process, thousands of seeds a second, every invariant checked."""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from emulator.cli.output import make_console, show_json
from emulator.errors import VerdictFailure
from emulator.sim import (
    CRASHED,
    INVARIANTS,
    Failure,
    Kind,
    Profile,
    Report,
    Schedule,
    Workload,
    broken_by,
    generate,
    read_schedule,
    run_campaign,
    run_twice,
    shrink,
    write_schedule,
)

_PROFILES: Final = {profile.name.lower().replace("_", "-"): profile for profile in Profile}
_SEEDS_DEFAULT: Final = 2000
_OPERATIONS_MAXIMUM: Final = 900
_STYLES: Final = {"pass": "green", "fail": "bold red", "not exercised": "yellow"}


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "sim",
        help="simulate clusters from seeds, faults and all",
        description="Runs clusters of the real kernel core in virtual time. One seed decides "
        "everything; a seed that fails is shrunk and written to a file that replays it.",
    )
    parser.add_argument("--seeds", type=_positive, default=_SEEDS_DEFAULT, metavar="N")
    parser.add_argument("--first", type=_natural, default=1, metavar="S", help="the first seed")
    parser.add_argument("--profile", choices=tuple(_PROFILES), default="mixed", help="which faults")
    parser.add_argument("--nodes", type=int, choices=range(2, 6), default=3)
    parser.add_argument(
        "--operations", type=_operations, default=100, metavar="N", help="of the nodes' programs"
    )
    parser.add_argument(
        "--differential",
        action="store_true",
        help="one node of each cluster is the Python protocol stack, of any byte order and width",
    )
    parser.add_argument("--jobs", type=_positive, default=len(os.sched_getaffinity(0)), metavar="N")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run this schedule instead")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), metavar="DIR", help="where replay files go"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(verb=_sim)


def _sim(arguments: argparse.Namespace) -> int:
    if arguments.replay is not None:
        return _replay(arguments.replay, as_json=arguments.json)
    workload = Workload(
        profile=_PROFILES[arguments.profile],
        nodes=arguments.nodes,
        operations=arguments.operations,
        differential=arguments.differential,
    )
    console = Console(stderr=True)
    with console.status("simulating") as status:
        report = asyncio.run(
            run_campaign(
                arguments.first,
                arguments.seeds,
                workload,
                jobs=arguments.jobs,
                progress=lambda so_far: status.update(f"simulated {so_far.seeds} seeds"),
            )
        )
        file = None
        if report.failure is not None:
            status.update(f"shrinking seed {report.failure.seed}")
            file, schedule = _keep(report.failure, workload, arguments.runs)
    if arguments.json:
        show_json({**report.as_data(), "failure": _failure_data(report.failure, file)})
    else:
        _show(make_console(), report)
        if report.failure is not None and file is not None:
            _show_failure(make_console(), report.failure, file, schedule)
    return 0 if report.failure is None else VerdictFailure.exit_code


def _keep(failure: Failure, workload: Workload, folder: Path) -> tuple[Path, Schedule | None]:
    """Shrink a failure and write it down; no schedule: alone it passes."""
    schedule = generate(failure.seed, workload)
    fails_alone = broken_by(schedule) == failure.invariant
    if fails_alone:
        schedule = shrink(schedule, lambda candidate: broken_by(candidate) == failure.invariant)
    file = folder / f"sim-{failure.seed}.json"
    write_schedule(file, schedule, invariant=failure.invariant, text=failure.text)
    return file, schedule if fails_alone else None


def _replay(file: Path, *, as_json: bool) -> int:
    schedule = read_schedule(file)
    invariant = broken_by(schedule)
    if invariant == CRASHED:
        text, events = "it ended, or found no end", ""
    else:
        outcome = run_twice(schedule)
        text, events = outcome.text, outcome.events
    if as_json:
        data = {"invariant": invariant, "text": text, "events": events.splitlines()}
        show_json({"verdict": "pass" if invariant is None else "fail", **data})
    elif invariant is None:
        print("pass")
    else:
        print(f"{events}breaks {_name(invariant)}: {text}")
    return 0 if invariant is None else VerdictFailure.exit_code


def _show(console: Console, report: Report) -> None:
    counters = report.counters
    console.print(
        f"{report.seeds} seeds, {report.seeds_per_cpu_s:.0f} a second and core: "
        f"{counters['operations']} operations, {counters['sent']} messages "
        f"({counters['settled']} settled, {counters['failures']} failed, "
        f"{counters['unknown']} unknown), {counters['lives']} lives, "
        f"{counters['deaths']} deaths told; {counters['repeated']} seeds run twice.",
        highlight=False,
    )
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("invariant", "", "verdict"):
        table.add_column(heading, no_wrap=True)
    table.add_column("runs", justify="right")
    for number, meaning in INVARIANTS.items():
        verdict = report.verdict(number)
        runs = report.seeds if number == 0 else report.passed[number] + report.broken[number]
        table.add_row(
            f"I{number}" if number else "-", meaning, Text(verdict, _STYLES[verdict]), str(runs)
        )
    console.print(table)
    faults = ", ".join(
        f"{kind.name.lower()} {report.fired[kind.name]}"
        for kind in Kind
        if kind.is_fault and report.fired[kind.name]
    )
    console.print(f"faults: {faults or 'none'}", highlight=False)


def _show_failure(
    console: Console, failure: Failure, file: Path, schedule: Schedule | None
) -> None:
    console.print(f"\n{failure.events}", end="", highlight=False, markup=False)
    console.print(
        f"seed {failure.seed} breaks {_name(failure.invariant)}: {failure.text}",
        style="bold red",
        highlight=False,
        markup=False,
    )
    if schedule is None:
        console.print("alone it passes: it takes the seeds before it", highlight=False)
        return
    console.print(f"shrunk to {len(schedule.entries)} entries:", highlight=False)
    for entry in schedule.entries:
        console.print(f"  {entry}", highlight=False, markup=False)
    console.print(f"again: mnlab sim --replay {file}", highlight=False, markup=False)


def _failure_data(failure: Failure | None, file: Path | None) -> dict[str, object] | None:
    if failure is None:
        return None
    return {
        "seed": failure.seed,
        "invariant": failure.invariant,
        "text": failure.text,
        "events": failure.events.splitlines(),
        "replay": str(file),
    }


def _name(invariant: int) -> str:
    if invariant in (0, CRASHED):
        return "the node" if invariant == 0 else "the process"
    return f"I{invariant} ({INVARIANTS[invariant]})"


def _natural(text: str) -> int:
    value = int(text)
    if not 0 <= value < 2**64:
        raise argparse.ArgumentTypeError(f"{text} is no seed: 0 .. 2^64 - 1")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value


def _operations(text: str) -> int:
    value = int(text)
    if not 0 <= value <= _OPERATIONS_MAXIMUM:
        raise argparse.ArgumentTypeError(f"{text} is not in 0 .. {_OPERATIONS_MAXIMUM}")
    return value
