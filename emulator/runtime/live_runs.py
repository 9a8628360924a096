# SPDX-License-Identifier: MIT
"""Runs that go on just now, for tools in other terminals; read from the run folders."""

from __future__ import annotations

from pathlib import Path

from emulator.errors import UsageError
from emulator.runtime.run_folder import OWNER, process_stamp


def find_live_run(runs_path: Path, run: Path | None = None) -> Path:
    """The folder of a run that goes on.

    Args:
        runs_path: where run folders are.
        run: the folder; None: the newest that still runs.

    Raises:
        UsageError: there is none, or that one has ended.
    """
    if run is not None:
        if not _is_running(run / OWNER):
            raise UsageError(
                f"{run} is not the folder of a run that goes on",
                hint="what it left is in that folder",
            )
        return run
    live = sorted(
        (owner for owner in runs_path.glob(f"*/{OWNER}") if _is_running(owner)),
        key=lambda owner: owner.stat().st_mtime,
    )
    if not live:
        raise UsageError(
            f"nothing runs in {runs_path}",
            hint="start a scenario in another terminal, or name its folder with --run",
        )
    return live[-1].parent


def _is_running(owner: Path) -> bool:
    """Whether the process that owns a run folder is the one that made it."""
    try:
        stamp = owner.read_text(encoding="ascii").strip()
        return process_stamp(int(stamp.split()[0])) == stamp
    except (OSError, ValueError, IndexError):
        return False
