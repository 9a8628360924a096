# SPDX-License-Identifier: MIT
"""`kl_log`: sets a server's log level and prints its log until the server or the run ends.

Level 0 switches the log off and ends. Killing the tool does not: run it in the background, later
`kl_log NODE -l 0 server`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from emulator.cli.kl_connect import UsageMistake, connect, end_on_termination, run_tool, take_place
from emulator.loader import Code, Loader, LoaderError, ReplyCallbacks, reply_handler
from emulator.loader.script import parse_integer

LABEL = "kl_log"
USAGE = """\
usage: kl_log [--run DIR] [--runs DIR] NODE [-l level] server
  -l level   keep entries of at least this level, as C writes numbers; 0: off; default: 1, all"""
LEVEL_ALL = 1
_GONE = (Code.UNKNOWN_SERVER, Code.SERVER_UNLOADED, Code.INVALID_ARGUMENT)  # server, or its log


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool.

    Args:
        argv: the words after its name; None: those of the process.

    Returns:
        0 when the log, the server or the run ended; 1 for mistakes and refusals.
    """
    words = sys.argv[1:] if argv is None else list(argv)

    async def work() -> int:
        place, rest = take_place(words)
        level = LEVEL_ALL
        if rest[:1] == ["-l"]:
            level = _level(rest[1:2])
            rest = rest[2:]
        if len(rest) != 1 or rest[0].startswith("-"):
            raise UsageMistake
        async with connect(place) as loader:
            await _follow(loader, rest[0], level)
        return 0

    end_on_termination()
    return run_tool(LABEL, USAGE, work)


def _level(words: list[str]) -> int:
    level = parse_integer(words[0]) if words else None
    if level is None or level >= 1 << 31:
        raise UsageMistake
    return level


async def _follow(loader: Loader, name: str, level: int) -> None:
    """Print the log until it is closed."""
    com_port = await loader.server_com_port(name)
    await loader.log_level(com_port, level)
    if not level:
        return
    is_closed = False

    def log_data(_: None, text: str, length: int) -> None:
        nonlocal is_closed
        is_closed = not length
        sys.stdout.write(text)
        sys.stdout.flush()

    port = loader.port()
    callbacks = ReplyCallbacks(argument=None, log_data=log_data)
    await loader.get_log(com_port, port)
    while (message := await port.receive()) is not None:
        reply_handler(message, callbacks)
        if is_closed:
            return
        try:
            await loader.get_log(com_port, port)
        except LoaderError as error:
            if error.code in _GONE:
                return  # between two reads
            raise


if __name__ == "__main__":
    sys.exit(main())
