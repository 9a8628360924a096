# SPDX-License-Identifier: MIT
"""Turns what a scenario raised into an error that shows the right frames.

An expectation or assertion that failed shows the scenario's own lines and nothing of ours; so does
a mistake in the scenario itself. An exception that nobody raised on purpose inside this package is
a bug of ours and shows everything.
"""

from __future__ import annotations

import traceback
from pathlib import Path

from emulator.errors import MnlabError, ScenarioError, VerdictFailure


def blame(error: BaseException, folder: Path) -> MnlabError:
    """Make a deliberate error of whatever a scenario raised.

    Args:
        error: what it raised.
        folder: the scenario's folder: frames of files in it are its own.

    Returns:
        The error itself if it was deliberate, with the scenario's frames added; else a new one.
    """
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _within(frame.filename, folder)]
    lines = tuple(_line(frame, folder) for frame in own)
    if isinstance(error, MnlabError):
        error.details = (*error.details, *lines)
        return error
    if isinstance(error, AssertionError):
        failed = VerdictFailure(
            f"assertion failed: {_assertion(error, own)}",
            hint="the scenario expected this to hold",
            details=lines,
        )
        failed.__cause__ = error
        return failed
    if own and frames[-1] is own[-1]:
        raised = ScenarioError(
            f"the scenario raised {_said(error)}",
            hint="correct the scenario and run again",
            details=lines,
        )
    else:
        raised = ScenarioError(
            f"the scenario ended in {_said(error)}",
            hint="if the scenario's call is right this is a bug of mnlab: please report it",
            details=tuple("".join(traceback.format_exception(error)).splitlines()),
        )
    raised.__cause__ = error
    return raised


def first_error(group: BaseExceptionGroup[MnlabError]) -> MnlabError:
    """The first deliberate error of those that ended a cluster; the others followed from it."""
    first = group.exceptions[0]
    return first_error(first) if isinstance(first, BaseExceptionGroup) else first


def _within(filename: str, folder: Path) -> bool:
    return Path(filename).resolve().is_relative_to(folder.resolve())


def _line(frame: traceback.FrameSummary, folder: Path) -> str:
    file = folder / Path(frame.filename).resolve().relative_to(folder.resolve())
    return f"{file}:{frame.lineno}: {frame.line}"


def _assertion(error: AssertionError, own: list[traceback.FrameSummary]) -> str:
    if str(error):
        return str(error).splitlines()[0]
    return (own[-1].line or "").removeprefix("assert ") if own else "no message"


def _said(error: BaseException) -> str:
    name = type(error).__name__
    return f"{name}: {error}" if str(error) else name
