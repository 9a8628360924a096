# SPDX-License-Identifier: MIT
"""The frame codec against tests/data/vectors/frames.json, literal bytes both ways, in Python and in
C."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emulator.core import check_header
from emulator.protocol.constants import ClusterConstants, LinkDrop
from emulator.protocol.frames import (
    CableRecord,
    FrameHeader,
    FrameStream,
    RefuseRecord,
    TrainRecord,
    check_frame,
)

VECTORS = json.loads((Path(__file__).parents[2] / "data" / "vectors" / "frames.json").read_text())
GOOD = {vector["name"]: vector for vector in VECTORS["good"]}


def named(vectors: list[dict[str, Any]]) -> list[Any]:
    return [pytest.param(vector, id=vector["name"]) for vector in vectors]


def header_of(vector: dict[str, Any]) -> FrameHeader:
    fields = {
        key: value if isinstance(value, int) else int(value, 0)
        for key, value in vector["header"].items()
    }
    return FrameHeader(**fields)


def record_of(fields: dict[str, Any]) -> TrainRecord | RefuseRecord | CableRecord:
    values = {key: value for key, value in fields.items() if key != "kind"}
    if fields["kind"] == "train":
        constants = ClusterConstants(**values.pop("constants"))
        return TrainRecord(constants=constants, **values)
    return RefuseRecord(**values) if fields["kind"] == "refuse" else CableRecord(**values)


def _python_fault(frame: bytes, mtu: int) -> LinkDrop | None:
    verdict = check_frame(frame, mtu, payload_checked=False)
    return verdict if isinstance(verdict, LinkDrop) else None


@pytest.fixture(params=[_python_fault, check_header], ids=["python", "c"])
def header_fault(request: pytest.FixtureRequest) -> Callable[[bytes, int], LinkDrop | None]:
    """Judge a frame's header with one implementation."""
    judge: Callable[[bytes, int], LinkDrop | None] = request.param
    return judge


@pytest.mark.parametrize("vector", named(VECTORS["good"]))
def test_bytes_to_fields(vector: dict[str, Any]) -> None:
    frame = bytes.fromhex(vector["hex"])
    assert check_frame(frame, 256, payload_checked=vector["payload_checked"]) == header_of(vector)
    if "record" in vector:
        record = record_of(vector["record"])
        assert type(record).parse(frame[64:]) == record


@pytest.mark.parametrize("vector", named(VECTORS["good"]))
def test_fields_to_bytes(vector: dict[str, Any]) -> None:
    frame = bytes.fromhex(vector["hex"])
    assert header_of(vector).serialize() == frame[:64]
    if "record" in vector:
        assert record_of(vector["record"]).serialize() == frame[64:]


@pytest.mark.parametrize("vector", named(VECTORS["bad"]))
def test_bad_frames_have_their_reason(vector: dict[str, Any]) -> None:
    verdict = check_frame(
        bytes.fromhex(vector["hex"]), vector["mtu"], payload_checked=vector["payload_checked"]
    )
    assert verdict is LinkDrop[vector["drop"]]


@pytest.mark.parametrize("vector", named(VECTORS["good"]))
def test_good_headers_pass(
    header_fault: Callable[[bytes, int], LinkDrop | None], vector: dict[str, Any]
) -> None:
    assert header_fault(bytes.fromhex(vector["hex"]), 256) is None


@pytest.mark.parametrize("vector", named(VECTORS["bad"]))
def test_bad_headers_have_their_reason(
    header_fault: Callable[[bytes, int], LinkDrop | None], vector: dict[str, Any]
) -> None:
    if vector["drop"] != "BAD_PAYLOAD":
        fault = header_fault(bytes.fromhex(vector["hex"]), vector["mtu"])
        assert fault is LinkDrop[vector["drop"]]


@pytest.mark.parametrize("vector", named(VECTORS["streams"]))
def test_streams(vector: dict[str, Any]) -> None:
    stream = FrameStream(256)
    found: list[str] = []
    for chunk in vector["chunks"]:
        found += [frame.hex() for frame in stream.feed(bytes.fromhex(chunk))]
    expected = [
        GOOD[frame]["hex"] if frame in GOOD else frame.removeprefix("?")
        for frame in vector["frames"]
    ]
    assert (found, stream.skipped_bytes) == (expected, vector["skipped"])


def test_text_of_a_frame_says_what_matters() -> None:
    assert str(header_of(GOOD["data_checked"])) == (
        "DATA 1->2 epoch 1/1 life 0x300000002/0x100000001 flags 3 seq 7 ack 0 flipc 0/0 +32"
    )
    assert str(record_of(GOOD["cable"]["record"])) == "cable direction 2 up generation 5 flags 1"
    assert str(record_of(GOOD["refuse"]["record"])) == "refused 0x300000002 reason 3"
    assert "mtu 16384" in str(record_of(GOOD["train"]["record"]))


@pytest.mark.parametrize(
    ("record", "size"), [(TrainRecord, 104), (RefuseRecord, 16), (CableRecord, 16)]
)
def test_short_records_are_none(record: Any, size: int) -> None:  # noqa: ANN401  # a class
    assert size == record.SIZE
    assert record.parse(bytes(size - 1)) is None
    assert record.parse(bytes(size)) is not None
