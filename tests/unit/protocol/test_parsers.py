# SPDX-License-Identifier: MIT
"""Any bytes may come from a guest: every parser gives a record, None, or one of the errors it promises."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.protocol.frames import (
    CableRecord,
    FrameHeader,
    FrameStream,
    RefuseRecord,
    TrainRecord,
    check_frame,
)
from emulator.protocol.mnl import (
    AckSnapshot,
    Death,
    MachMessage,
    MnlHeader,
    Nak,
)
from emulator.protocol.services import (
    Ledger,
    NodeStatistics,
    PingReply,
    ServiceError,
    parse_link_statistics,
    parse_lookup_reply,
    take_status,
)
from emulator.protocol.wire_types import MalformedMessage

Parser = Callable[[bytes], object]

MESSAGES: dict[str, Parser] = {
    "mnl header": MnlHeader.parse,
    "Mach message": lambda data: MachMessage.parse(data, int.from_bytes(data[8:16], "little")),
    "snapshot": AckSnapshot.parse,
    "refusal": Nak.parse,
    "death": Death.parse,
    "status": take_status,
    "ping": PingReply.parse,
    "node statistics": NodeStatistics.parse,
    "link statistics": parse_link_statistics,
    "lookup": parse_lookup_reply,
    "ledger": Ledger.parse,
}
# Lengths around those of the records, with status 0 more often than chance would have it.
BODIES = st.one_of(
    st.binary(max_size=300),
    st.binary(max_size=300).map(lambda data: bytes(8) + data),
    st.sampled_from((8, 16, 24, 40, 128, 136, 248)).flatmap(
        lambda size: st.binary(min_size=size, max_size=size)
    ),
)


@pytest.mark.parametrize("parse", MESSAGES.values(), ids=MESSAGES.keys())
@given(data=BODIES)
def test_messages(parse: Parser, data: bytes) -> None:
    with contextlib.suppress(MalformedMessage, ServiceError):
        parse(data)


@given(payload=st.binary(max_size=140))
def test_records_of_frames(payload: bytes) -> None:
    for record in (TrainRecord, RefuseRecord, CableRecord):
        parsed = record.parse(payload)
        assert (parsed is None) is (len(payload) < record.SIZE)
        assert parsed is None or str(parsed)


@given(frame=st.binary(max_size=200), payload_checked=st.booleans())
def test_frames(frame: bytes, payload_checked: bool) -> None:
    header = check_frame(frame, 128, payload_checked=payload_checked)
    assert not isinstance(header, FrameHeader) or header.length == len(frame) - 64


@given(pieces=st.lists(st.binary(max_size=200), max_size=20))
def test_streams_hold_at_most_a_frame(pieces: list[bytes]) -> None:
    stream = FrameStream(128)
    given_bytes = 0
    for piece in pieces:
        given_bytes += sum(len(frame) for frame in stream.feed(piece))
    total = sum(len(piece) for piece in pieces)
    assert total - given_bytes - stream.skipped_bytes < 64 + 128
