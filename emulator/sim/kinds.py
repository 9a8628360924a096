# SPDX-License-Identifier: MIT
"""The names of what the simulator does: `firmware/sim/sim.h` has the same numbers."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

__all__ = ["INVARIANTS", "Kind", "Mode", "Profile"]


class Mode(IntEnum):
    """What is asked of a run."""

    SAFETY = 1
    LIVENESS = 2


class Profile(IntEnum):
    """Which faults a seed may bring."""

    MIXED = 0
    CONTROL = 1
    SINGLE = 2
    LINKS = 3
    NODES = 4
    ALL = 5
    SWIZZLE = 6
    CRASH_LOOP = 7
    MEMORY = 8
    HOSTILE = 9


class Kind(IntEnum):
    """Entries of a schedule: operations of the nodes' programs, then faults."""

    PORT_CREATE = 1
    PORT_DESTROY = 2
    PORT_LIMIT = 3
    RIGHT_GET = 4
    RIGHT_DROP = 5
    SEND = 6
    RECEIVE = 7
    FORWARD = 8
    SET_CREATE = 9
    SET_DESTROY = 10
    SET_INSERT = 11
    SET_REMOVE = 12
    SET_RECEIVE = 13
    STREAM = 14
    CALL = 15
    SEND_RIGHTS = 16
    MOVE = 17
    RIGHT_MAKE = 18
    BURST = 19
    ASK_SENDERS = 20
    ASK_DEAD = 21
    CUT = 32
    FLAP = 33
    LOSS = 34
    DUPLICATE = 35
    REORDER = 36
    CORRUPT = 37
    TRUNCATE = 38
    JUNK = 39
    STALE = 40
    DELAY = 41
    JITTER = 42
    JAM = 43
    MUTE = 44
    DOORBELL = 45
    FULL = 46
    TAP = 47
    CRASH = 64
    RESET = 65
    HANG = 66
    SILENCE = 67
    HEAP = 68
    ALL_CRASH = 69
    TWICE = 70
    HOSTILE = 71

    @property
    def is_fault(self) -> bool:
        """Whether it is done to a link or a node, and not by a program."""
        return self >= Kind.CUT


INVARIANTS: Final = {
    0: "no node panics",
    1: "messages of a life arrive at a port in order",
    2: "no message arrives twice",
    3: "every message has one outcome, and it is true",
    4: "nothing arrives that nobody sent",
    5: "credits are conserved",
    6: "nothing is heard of the dead",
    7: "every survivor is told of every death, once",
    8: "names are never reused, dead rights fail as dead",
    9: "memory, ports and names come back",
    10: "no call outlives its bound",
    11: "every link comes back",
    12: "trouble stays in its link",
    13: "the same seed is the same run",
    14: "no right is lost or doubled",
    15: "notifications are true, and told once",
}
