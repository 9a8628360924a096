# SPDX-License-Identifier: MIT
"""The binding of the C core: it computes what Python computes, and errors find their way through C.

The protocol itself is tested in tests/unit/protocol, where both implementations run the same tests.
"""

from __future__ import annotations

from typing import Any

import pytest
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st

from emulator.core import CLinkEnd, check_header, library_path, seal
from emulator.core import crc32c as c_crc32c
from emulator.protocol.constants import (
    FRAME_HEADER_SIZE,
    Admission,
    ClusterConstants,
    Direction,
    FrameType,
    LinkDrop,
    Verdict,
)
from emulator.protocol.frames import FrameHeader, check_frame, encode_frame
from emulator.protocol.link_types import LinkConfig, Transmit

MTU = 4096
CONFIG = LinkConfig(node_id=1, incarnation=1 << 32, peer_id=2, constants=ClusterConstants())


class Flow:
    """FLIPC state that stays as it is, or fails when asked for its credit."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def peer_changed(self, incarnation: int) -> None: ...
    def ack(self) -> int:
        return 1

    def credit(self) -> int:
        if self.error is not None:
            raise self.error
        return 65

    def flipc_next(self) -> int:
        return 1

    def peer(self, flipc_ack: int, flipc_credit: int) -> None: ...
    def ack_deadline_ns(self) -> int | None:
        return None


def header_of(**fields: int) -> FrameHeader:
    """Return an ACK header with some fields changed."""
    ordinary = {
        "src_node": 1,
        "dst_node": 2,
        "src_incarnation": 3,
        "dst_incarnation": 4,
        "src_epoch": 5,
        "dst_epoch": 6,
        "type": FrameType.ACK,
        "flags": 0,
        "length": 0,
        "seq": 7,
        "ack": 8,
        "flipc_ack": 9,
        "flipc_credit": 10,
    }
    return FrameHeader(**{**ordinary, **fields})


def accept(_node_id: int, _incarnation: int) -> Admission:
    return Verdict.ACCEPT


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_crc_chains_and_equals_pythons(head: bytes, tail: bytes) -> None:
    assert c_crc32c(head) == crc32c(head)
    assert c_crc32c(tail, c_crc32c(head)) == crc32c(head + tail)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1))
def test_seal_writes_the_crc_that_python_writes(seq: int, incarnation: int) -> None:
    frame = encode_frame(header_of(seq=seq, src_incarnation=incarnation))
    assert seal(frame[:-4] + bytes(4)) == frame


@given(st.integers(0, FRAME_HEADER_SIZE * 8 - 1))
def test_both_codecs_reject_the_same_headers(bit: int) -> None:
    damaged = bytearray(encode_frame(header_of()))
    assert check_header(bytes(damaged), MTU) is None
    damaged[bit // 8] ^= 1 << bit % 8
    assert check_header(bytes(damaged), MTU) is LinkDrop.BAD_HEADER
    assert check_frame(bytes(damaged), MTU, payload_checked=True) is LinkDrop.BAD_HEADER


@pytest.mark.parametrize(
    ("length", "given_bytes"), [(MTU + 1, MTU + 1), (4, 3), (4, 5), (0, 1)], ids=str
)
def test_both_codecs_reject_the_same_lengths(length: int, given_bytes: int) -> None:
    payload = bytes(given_bytes)
    frame = encode_frame(header_of(length=length, payload_crc=crc32c(payload)), payload)
    assert check_header(frame, MTU) is LinkDrop.BAD_LENGTH
    assert check_frame(frame, MTU, payload_checked=True) is LinkDrop.BAD_LENGTH


@pytest.mark.parametrize("length", [0, 1, FRAME_HEADER_SIZE - 1])
def test_a_piece_of_a_header_is_a_bad_header(length: int) -> None:
    assert check_header(encode_frame(header_of())[:length], MTU) is LinkDrop.BAD_HEADER


def test_an_error_of_the_owner_is_raised_by_the_call_that_asked() -> None:
    peer = CLinkEnd(
        LinkConfig(node_id=2, incarnation=1 << 32, peer_id=1, constants=ClusterConstants()),
        Flow(),
        accept,
    )
    link = CLinkEnd(CONFIG, Flow(KeyError("credit")), accept)
    for end in (peer, link):
        for direction in Direction:
            end.carrier(direction, True, 1, False, 1000)
    (train,) = (out for out in peer.take_outputs() if isinstance(out, Transmit))
    with pytest.raises(KeyError, match="credit"):
        link.receive(train.frame, 2000)
    assert link.statistics().rx_up


def test_a_configuration_out_of_range_is_refused() -> None:
    fields: dict[str, Any] = {"node_id": 1, "incarnation": 0, "peer_id": 2}
    config = LinkConfig(constants=ClusterConstants(), **fields)
    with pytest.raises(ValueError, match="not a link"):
        CLinkEnd(config, Flow(), accept)


def test_no_buffer_outlives_its_message() -> None:
    ends = [
        CLinkEnd(
            LinkConfig(
                node_id=node_id,
                incarnation=1 << 32,
                peer_id=3 - node_id,
                constants=ClusterConstants(),
                offers_replay=True,
            ),
            Flow(),
            accept,
        )
        for node_id in (1, 2)
    ]
    for end in ends:
        for direction in Direction:
            end.carrier(direction, True, 1, False, 1000)
    for _ in range(4):
        for source, sink in (ends, ends[::-1]):
            for out in source.take_outputs():
                if isinstance(out, Transmit):
                    sink.receive(out.frame, 2000)
    message = bytes(20) + (100).to_bytes(4, "little") + bytes(100)
    assert ends[0].send(message, 3000)
    assert len(ends[0]._buffers) == 1
    ends[0].close(4000)
    assert not ends[0]._buffers
    assert not ends[1]._buffers


def test_the_library_is_found_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNLAB_CORE_LIBRARY", "/nowhere/libmnlab_core.so")
    assert str(library_path()) == "/nowhere/libmnlab_core.so"
