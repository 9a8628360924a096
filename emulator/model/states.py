# SPDX-License-Identifier: MIT
"""The states and reasons that events and objects speak of; reasons are those of the protocols."""

from __future__ import annotations

import signal
from enum import Enum

from emulator.protocol.constants import LinkDrop as Drop
from emulator.protocol.constants import LinkReason
from emulator.protocol.constants import LinkRefusal as Refusal
from emulator.protocol.constants import NodeDeathCause as DeathCause


class NodeState(Enum):
    """Where a node is in its life, as the host knows it."""

    OFF = "off"  # no machine: not started yet, crashed, or ended
    BOOTING = "booting"  # its machine runs, its kernel is not ready
    READY = "ready"
    HUNG = "hung"  # stopped by us, its memory lives on
    PANICKED = "panicked"


class DirectionState(Enum):
    """State of one direction of a link."""

    CUT = "cut"  # no carrier
    DOWN = "down"  # carrier, but its two ends are not trained
    UP = "up"  # trained at both ends


def exit_text(status: int) -> str:
    """How a process ended, in words.

    Args:
        status: its exit status, negative for a signal.

    Returns:
        `ended with status 7`, `was killed by signal 11 (SIGSEGV)`.
    """
    if status >= 0:
        return f"ended with status {status}"
    names = {number.value: f" ({number.name})" for number in signal.Signals}
    return f"was killed by signal {-status}{names.get(-status, '')}"


__all__ = [
    "DeathCause",
    "DirectionState",
    "Drop",
    "LinkReason",
    "NodeState",
    "Refusal",
    "exit_text",
]
