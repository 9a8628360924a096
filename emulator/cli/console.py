# SPDX-License-Identifier: MIT
"""`mnlab console`: the serial console of a node that runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from emulator.console_attach import attach, find_console


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "console",
        help="the serial console of a running node",
        description="Attaches this terminal to a node's serial console. Ctrl-] leaves.",
    )
    parser.add_argument("node", metavar="NODE", help="the node's name")
    parser.add_argument(
        "--run", type=Path, metavar="DIR", help="the run's folder; default: the newest that runs"
    )
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), metavar="DIR", help="where run folders are"
    )
    parser.set_defaults(verb=_console)


def _console(arguments: argparse.Namespace) -> int:
    node: str = arguments.node
    pty = find_console(node, runs_path=arguments.runs, run=arguments.run)
    print(f"console of {node} at {pty}; Ctrl-] leaves", file=sys.stderr)
    attach(pty, node=node)
    print(f"\r\nleft the console of {node}", file=sys.stderr)
    return 0
