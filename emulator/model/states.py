# SPDX-License-Identifier: MIT
"""The states and reasons that events and objects speak of; reasons are those of the protocols."""

from __future__ import annotations

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


__all__ = ["DeathCause", "DirectionState", "Drop", "LinkReason", "NodeState", "Refusal"]
