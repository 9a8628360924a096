# SPDX-License-Identifier: MIT
"""Messages that kernels and kernel servers understand: bodies of requests and replies
(docs/spec/flipc.md, section 4).

Codecs only. C: `firmware/include/abi/services.h`. Reply parsers raise `MalformedMessage` for a body
of the wrong size and `ServiceError` for a status that is not 0.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag, unique
from typing import Final, Self

from emulator.errors import GuestError
from emulator.protocol.constants import LINK_DROP_COUNT
from emulator.protocol.link_types import LinkStatistics
from emulator.protocol.message_parts import Part, PortPart
from emulator.protocol.wire_types import Disposition, MalformedMessage, exactly

REPLY_OFFSET: Final = 100
SERVICE_NAME_BYTES: Final = 32

_STATUS: Final = struct.Struct("<iI")
_PING_REQUEST: Final = struct.Struct("<IIIIQ")
_PING_REPLY: Final = struct.Struct("<iIIIQQQ")
_NODE_STATISTICS: Final = struct.Struct("<16Q")
_LINK_STATISTICS: Final = struct.Struct(f"<IIII{11 + LINK_DROP_COUNT}Q")
_LEDGER: Final = struct.Struct("<IIQIIQQQQQQQQQQQQQ")
_NODE_LOOKUP: Final = struct.Struct(f"<{SERVICE_NAME_BYTES}sII")
_START: Final = struct.Struct("<QQIIQQQII")


@unique
class Service(IntEnum):
    """Message ids of requests; a reply has the id + 100."""

    ECHO = 2000
    PING = 2001
    STATISTICS = 2002
    LOOKUP = 2003
    PANIC = 2004
    HANG = 2005
    PING_PORT = 2006
    TRAFFIC_DATA = 2200
    TRAFFIC_START = 2201
    TRAFFIC_STOP = 2202
    TRAFFIC_LEDGER = 2203
    TRAFFIC_CLOSE = 2204
    HOSTILE_GARBAGE = 2400
    NODE_REGISTER = 2700
    NODE_UNREGISTER = 2701
    NODE_LOOKUP = 2702


@unique
class Notification(IntEnum):
    """Message ids of what a kernel tells a port of its own node."""

    NO_SENDERS = 70
    SEND_ONCE = 71
    DEAD_NAME = 72


@unique
class HostilePart(IntFlag):
    """Where server `hostile` writes."""

    RECORDS = 1  # records that its driver never wrote
    PRODUCER = 2  # the producer's words of its own ring
    CONSUMER = 4  # the consumer's words of the ring that it reads
    PEER = 8  # the words that are the peer's to write


@unique
class ErrorCode(IntEnum):
    """`enum error` of the firmware, as statuses carry it."""

    NONE = 0
    NO_MEMORY = -1
    INVALID = -2
    NOT_FOUND = -3
    EXISTS = -4
    FULL = -5
    TIMED_OUT = -6
    DOWN = -7
    GARBAGE = -8
    UNSUPPORTED = -9
    BUSY = -10
    DENIED = -11
    STALE = -12
    FAILED = -13


@unique
class LedgerRole(IntEnum):
    """Which end of a stream a ledger is of."""

    FREE = 0
    SOURCE = 1
    SINK = 2


class ServiceError(GuestError):
    """A kernel service answered with an error; `status` is the negative code."""

    def __init__(self, status: int) -> None:
        try:
            name = ErrorCode(status).name
        except ValueError:
            name = "unknown"
        super().__init__(f"the node answered with error {status} ({name})")
        self.status = status


def take_status(body: bytes) -> bytes:
    """Return what follows the status of a reply.

    Raises:
        MalformedMessage: The body is too short for a status.
        ServiceError: The status is not 0.
    """
    if len(body) < _STATUS.size:
        raise MalformedMessage(f"reply of {len(body)} bytes")
    status, _ = _STATUS.unpack_from(body)
    if status:
        raise ServiceError(status)
    return body[_STATUS.size :]


@dataclass(frozen=True, slots=True, kw_only=True)
class PingRequest:
    """Ask a node to measure ECHO round trips to another node's kernel port."""

    node_id: int
    count: int
    size_bytes: int
    timeout_ns: int

    def serialize(self) -> bytes:
        """Return the body."""
        return _PING_REQUEST.pack(self.node_id, self.count, self.size_bytes, 0, self.timeout_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class PingReply:
    """How many came back and how long they took; also when not all did.

    Args:
        status: 0 if all came back, else the `ErrorCode` of what stopped it.
        answered: Round trips completed.
        total_ns: Sum of them.
        min_ns: Shortest.
        max_ns: Longest.
    """

    status: int
    answered: int
    total_ns: int
    min_ns: int
    max_ns: int

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Return the reply in a body.

        Raises:
            MalformedMessage: The body has another size.
            ServiceError: The request itself was refused: a status and nothing else.
        """
        if len(body) <= _STATUS.size:
            take_status(body)
        fields = exactly(_PING_REPLY, body, "ping reply")
        return cls(
            status=fields[0],
            answered=fields[2],
            total_ns=fields[4],
            min_ns=fields[5],
            max_ns=fields[6],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatistics:
    """`struct node_statistics`, field by field."""

    uptime_ns: int
    heap_used_bytes: int
    heap_peak_bytes: int
    heap_size_bytes: int
    ports: int
    messages: int
    names: int
    nodes: int
    sent: int
    settled: int
    failed: int
    unknown: int
    received: int
    refused: int
    duplicates: int
    deaths: int

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Return the statistics in a reply's body; raises as `take_status()` does."""
        fields = exactly(_NODE_STATISTICS, take_status(body), "node statistics")
        return cls(**dict(zip(cls.__slots__, fields, strict=True)))


def statistics_request(kind: int, index: int) -> bytes:
    """Return the body of STATISTICS; kind 0 the node, 1 the link with that index."""
    return struct.pack("<II", kind, index)


def parse_link_statistics(body: bytes) -> LinkStatistics:
    """Return the link statistics in a reply's body; raises as `take_status()` does."""
    f = exactly(_LINK_STATISTICS, take_status(body), "link statistics")
    return LinkStatistics(
        peer=f[0],
        rx_up=bool(f[1] & 1),
        tx_up=bool(f[1] & 2),
        epoch=f[2],
        peer_epoch=f[3],
        trained=f[4],
        tx_frames=f[5],
        tx_data_frames=f[6],
        tx_bytes=f[7],
        rx_frames=f[8],
        rx_data_frames=f[9],
        rx_bytes=f[10],
        replays=f[11],
        naks=f[12],
        round_trip_ns=f[13],
        forwarded=f[14],
        drops=f[15:],
    )


def hostile_request(
    link_index: int, parts: HostilePart, *, seed: int, duration_ns: int, interval_ns: int
) -> bytes:
    """Return the body of HOSTILE_GARBAGE.

    Args:
        link_index: of a shared-memory link in use.
        parts: where to write.
        seed: decides what.
        duration_ns: for how long, at most a minute.
        interval_ns: between two writes.
    """
    return struct.pack("<IIQQQ", link_index, parts, seed, duration_ns, interval_ns)


def lookup_request(name: str) -> bytes:
    """Return the body of LOOKUP.

    Raises:
        ValueError: The name is empty, not ASCII, or longer than 31 characters.
    """
    encoded = name.encode("ascii")
    if not 0 < len(encoded) < SERVICE_NAME_BYTES:
        raise ValueError(f"service name {name!r}")
    return encoded.ljust(SERVICE_NAME_BYTES, b"\0")


def parse_lookup_reply(body: bytes) -> int:
    """Return the port name in a reply's body; raises as `take_status()` does."""
    rest = take_status(body)
    if len(rest) != 8:
        raise MalformedMessage(f"lookup reply of {len(rest)} bytes")
    return int.from_bytes(rest, "little")


def node_lookup_request(name: str, node_id: int) -> bytes:
    """Return the body of NODE_LOOKUP: whose service of that name; raises as `lookup_request()`
    does."""
    return _NODE_LOOKUP.pack(lookup_request(name), node_id, 0)


def parse_node_lookup_request(body: bytes) -> tuple[str, int]:
    """Return the service's name and the node id in the body of NODE_LOOKUP.

    Raises:
        MalformedMessage: The body has another size, or the name is none.
    """
    if len(body) != _NODE_LOOKUP.size:
        raise MalformedMessage(f"lookup of {len(body)} bytes, not {_NODE_LOOKUP.size}")
    padded, node_id, _ = _NODE_LOOKUP.unpack(body)
    name = padded.partition(b"\0")[0]
    if not 0 < len(name) < SERVICE_NAME_BYTES or not name.isascii():
        raise MalformedMessage(f"lookup of {name!r}")
    return name.decode("ascii"), node_id


def parse_node_lookup_reply(body: bytes, parts: Sequence[Part]) -> PortPart:
    """Return the send right in a reply to NODE_LOOKUP; raises as `take_status()` does."""
    if take_status(body):
        raise MalformedMessage(f"lookup reply of {len(body)} bytes")
    match tuple(parts):
        case (PortPart(disposition=Disposition.SEND) as port,):
            return port
    raise MalformedMessage(f"lookup reply of {len(parts)} parts")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficStart:
    """Ask a traffic server to send a checked stream.

    Args:
        stream_id: Chosen by the asker, unique in the run.
        destination: Name of the port that receives the stream.
        size_bytes: Of each body, at least 48.
        window: Messages outstanding at most, 1 .. 64.
        count: Messages to send; 0 endless.
        interval_ns: Between two sends; 0 as fast as it goes.
        seed: Of the contents.
        check: 0 header only, 1 whole content.
        rights: Send rights in each message, 0 .. 4.
    """

    stream_id: int
    destination: int
    size_bytes: int
    window: int
    count: int
    interval_ns: int
    seed: int
    check: int
    rights: int = 0

    def serialize(self) -> bytes:
        """Return the body."""
        return _START.pack(
            self.stream_id,
            self.destination,
            self.size_bytes,
            self.window,
            self.count,
            self.interval_ns,
            self.seed,
            self.check,
            self.rights,
        )


def traffic_stop_request(stream_id: int, timeout_ns: int) -> bytes:
    """Return the body of TRAFFIC_STOP: settle what is outstanding, at most so long."""
    return struct.pack("<QQ", stream_id, timeout_ns)


def traffic_ledger_request(stream_id: int, role: LedgerRole) -> bytes:
    """Return the body of TRAFFIC_LEDGER and of TRAFFIC_CLOSE."""
    return struct.pack("<QII", stream_id, role, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """`struct blackbox_ledger`: the account of one stream at one of its ends.

    At a source: sent = acked + failed + unknown + in flight.
    """

    SIZE = 128

    role: int
    stream_id: int
    peer: int
    size_bytes: int
    peer_incarnation: int
    next_sequence: int
    running_hash: int
    sent: int
    acked: int
    failed: int
    unknown: int
    received: int
    duplicates: int
    gaps: int
    corrupt: int
    closed: bool

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Return the ledger in 128 bytes.

        Raises:
            MalformedMessage: Another length.
        """
        f = exactly(_LEDGER, data, "ledger")
        return cls(
            role=f[1],
            stream_id=f[2],
            peer=f[3],
            size_bytes=f[4],
            peer_incarnation=f[5],
            next_sequence=f[6],
            running_hash=f[7],
            sent=f[8],
            acked=f[9],
            failed=f[10],
            unknown=f[11],
            received=f[12],
            duplicates=f[13],
            gaps=f[14],
            corrupt=f[15],
            closed=bool(f[16]),
        )


def parse_traffic_stop_reply(body: bytes) -> tuple[Ledger, int]:
    """Return the source's ledger and the nanoseconds from first send to last settlement."""
    rest = take_status(body)
    if len(rest) != Ledger.SIZE + 8:
        raise MalformedMessage(f"stop reply of {len(rest)} bytes")
    return Ledger.parse(rest[: Ledger.SIZE]), int.from_bytes(rest[Ledger.SIZE :], "little")


def parse_traffic_ledger_reply(body: bytes) -> Ledger:
    """Return the ledger in a reply's body."""
    return Ledger.parse(take_status(body))
