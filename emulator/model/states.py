# SPDX-License-Identifier: MIT
"""The states and reasons that events and objects speak of; numbers are those of
`firmware/include/abi/`."""

from __future__ import annotations

from enum import Enum, IntEnum


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


class LinkReason(IntEnum):
    """Why an end's direction changed (`enum link_reason`)."""

    NONE = 0
    CARRIER = 1
    TRAINED = 2
    RETRAIN = 3
    SILENT = 4
    GAP = 5
    REPLAY_EXHAUSTED = 6
    GARBAGE = 7
    DRIVER_STOPPED = 8
    PEER_LOST_US = 9
    NODE_DEAD = 10
    REFUSED = 11
    PEER_CLOSED = 12


class Refusal(IntEnum):
    """Why a peer would not train with us (`enum link_refusal`)."""

    VERSION = 1
    CONSTANTS = 2
    STALE = 3
    DUPLICATE_ID = 4
    WRONG_PEER = 5
    PARAMETERS = 6
    INCARNATION = 7


class DeathCause(IntEnum):
    """How a node came to know of a death (`enum node_death_cause`)."""

    HOST = 1
    INCARNATION = 2
    SILENCE = 3


class Drop(IntEnum):
    """Why an end dropped bytes (`enum link_drop`)."""

    BAD_HEADER = 1
    BAD_LENGTH = 2
    BAD_PAYLOAD = 3
    BAD_TYPE = 4
    WRONG_NODE = 5
    WRONG_PEER = 6
    STALE_DESTINATION = 7
    STALE_SOURCE = 8
    DUPLICATE = 9
    OUT_OF_ORDER = 10
    BAD_FRAGMENT = 11
    BAD_ACK = 12
    NO_MEMORY = 13
    RESYNC = 14
    BAD_RING = 15
    NOT_TRAINED = 16
    BAD_RECORD = 17
