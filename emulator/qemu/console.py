# SPDX-License-Identifier: MIT
"""A machine's serial console: a log that QEMU itself writes, so that nothing is lost when it is
killed.

The terminal for typing is a pty of QEMU's; this module only reads the log.
"""

from __future__ import annotations

import os
from pathlib import Path

_TAIL_BYTES = 64 * 1024


class Console:
    """The console log of one launch."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def tail(self, lines: int) -> tuple[str, ...]:
        """The last lines, control characters made visible; empty before the first byte."""
        try:
            with self.path.open("rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(0, file.tell() - _TAIL_BYTES))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return ()
        kept = [_printable(line) for line in text.splitlines()]
        return tuple(line for line in kept if line.strip())[-lines:]


def _printable(line: str) -> str:
    return "".join(char if char.isprintable() or char == "\t" else "·" for char in line)
