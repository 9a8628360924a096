# SPDX-License-Identifier: MIT
"""Where the firmware's build puts what this package uses: images and libraries."""

from __future__ import annotations

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
