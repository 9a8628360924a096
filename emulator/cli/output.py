# SPDX-License-Identifier: MIT
"""How the command line shows errors and data: one line what is wrong, one line what to do."""

from __future__ import annotations

import json
import sys

from rich.console import Console

from emulator.errors import MnlabError

LINE_WIDTH = 140


def show_error(error: MnlabError) -> None:
    """Print an error on standard error.

    Args:
        error: its message, details and hint are shown, never a traceback.
    """
    print(f"mnlab: {error.message}", file=sys.stderr)
    for line in error.details:
        print(f"       {line}", file=sys.stderr)
    if error.hint:
        print(f"       {error.hint}", file=sys.stderr)


def make_console() -> Console:
    """A console on standard output; where that is no terminal, lines may be long."""
    return Console(width=None if sys.stdout.isatty() else LINE_WIDTH)


def show_json(data: object) -> None:
    """Print data as JSON on standard output."""
    print(json.dumps(data, indent=2, ensure_ascii=False))
