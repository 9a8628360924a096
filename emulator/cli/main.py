# SPDX-License-Identifier: MIT
"""`mnlab`: verbs, exit codes, and how mistakes are shown.

Exit codes: 0 pass; 1 a verdict that fails; 2 wrong usage or configuration, or a scenario that
raises; 3 the host could not do it; 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import NoReturn

from emulator.cli import bench, console, doctor, kl, kl_ld, run, sim
from emulator.cli.output import show_error
from emulator.errors import MnlabError, UsageError

EXIT_INTERRUPTED = 130
_VERBS = (run, console, kl, kl_ld, sim, bench, doctor)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments after the program's name; None: those of the process.

    Returns:
        The exit code.
    """
    try:
        with _ended_in_order():
            arguments = _parser().parse_args(argv)
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


@contextlib.contextmanager
def _ended_in_order() -> Iterator[None]:
    """Take a termination, or a terminal that goes away, for Ctrl-C: everything is taken down."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler is signal.SIG_DFL:  # not for nohup
            signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Parser(argparse.ArgumentParser):
    """A mistake is two lines, as everywhere: what is wrong, what to do."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message.removeprefix("argument "), hint=f"see {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
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
