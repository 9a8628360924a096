# SPDX-License-Identifier: MIT
"""Attaches this terminal to a running node's serial console.

QEMU offers the console as a pty and writes the same bytes to the run folder; attaching and leaving
changes nothing for the node. Who runs is read from the run folders: each live run keeps a record of
its process and its nodes' terminals there (`emulator.runtime.run_folder`).
"""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import serial

from emulator.errors import HostError, UsageError
from emulator.runtime.live_runs import find_live_run
from emulator.runtime.run_folder import PTY

LEAVE = b"\x1d"  # Ctrl-]
_READ_BYTES = 4096


def find_console(node: str, *, runs_path: Path, run: Path | None = None) -> str:
    """The terminal of a node's serial console in a run that goes on.

    Args:
        node: the node's name.
        runs_path: where run folders are.
        run: the folder of the run; None: the newest that still runs.

    Raises:
        UsageError: no such run, or no such node in it with a machine that runs.
    """
    run = find_live_run(runs_path, run)
    pty = run / "nodes" / node / PTY
    if not pty.is_file():
        running = sorted(file.parent.name for file in run.glob(f"nodes/*/{PTY}"))
        raise UsageError(
            f"no machine of a node {node} runs in {run}",
            hint=f"valid: {', '.join(running)}" if running else "its nodes are not started yet",
        )
    return pty.read_text(encoding="utf-8").strip()


def attach(pty: str, *, node: str) -> None:
    """Join the terminal to a console until Ctrl-] is typed or the node's machine ends.

    Args:
        pty: the console's terminal device.
        node: its name, for messages.

    Raises:
        HostError: the terminal device cannot be opened.
    """
    try:
        line = serial.Serial(pty, timeout=0)
    except (serial.SerialException, OSError) as error:
        raise HostError(
            f"node {node}: its console {pty} cannot be opened: {error}",
            hint="the machine has ended, or another program holds its console",
        ) from error
    with line, _raw_terminal():
        _join(line.fileno())


def _join(line: int) -> None:
    """Copy bytes both ways between standard input and output and an open terminal device."""
    sources = [line, sys.stdin.fileno()]
    while True:
        ready, _, _ = select.select(sources, [], [])
        if line in ready:
            try:
                said = os.read(line, _READ_BYTES)
            except OSError:
                return  # the other side of the pty is gone: the machine ended
            if not said:
                return
            os.write(sys.stdout.fileno(), said)
        if sys.stdin.fileno() in ready:
            typed = os.read(sys.stdin.fileno(), _READ_BYTES)
            if not typed:
                sources.remove(sys.stdin.fileno())  # nothing more to type; go on listening
                continue
            before, leave, _ = typed.partition(LEAVE)
            os.write(line, before)
            if leave:
                return


@contextmanager
def _raw_terminal() -> Iterator[None]:
    """Pass every key on as it is typed; does nothing when standard input is no terminal."""
    if not sys.stdin.isatty():
        yield
        return
    saved = termios.tcgetattr(sys.stdin)
    try:
        tty.setraw(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, saved)
