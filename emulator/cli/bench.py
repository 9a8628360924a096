# SPDX-License-Identifier: MIT
"""`mnlab bench`: figures of this machine, each beside the bare limit of the same run."""

from __future__ import annotations

import argparse
import asyncio
import difflib
import fnmatch
import json
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from rich.console import Console

from emulator.bench import NAMES, Figure, measure
from emulator.bench.bounds import broken
from emulator.bench.pair import pair_of
from emulator.cli.bench_table import is_fit, show_figures
from emulator.cli.output import make_console
from emulator.errors import HostError, VerdictFailure
from emulator.runtime.cluster import RunOptions

EXIT_BROKEN = VerdictFailure.exit_code


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "bench",
        help="figures of this machine beside the bare limits",
        description="Measures pairs of nodes, and in the same run what a bare ring and a bare "
        "machine do. Close other programs first: two busy nodes want two cores.",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        type=_names,
        default=[NAMES],
        metavar="NAME",
        help="figures to measure; patterns like 'rtt.*' are welcome",
    )
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), metavar="DIR", help="where run folders go"
    )
    parser.add_argument(
        "--check", action="store_true", help="exit 1 when a figure breaks the bound promised of it"
    )
    parser.add_argument("--json", action="store_true", help="print one object for each figure")
    parser.set_defaults(verb=_bench)


def _bench(arguments: argparse.Namespace) -> int:
    wanted = {name for names in arguments.only for name in names}
    options = RunOptions(runs_path=arguments.runs, name="bench")
    console = Console(stderr=True)
    figures = asyncio.run(_measure(wanted, options, console))
    if arguments.json:
        lines = ",\n".join(json.dumps(figure.as_data()) for figure in figures)
        print(f"[\n{lines}\n]")
    else:
        show_figures(make_console(), figures)
    return _judge(figures) if arguments.check else 0


async def _measure(wanted: Collection[str], options: RunOptions, console: Console) -> list[Figure]:
    figures = []
    with console.status("measuring") as status:
        async for figure in measure(wanted, options):
            figures.append(figure)
            status.update(f"measured {figure.name}, {len(figures)} of {len(wanted)}")
    return figures


def _judge(figures: Sequence[Figure]) -> int:
    """Say which promises were broken; the exit code."""
    failing = broken(figures)
    if not is_fit(figures):
        raise HostError(
            "this machine is too busy to be measured on: a raw round trip took more than 3 µs",
            hint="close other programs and measure again",
            details=tuple(f"would break its bound: {figure.name}" for figure in failing),
        )
    for figure in failing:
        print(f"mnlab: {figure.name} breaks its bound", file=sys.stderr)
    return EXIT_BROKEN if failing else 0


def _names(pattern: str) -> list[str]:
    names = fnmatch.filter(NAMES, pattern)
    if not names:
        near = difflib.get_close_matches(pattern, NAMES, n=1, cutoff=0.4)
        bases = dict.fromkeys(pair_of(name)[1] for name in NAMES)
        valid = f"did you mean '{near[0]}'?" if near else f"valid: {', '.join(bases)}"
        raise argparse.ArgumentTypeError(
            f"{pattern!r} is no figure; {valid} (patterns like 'rtt.*' and '*.mixed' are welcome)"
        )
    return names
