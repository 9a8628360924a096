# SPDX-License-Identifier: MIT
"""`mnlab bench`: figures of this machine, each beside the bare limit of the same run."""

from __future__ import annotations

import argparse
import asyncio
import fnmatch
import json
from collections.abc import Collection
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from emulator.bench import NAMES, Figure, measure
from emulator.cli.output import make_console
from emulator.runtime.cluster import RunOptions

_GIGA, _MEGA, _KILO = 1e9, 1e6, 1e3


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
        _show(make_console(), figures)
    return 0


async def _measure(wanted: Collection[str], options: RunOptions, console: Console) -> list[Figure]:
    figures = []
    with console.status("measuring") as status:
        async for figure in measure(wanted, options):
            figures.append(figure)
            status.update(f"measured {figure.name}, {len(figures)} of {len(wanted)}")
    return figures


def _show(console: Console, figures: list[Figure]) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("figure", no_wrap=True)
    for heading in ("median", "lowest", "highest", "runs", "limit", "ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    for figure in figures:
        table.add_row(
            Text(figure.name, "" if figure.fit else "red"),
            *(
                _shown(value, figure.unit)
                for value in (figure.value, figure.minimum, figure.maximum)
            ),
            str(figure.runs),
            "-" if figure.limit is None else _shown(figure.limit, figure.unit),
            "-" if figure.ratio is None else f"{figure.ratio:.2f}",
        )
    console.print(table)
    if not figures:
        return
    console.print(
        f"\nEach with {figures[0].virtual_cpus} virtual CPUs on {figures[0].cores} cores. "
        "The limit is the same without our protocol, measured in the same run.",
        highlight=False,
    )
    if any(not figure.fit for figure in figures):
        console.print(
            "Unfit: the raw round trip took more than 3 µs, so the red figures say more about "
            "this machine's load than about us. Close other programs and measure again.",
            style="red",
            highlight=False,
        )


def _shown(value: float, unit: str) -> str:
    """A value as people read it, in a fitting multiple of its unit."""
    if unit in ("B", "B/s", "1/s"):
        for scale, prefix in ((_GIGA, "G"), (_MEGA, "M"), (_KILO, "k")):
            if value >= scale:
                return f"{value / scale:.2f} {prefix}{unit.removeprefix('1')}"
    if unit == "s" and value < 1:
        return f"{value * _KILO:.1f} ms"
    return f"{value:.2f} {unit}".replace("us", "µs")


def _names(pattern: str) -> list[str]:
    names = fnmatch.filter(NAMES, pattern)
    if not names:
        raise argparse.ArgumentTypeError(
            f"{pattern!r} is no figure; valid: {', '.join(NAMES)}, and patterns like 'rtt.*'"
        )
    return names
