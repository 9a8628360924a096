# SPDX-License-Identifier: MIT
"""`mnlab`: verbs, exit codes, and how mistakes are shown.

Exit codes: 0 pass; 1 a verdict that fails; 2 wrong usage or configuration, or a scenario that
raises; 3 the host could not do it; 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
from collections.abc import Sequence

from emulator.cli import bench, console, doctor, run, sim
from emulator.cli.output import show_error
from emulator.errors import MnlabError

EXIT_INTERRUPTED = 130
_VERBS = (run, console, sim, bench, doctor)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments after the program's name; None: those of the process.

    Returns:
        The exit code.
    """
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.verb(arguments))
    except MnlabError as error:
        show_error(error)
        return error.exit_code
    except KeyboardInterrupt:
        print("mnlab: interrupted; everything it started was taken down", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output went away: nobody is left to tell
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mnlab",
        description="Boots clusters of small machines, pulls their cables, crashes their nodes, "
        "and shows that every link comes back and nothing is lost.",
        epilog="Exit codes: 0 pass, 1 fail, 2 wrong usage or configuration, "
        "3 the host could not do it, 130 interrupted.",
    )
    parser.add_argument(
        "--version", action="version", version=f"mnlab {importlib.metadata.version('mnlab')}"
    )
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
    for verb in _VERBS:
        verb.add_parser(verbs)
    return parser


if __name__ == "__main__":
    sys.exit(main())
