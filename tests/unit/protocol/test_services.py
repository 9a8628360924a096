# SPDX-License-Identifier: MIT
"""Bodies of kernel service messages, literal bytes."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from emulator.protocol.constants import LINK_DROP_COUNT, LinkDrop
from emulator.protocol.message_parts import BytesPart, Part, PortPart
from emulator.protocol.services import (
    ErrorCode,
    Ledger,
    LedgerRole,
    NodeStatistics,
    PingReply,
    PingRequest,
    ServiceError,
    TrafficStart,
    lookup_request,
    node_lookup_request,
    parse_link_statistics,
    parse_lookup_reply,
    parse_node_lookup_reply,
    parse_node_lookup_request,
    parse_traffic_ledger_reply,
    parse_traffic_stop_reply,
    statistics_request,
    take_status,
    traffic_ledger_request,
    traffic_stop_request,
)
from emulator.protocol.wire_types import Disposition, MalformedMessage

OK = bytes(8)
LEDGER_FIELDS = (4, 1, 77, 3, 64, 0x1_0000_0002, 10, 0xABCD, 10, 7, 1, 1, 0, 0, 0, 0, 1, 0)
LEDGER = struct.pack("<IIQIIQQQQQQQQQQQQQ", *LEDGER_FIELDS)


def test_requests() -> None:
    ping = PingRequest(node_id=1, count=2, size_bytes=3, timeout_ns=4)
    assert ping.serialize().hex() == "010000000200000003000000000000000400000000000000"
    assert statistics_request(1, 2).hex() == "0100000002000000"
    assert lookup_request("traffic") == b"traffic" + bytes(25)
    assert traffic_stop_request(5, 6).hex() == "05000000000000000600000000000000"
    assert traffic_ledger_request(5, LedgerRole.SINK).hex() == "05000000000000000200000000000000"
    start = TrafficStart(
        stream_id=1,
        destination=0x0002000100000003,
        size_bytes=64,
        window=16,
        count=5,
        interval_ns=6,
        seed=7,
        check=1,
        rights=4,
    )
    assert start.serialize().hex() == (
        "01000000000000000300000001000200400000001000000005000000000000000600000000000000"
        "07000000000000000100000004000000"
    )


@pytest.mark.parametrize("name", ["", "x" * 32, "é"])
def test_service_names_are_short_ascii(name: str) -> None:
    with pytest.raises(ValueError, match=r"service name|ascii"):
        lookup_request(name)
    with pytest.raises(ValueError, match=r"service name|ascii"):
        node_lookup_request(name, 1)


def test_node_lookup_request() -> None:
    body = b"traffic" + bytes(25) + bytes.fromhex("0300000000000000")
    assert node_lookup_request("traffic", 3) == body
    assert parse_node_lookup_request(body) == ("traffic", 3)


@pytest.mark.parametrize(
    "body", [b"", bytes(40), b"x" * 40, b"x" + bytes(40), "é".encode() + bytes(38)]
)
def test_node_lookup_request_that_is_none(body: bytes) -> None:
    with pytest.raises(MalformedMessage):
        parse_node_lookup_request(body)


RIGHT = PortPart(name=0x0002000100000003, disposition=Disposition.SEND)


def test_node_lookup_reply() -> None:
    assert parse_node_lookup_reply(OK, (RIGHT,)) is RIGHT
    with pytest.raises(ServiceError):
        parse_node_lookup_reply(struct.pack("<iI", ErrorCode.NOT_FOUND, 0), ())


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        (OK, ()),
        (OK, (RIGHT, RIGHT)),
        (OK, (BytesPart(b"x"),)),
        (OK, (PortPart(name=RIGHT.name, disposition=Disposition.SEND_ONCE),)),
        (OK + b"x", (RIGHT,)),
        (OK[:7], (RIGHT,)),
    ],
)
def test_node_lookup_reply_that_is_none(body: bytes, parts: tuple[Part, ...]) -> None:
    with pytest.raises(MalformedMessage):
        parse_node_lookup_reply(body, parts)


def test_ping_reply() -> None:
    numbers = struct.pack("<IIQQQ", 3, 0, 30, 9, 11)
    assert PingReply.parse(OK + numbers) == PingReply(
        status=0, answered=3, total_ns=30, min_ns=9, max_ns=11
    )
    timed_out = struct.pack("<iI", ErrorCode.TIMED_OUT, 0) + numbers
    reply = PingReply.parse(timed_out)
    assert (reply.status, reply.answered) == (ErrorCode.TIMED_OUT, 3)


def test_lookup_reply() -> None:
    assert parse_lookup_reply(OK + (0x0002000100000003).to_bytes(8, "little")) == 0x0002000100000003


def test_node_statistics_in_order() -> None:
    statistics = NodeStatistics.parse(OK + struct.pack("<16Q", *range(16)))
    assert (statistics.uptime_ns, statistics.nodes, statistics.deaths) == (0, 7, 15)


def test_link_statistics_in_order() -> None:
    numbers = range(100, 111 + LINK_DROP_COUNT)
    statistics = parse_link_statistics(
        OK + struct.pack(f"<IIII{11 + LINK_DROP_COUNT}Q", 2, 2, 8, 9, *numbers)
    )
    assert (statistics.peer, statistics.rx_up, statistics.tx_up) == (2, False, True)
    assert (statistics.epoch, statistics.peer_epoch, statistics.trained) == (8, 9, 100)
    assert statistics.round_trip_ns == 109
    assert statistics.forwarded == 110
    assert statistics.dropped(LinkDrop.BAD_RECORD) == 111 + LinkDrop.BAD_RECORD


def test_ledger_and_stop_reply() -> None:
    ledger = Ledger.parse(LEDGER)
    assert (ledger.role, ledger.stream_id, ledger.peer) == (LedgerRole.SOURCE, 77, 3)
    assert (ledger.next_sequence, ledger.running_hash, ledger.closed) == (10, 0xABCD, True)
    assert (ledger.sent, ledger.acked, ledger.failed, ledger.unknown) == (10, 7, 1, 1)
    assert parse_traffic_ledger_reply(OK + LEDGER) == ledger
    elapsed = (123).to_bytes(8, "little")
    assert parse_traffic_stop_reply(OK + LEDGER + elapsed) == (ledger, 123)


PARSERS = [
    take_status,
    PingReply.parse,
    NodeStatistics.parse,
    parse_link_statistics,
    parse_lookup_reply,
    parse_traffic_stop_reply,
    parse_traffic_ledger_reply,
]


@pytest.mark.parametrize("parse", PARSERS)
def test_error_status_is_raised_whatever_follows(parse: Callable[[bytes], object]) -> None:
    body = struct.pack("<iI", -3, 0)
    with pytest.raises(ServiceError, match=r"error -3 \(NOT_FOUND\)") as caught:
        parse(body)
    assert caught.value.status == -3


def test_unknown_status_has_no_name() -> None:
    with pytest.raises(ServiceError, match=r"error -77 \(unknown\)"):
        take_status(struct.pack("<iI", -77, 0))


@pytest.mark.parametrize("parse", PARSERS)
def test_body_too_short_for_a_status(parse: Callable[[bytes], object]) -> None:
    with pytest.raises(MalformedMessage):
        parse(bytes(7))


@pytest.mark.parametrize("parse", PARSERS[1:])
@pytest.mark.parametrize("rest", [b"", bytes(5), bytes(1000)])
def test_body_of_another_size(parse: Callable[[bytes], object], rest: bytes) -> None:
    with pytest.raises(MalformedMessage):
        parse(OK + rest)
