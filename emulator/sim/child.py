# SPDX-License-Identifier: MIT
"""Runs one schedule in a child process, so that a crash or an endless loop of it ends only that."""

from __future__ import annotations

import os
import signal

from emulator.errors import UsageError
from emulator.sim.engine import run_twice
from emulator.sim.library import open_library
from emulator.sim.schedule import Schedule

__all__ = ["CRASHED", "broken_by"]

CRASHED = -1  # the process ended, or did not come to an end
_LIMIT_S = 20
_EXIT_PASS = 0
_EXIT_BROKEN = 100  # plus the invariant
_EXIT_ERROR = 99
_EXIT_SENSELESS = 98


def broken_by(schedule: Schedule) -> int | None:
    """Return which invariant a schedule breaks, None if it passes.

    A run that crashes its process or takes longer than 20 s: CRASHED.

    Raises:
        UsageError: its settings or the order of its entries make no sense.
    """
    open_library()  # its errors are the parent's to show
    child = os.fork()
    if child == 0:
        _run_and_exit(schedule)
    _, status = os.waitpid(child, 0)
    if not os.WIFEXITED(status) or os.WEXITSTATUS(status) == _EXIT_ERROR:
        return CRASHED
    code = os.WEXITSTATUS(status)
    if code == _EXIT_SENSELESS:
        raise UsageError("the settings or the order of the schedule make no sense")
    return None if code == _EXIT_PASS else code - _EXIT_BROKEN


def _run_and_exit(schedule: Schedule) -> None:
    """Never returns."""
    code = _EXIT_ERROR
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(_LIMIT_S)
        invariant = run_twice(schedule).invariant
        code = _EXIT_PASS if invariant is None else _EXIT_BROKEN + invariant
    except UsageError:
        code = _EXIT_SENSELESS
    finally:
        os._exit(code)
