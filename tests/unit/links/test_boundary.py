# SPDX-License-Identifier: MIT
"""Where frames end, however the stream is cut, and with garbage in it."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.links.boundary import Boundary


def frame(payload_bytes: int, fill: bytes = b"x") -> bytes:
    header = bytearray(64)
    header[0:2] = b"MN"
    header[36:40] = payload_bytes.to_bytes(4, "little")
    return bytes(header) + fill * payload_bytes


def test_begins_between_frames() -> None:
    position = Boundary()
    assert position.is_here
    assert position.missing == 0
    assert position.distance(b"") == 0


@pytest.mark.parametrize("payload", [0, 1, 200, 65536])
@pytest.mark.parametrize("taken", [1, 2, 37, 63, 64, 65])
def test_missing_and_distance(payload: int, taken: int) -> None:
    data = frame(payload)
    position = Boundary()
    position.feed(data[:taken])
    if taken >= len(data):
        taken = len(data)
        position = Boundary()
        position.feed(data)
        assert position.is_here
        return
    assert not position.is_here
    assert position.missing == (64 - taken if taken < 64 else len(data) - taken)
    rest = data[taken:] + frame(3)
    assert position.distance(rest) == len(data) - taken
    assert position.distance(rest[: len(data) - taken - 1]) is None


@given(
    payloads=st.lists(st.integers(0, 300), min_size=1, max_size=6),
    cuts=st.lists(st.integers(0, 2000), max_size=12),
)
def test_any_chunks_end_between_frames(payloads: list[int], cuts: list[int]) -> None:
    lengths = [64 + 2 * length for length in payloads]
    data = b"".join(frame(length * 2)[:64] + b"MN" * length for length in payloads)
    places = {sum(lengths[:count]) for count in range(len(lengths) + 1)}
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    position = Boundary()
    for start, end in itertools.pairwise(edges):
        position.feed(data[start:end])
        assert position.is_here is (end in places)


def test_garbage_before_a_frame_is_no_frame() -> None:
    position = Boundary()
    position.feed(b"garbage M but no magic")
    assert position.is_here
    position.feed(b"more" + frame(10)[:70])
    assert position.missing == 4


def test_magic_cut_in_two() -> None:
    position = Boundary()
    position.feed(b"..M")
    assert position.missing == 63  # perhaps a frame
    position.feed(b"x")
    assert position.missing == 0
    position.feed(b"M")
    position.feed(b"N")
    assert position.missing == 62


def test_impossible_length_is_not_waited_for() -> None:
    position = Boundary()
    position.feed(frame(0)[:36] + b"\xff\xff\xff\xff" + bytes(24))
    assert position.is_here


@given(st.lists(st.binary(max_size=200), max_size=10))
def test_never_fails_on_any_bytes(chunks: list[bytes]) -> None:
    position = Boundary()
    for chunk in chunks:
        distance = position.distance(chunk)
        assert distance is None or 0 <= distance <= len(chunk)
        position.feed(chunk)
        assert position.missing >= 0
