# SPDX-License-Identifier: MIT
"""`mnlab run`: scenarios one after another, live on a terminal, ending in a table of verdicts."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from emulator.cli.output import make_console, show_error, show_json
from emulator.config import load_topology
from emulator.events.types import Event
from emulator.runtime.cluster import RunOptions
from emulator.scenario import RunResult, Scenario, find_scenario, load_scenario, run_scenario
from emulator.scenario.run import EXIT_FAIL, EXIT_PASS
from emulator.view.describe import describe, field_text
from emulator.view.live import run_view
from emulator.view.render import verdict_lines, verdict_table

OVERLOADED_PCT = 60  # from here on a broken bound may well be the fault of the machine


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "run",
        help="run scenarios and give a verdict",
        description="Runs each scenario on a fresh cluster and checks every invariant.",
    )
    parser.add_argument(
        "scenarios",
        nargs="+",
        metavar="SCENARIO",
        help="a scenario's folder, its scenario.py, or the name of a folder in scenarios/",
    )
    parser.add_argument(
        "--repeat", type=_positive, default=1, metavar="N", help="run each N times, one seed up"
    )
    parser.add_argument("--seed", type=_natural, metavar="S", help="instead of the topology's")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), metavar="DIR", help="where run folders go"
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON only")
    parser.set_defaults(verb=_run)


def _run(arguments: argparse.Namespace) -> int:
    console = make_console()
    # All are loaded before the first one boots: a mistake in the last costs no waiting.
    scenarios = [load_scenario(find_scenario(name)) for name in arguments.scenarios]
    planned = list(_plan(scenarios, arguments))
    results: list[RunResult] = []
    try:
        for turn, (scenario, options) in enumerate(planned, start=1):
            title = f"{scenario.name}: {scenario.title}"
            if len(planned) > 1:
                title = f"{turn} of {len(planned)}, {title}"
            result = _run_one(scenario, options, None if arguments.json else console, title)
            results.append(result)
    finally:  # whoever is interrupted in the hundredth run wants to know of the ninety-nine
        if arguments.json:
            show_json([_as_data(result) for result in results])
        elif len(planned) > 1 and results:
            _show_summary(console, results, planned=len(planned))
    return max(result.exit_code for result in results)


def _plan(
    scenarios: list[Scenario], arguments: argparse.Namespace
) -> Iterator[tuple[Scenario, RunOptions]]:
    for scenario in scenarios:
        topology = load_topology(scenario.topology_path)
        first = topology.seed if arguments.seed is None else arguments.seed
        for turn in range(arguments.repeat):
            yield (
                scenario,
                RunOptions(runs_path=arguments.runs, seed=first + turn, name=scenario.name),
            )


def _run_one(
    scenario: Scenario, options: RunOptions, console: Console | None, title: str
) -> RunResult:
    if console is None:
        return asyncio.run(run_scenario(scenario, options=options))

    async def shown() -> RunResult:
        view = run_view(console, title=title)
        with contextlib.closing(view):
            return await run_scenario(scenario, options=options, watch=view.watch)

    result = asyncio.run(shown())
    _show_result(console, result)
    return result


def _show_result(console: Console, result: RunResult) -> None:
    console.print()
    if result.verdicts:
        if console.is_terminal:
            console.print(verdict_table(result.verdicts))
            console.print()
        else:
            console.print(verdict_lines(result.verdicts), soft_wrap=True)
    said = f"  {result.scenario.name}, seed {result.seed}, {result.elapsed_s:.1f} s"
    if result.error is None:
        said += f": {result.summary}"
    style = "bold green" if result.passed else "bold red"
    console.print(
        Text.assemble((_outcome(result).upper(), style), said), soft_wrap=not console.is_terminal
    )
    if result.passed:
        return
    for broken in result.broken[:1]:  # the others mostly follow from it; all are in the table
        for node, events in broken.context.items():
            _say(console, f"  {broken.invariant}: the last events of {node}")
            for event in events:
                _say(console, f"    {_event_text(event)}")
    if result.error is not None:
        show_error(result.error)
    burden = _burden(result)
    if burden:
        _say(
            console,
            f"{burden}: bounds in time may have broken for that reason alone; close other programs "
            "and run it again",
        )
    if result.folder is not None:
        _say(console, f"run folder: {result.folder}")
    _say(console, f"run it again: {result.rerun}")


def _burden(result: RunResult) -> str:
    """How this machine may have spoilt the run; empty when it was fit."""
    if result.stalled_s:
        return f"this machine stood still for up to {result.stalled_s:.1f} s"
    if result.waiting_pct >= OVERLOADED_PCT:
        return (
            "this machine is overloaded, something waited for a processor in "
            f"{result.waiting_pct:.0f} % of the last 10 s"
        )
    return ""


def _outcome(result: RunResult) -> str:
    """pass or fail of a run that was judged; error of one that could not be."""
    if result.exit_code not in (EXIT_PASS, EXIT_FAIL):
        return "error"
    return "pass" if result.passed else "fail"


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _event_text(event: Event) -> str:
    said = describe(event)
    if said is not None:
        return f"#{event.seq} {said[0]}: {said[1]}"
    return f"#{event.seq} {event.kind}: {field_text(event)}"


def _show_summary(console: Console, results: list[RunResult], *, planned: int) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("scenario", "seed", "verdict", "seconds", ""):
        table.add_column(heading, overflow="fold")
    for result in results:
        verdict = Text(_outcome(result), "green" if result.passed else "bold red")
        table.add_row(
            result.scenario.name,
            str(result.seed),
            verdict,
            f"{result.elapsed_s:.1f}",
            Text(result.summary),
        )
    console.print()
    console.print(table)
    good = sum(result.passed for result in results)
    never = f", {planned - len(results)} not run to their end" if planned > len(results) else ""
    _say(console, f"{good} of {len(results)} runs passed{never}")


def _as_data(result: RunResult) -> dict[str, Any]:
    error = result.error
    return {
        "scenario": result.scenario.name,
        "seed": result.seed,
        "outcome": _outcome(result),
        "exit_code": result.exit_code,
        "elapsed_s": round(result.elapsed_s, 3),
        "stalled_s": result.stalled_s,
        "waiting_pct": result.waiting_pct,
        "folder": None if result.folder is None else str(result.folder),
        "rerun": result.rerun,
        "error": None
        if error is None
        else {"message": error.message, "hint": error.hint, "details": list(error.details)},
        "verdicts": [
            {
                "invariant": verdict.invariant,
                "title": verdict.title,
                "outcome": verdict.outcome.value,
                "detail": verdict.detail,
                "event": None if verdict.at is None else verdict.at.seq,
            }
            for verdict in result.verdicts
        ],
    }


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no count; valid: 1 and up")
    return int(text)


def _natural(text: str) -> int:
    if not text.isdigit() or int(text) >= 1 << 63:
        raise argparse.ArgumentTypeError(f"{text!r} is no seed; valid: 0 .. 2^63-1")
    return int(text)
