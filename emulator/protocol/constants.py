# SPDX-License-Identifier: MIT
"""Numbers and enumerations of the link protocol, and the cluster constants.

The same values as `firmware/include/abi/frame.h`; specified in docs/spec/link.md. This module holds
no behaviour.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum, unique
from typing import Final

FRAME_MAGIC: Final = 0x4E4D
FRAME_VERSION: Final = 1
ROUTE_MTU: Final = 4096  # of a route: every cable of its path carries as much
FRAME_HEADER_SIZE: Final = 64
CABLE_NODE: Final = 0xFFFF  # src_node of CABLE frames
MTU_MINIMUM: Final = 256
MTU_MAXIMUM: Final = 65536
MESSAGE_MAX_MINIMUM: Final = 256
MESSAGE_MAX_MAXIMUM: Final = 1 << 24
MESSAGE_MAX_DEFAULT: Final = (1 << 20) + 64  # a body of 1 MiB with its headers, as the guests take

FLAG_FIRST: Final = 1
FLAG_LAST: Final = 2
FLAG_CONFIRMED: Final = 4

TRAIN_FLAG_PAYLOAD_CRC: Final = 1
TRAIN_FLAG_REPLAY: Final = 2

CABLE_FLAG_CHECKED: Final = 1

TRAIN_INTERVAL_NS: Final = 20_000_000
REPLAY_FRAMES_MAX: Final = 64
REPLAY_BYTES_MAX: Final = 256 * 1024
REPLAY_TRIES_MAX: Final = 4
REPLAY_TIMEOUT_MIN_NS: Final = 5_000_000
REPLAY_TIMEOUT_MAX_NS: Final = 500_000_000
REPLAY_TIMEOUT_UNKNOWN_NS: Final = 50_000_000  # no round trip measured yet


@unique
class FrameType(IntEnum):
    """What a frame is for (docs/spec/link.md, section 1)."""

    TRAIN = 1
    DATA = 2
    ACK = 3
    NAK = 4
    REFUSE = 5
    CABLE = 6
    DOWN = 7


@unique
class LinkRefusal(IntEnum):
    """Why an end will not train with an incarnation."""

    VERSION = 1
    CONSTANTS = 2
    STALE = 3
    DUPLICATE_ID = 4
    WRONG_PEER = 5
    PARAMETERS = 6
    INCARNATION = 7


@unique
class LinkReason(IntEnum):
    """Why a direction came up or went down."""

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


@unique
class LinkDrop(IntEnum):
    """Why a frame, or a part of one, was not used; each has its counter."""

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
    NOT_FORWARDED = 18


LINK_DROP_COUNT: Final = 19  # size of counter tables; index 0 is unused


@unique
class NodeDeathCause(IntEnum):
    """Who found out that an incarnation is dead."""

    HOST = 1
    INCARNATION = 2
    SILENCE = 3
    DRIVER = 4
    LEFT = 5


class Direction(IntEnum):
    """A direction as one end sees it; the values of CABLE frames."""

    TX = 1
    RX = 2


class ByteOrder(IntEnum):
    """Byte order of a node, as its training record says it."""

    LITTLE = 1
    BIG = 2


class DataModel(IntEnum):
    """Data model of a node, as its training record says it."""

    ILP32 = 1
    LP64 = 2


class Verdict(Enum):
    """What the owner of a link decides about a claim that it does not refuse."""

    ACCEPT = "accept"
    HOLD = "hold"  # no answer yet; the peer asks again


Admission = Verdict | LinkRefusal


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterConstants:
    """The values that must be equal at both ends of every link; the defaults of docs/spec/boot.md.

    Args:
        nodes_max: Node ids are below this.
        window: FLIPC messages a pair may have unsettled, 1 .. 256.
        keepalive_ns: A direction that is up carries a frame at least this often.
        link_down_after_ns: Silence that takes a receive direction down.
        dead_after_ns: Time without any link up that makes an incarnation dead.
        ack_delay_ns: Longest wait of an ack for a frame that carries it.
        ack_count: Messages or DATA frames after which an ack waits no longer.
    """

    nodes_max: int = 64
    window: int = 64
    keepalive_ns: int = 100_000_000
    link_down_after_ns: int = 1_000_000_000
    dead_after_ns: int = 3_000_000_000
    ack_delay_ns: int = 100_000
    ack_count: int = 16
