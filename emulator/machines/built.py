# SPDX-License-Identifier: MIT
"""Where the firmware's build puts what this package uses: images and libraries."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent


def built_candidates(folder: str, name: str) -> tuple[Path, ...]:
    """Where a file may be: this checkout's build first, then the installed package's data.

    Args:
        folder: an architecture, or `host`.
        name: the file's name.
    """
    return (
        _PACKAGE.parent / "firmware" / "build" / folder / name,
        _PACKAGE / "_images" / folder / name,
    )


def find_library(name: str, variable: str) -> Path | None:
    """A library built for this machine.

    Args:
        name: its file's name.
        variable: of the environment; the path in it is taken instead of a search.

    Returns:
        Its path, or None when it is not built.
    """
    named = os.environ.get(variable)
    if named is not None:
        return Path(named)
    return next((path for path in built_candidates("host", name) if path.is_file()), None)
