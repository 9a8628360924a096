# SPDX-License-Identifier: MIT
"""Cleans up after a tool that was killed: machines that outlived it, and files that name what is gone.

A machine dies with its tool (parent-death signal); the gap is the moment between fork and that
signal being set. Only processes that a run folder names by number *and* start time are touched, and
only when the tool that owned the folder is gone: a second run beside this one is left alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from emulator.runtime.run_folder import OWNER, PROCESS, PTY, process_stamp


def sweep(runs_path: Path) -> list[int]:
    """Clean up below a folder of runs.

    Returns:
        The process ids that were killed.
    """
    killed: list[int] = []
    with contextlib.suppress(PermissionError):  # it is somebody else's to clean up
        for owner in sorted(runs_path.glob(f"*/{OWNER}")):
            if _is_alive(_read(owner)):
                continue
            for record in owner.parent.glob(f"nodes/*/launch-*/{PROCESS}"):
                killed += _kill(_read(record))
            for pty in owner.parent.glob(f"nodes/*/{PTY}"):
                pty.unlink(missing_ok=True)
            owner.unlink(missing_ok=True)
    return killed


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _is_alive(stamp: str) -> bool:
    pid = _pid(stamp)
    if pid is None:
        return False
    try:
        return process_stamp(pid) == stamp
    except (ProcessLookupError, PermissionError):
        return False


def _kill(stamp: str) -> list[int]:
    pid = _pid(stamp)
    if pid is None:
        return []
    with contextlib.suppress(ProcessLookupError, PermissionError):
        # The descriptor pins the process, so that number and start time cannot change hands in between.
        descriptor = os.pidfd_open(pid)
        try:
            if process_stamp(pid) == stamp:
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                return [pid]
        finally:
            os.close(descriptor)
    return []


def _pid(stamp: str) -> int | None:
    number, _, _ = stamp.partition(" ")
    return int(number) if number.isdecimal() else None
