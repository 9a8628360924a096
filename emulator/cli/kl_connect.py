# SPDX-License-Identifier: MIT
"""What the loader's tools share: the words before the action, finding the run, and how they end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from emulator.errors import MnlabError
from emulator.loader import Loader, LoaderError, error_string
from emulator.loader.socket_channel import SOCKET_NAME, SocketChannel
from emulator.runtime.live_runs import find_live_run

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130


class UsageMistake(Exception):
    """The words make no command: print the usage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Which node of which run.

    Args:
        node: its name.
        run: the run's folder; None: the newest that runs.
        runs: where run folders are.
    """

    node: str
    run: Path | None
    runs: Path


def take_place(words: Sequence[str]) -> tuple[Place, list[str]]:
    """Take `[--run DIR] [--runs DIR] NODE` off the front of a command line.

    Raises:
        UsageMistake: there is no node.
    """
    rest = list(words)
    folders: dict[str, Path] = {}
    while rest and rest[0] in ("--run", "--runs"):
        if len(rest) < 2:
            raise UsageMistake
        folders[rest[0]] = Path(rest[1])
        rest = rest[2:]
    if not rest or rest[0].startswith("-"):
        raise UsageMistake
    place = Place(node=rest[0], run=folders.get("--run"), runs=folders.get("--runs", Path("runs")))
    return place, rest[1:]


@contextlib.asynccontextmanager
async def connect(place: Place) -> AsyncIterator[Loader]:
    """The loader of a node.

    Raises:
        UsageError: no run goes on there.
        LoaderError: NODE_UNREACHABLE: it has no such node, or no loaders.
    """
    run = find_live_run(place.runs, place.run)
    channel = await SocketChannel.open(run / SOCKET_NAME, place.node)
    async with channel:
        yield Loader(channel)


def run_tool(label: str, usage: str, work: Callable[[], Awaitable[int]]) -> int:
    """Run a tool to its exit code.

    Args:
        label: its name, before errors.
        usage: printed for words that make no command.
        work: what it does; returns its exit code.
    """

    async def run() -> int:
        return await work()

    try:
        return asyncio.run(run())
    except UsageMistake:
        print(usage, file=sys.stderr)
    except LoaderError as error:
        text = error_string(error.code)
        print(f"{label} : {text} ({int(error.code)})", file=sys.stderr)
        for line in (error.what, error.hint):
            if line:
                print(f"  {line}", file=sys.stderr)
    except MnlabError as error:
        print(f"{label}: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output went away
        return 0
    return EXIT_FAILED


def end_on_termination() -> None:
    """Take a termination for Ctrl-C. Whoever calls a tool from a thread has handlers of its own."""
    if threading.current_thread() is not threading.main_thread():
        return
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
