# SPDX-License-Identifier: MIT
"""`mnlab doctor`: what this machine has, what is missing, and how to get it."""

from __future__ import annotations

import argparse
import asyncio

from rich.console import Console
from rich.table import Table
from rich.text import Text

from emulator.cli.output import make_console, show_json
from emulator.doctor import Check, Finding, examine
from emulator.errors import HostError

_STYLES = {
    Finding.GOOD: "green",
    Finding.NOTE: "dim",
    Finding.WANTED: "yellow",
    Finding.MISSING: "bold red",
}


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "doctor",
        help="what this machine can do, what is missing, how to get it",
        description="Looks at everything mnlab needs and boots each machine once.",
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.set_defaults(verb=_doctor)


def _doctor(arguments: argparse.Namespace) -> int:
    checks = asyncio.run(examine())
    if arguments.json:
        show_json([_as_data(check) for check in checks])
    else:
        _show(make_console(), checks)
    return HostError.exit_code if _any_missing(checks) else 0


def _show(console: Console, checks: tuple[Check, ...]) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in checks:
        table.add_row(
            check.name, Text(check.finding.value, _STYLES[check.finding]), Text(check.said)
        )
        if check.remedy:
            table.add_row("", "", Text(check.remedy, "bold"))
    console.print(table)
    console.print()
    console.print(
        "Something is missing: see above." if _any_missing(checks) else "Everything runs here.",
        highlight=False,
    )


def _any_missing(checks: tuple[Check, ...]) -> bool:
    return any(check.finding is Finding.MISSING for check in checks)


def _as_data(check: Check) -> dict[str, str]:
    return {
        "name": check.name,
        "finding": check.finding.value,
        "said": check.said,
        "remedy": check.remedy,
    }
