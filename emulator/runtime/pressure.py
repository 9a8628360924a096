# SPDX-License-Identifier: MIT
"""How much this machine lacks processors, from Linux's pressure stall information."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

PRESSURE: Final = Path("/proc/pressure/cpu")
_SOME: Final = re.compile(r"^some avg10=(\d+(?:\.\d+)?)", re.MULTILINE)


def cpu_waiting_pct(path: Path = PRESSURE) -> float:
    """In how much of the last ten seconds something was ready to run and had to wait.

    Args:
        path: the kernel's file.

    Returns:
        Per cent; 0 where the kernel does not tell.
    """
    try:
        found = _SOME.search(path.read_text(encoding="ascii"))
    except OSError:
        return 0.0
    return float(found[1]) if found else 0.0
