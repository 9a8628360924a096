# SPDX-License-Identifier: MIT
"""`mnlab kl`: the kernel-server loader's tools for a node that runs.

`mnlab kl NODE -s` is `kl_util NODE -s`; `mnlab kl NODE log ...` is `kl_log NODE ...`.
"""

from __future__ import annotations

import argparse

from emulator.cli import kl_log, kl_util

_EPILOG = f"""\
{kl_util.USAGE}

{kl_log.USAGE.replace("kl_log [--run DIR] [--runs DIR] NODE", "mnlab kl NODE log")}"""


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "kl",
        help="the kernel-server loader of a running node",
        description="Loads, unloads, replaces and logs kernel servers of a node that runs.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_EPILOG,
    )
    parser.add_argument("--run", metavar="DIR", help="the run's folder; default: the newest")
    parser.add_argument("--runs", metavar="DIR", help="where run folders are; default: runs")
    parser.add_argument("node", metavar="NODE", help="the node's name")
    parser.add_argument("words", nargs=argparse.REMAINDER, help="as kl_util, or: log and as kl_log")
    parser.set_defaults(verb=_kl)


def _kl(arguments: argparse.Namespace) -> int:
    words: list[str] = [arguments.node, *arguments.words]
    for option, value in (("--run", arguments.run), ("--runs", arguments.runs)):
        if value is not None:
            words = [option, value, *words]
    if arguments.words[:1] == ["log"]:
        words.remove("log")
        return kl_log.main(words)
    return kl_util.main(words)
