# SPDX-License-Identifier: MIT
"""Checked traffic against tests/data/vectors/traffic.json, in Python and in C."""

from __future__ import annotations

import ctypes
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emulator.core import library_path
from emulator.protocol.traffic import (
    HEADER_SIZE,
    TrafficHeader,
    traffic_content,
    traffic_digest,
    traffic_hash,
    traffic_message,
)
from emulator.protocol.wire_types import MalformedMessage

VECTORS = json.loads((Path(__file__).parents[2] / "data" / "vectors" / "traffic.json").read_text())
NUMBERS = ("stream_id", "sequence", "source_incarnation", "seed")
WriteMessage = Callable[..., bytes]


def arguments(vector: dict[str, Any]) -> dict[str, int]:
    numbers = {key: int(vector[key], 0) for key in NUMBERS}
    return {**numbers, "size_bytes": vector["size_bytes"], "check": vector["check"]}


def _c_message(
    *,
    stream_id: int,
    sequence: int,
    source_incarnation: int,
    seed: int,
    size_bytes: int,
    check: int,
) -> bytes:
    write = ctypes.CDLL(str(library_path())).traffic_content_write
    write.restype = ctypes.c_uint64
    write.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    fields = struct.pack("<IIQQQQQ", 0, check, stream_id, sequence, source_incarnation, seed, 0)
    header = ctypes.create_string_buffer(fields, HEADER_SIZE)
    body = ctypes.create_string_buffer(size_bytes)
    write(body, size_bytes, header)
    return body.raw


@pytest.fixture(params=["python", "c"])
def write_message(request: pytest.FixtureRequest) -> WriteMessage:
    """Write a traffic message with one implementation."""
    return traffic_message if request.param == "python" else _c_message


@pytest.mark.parametrize("vector", VECTORS["messages"], ids=lambda vector: vector["name"])
def test_message(write_message: WriteMessage, vector: dict[str, Any]) -> None:
    expected = bytes.fromhex(vector["hex"])
    message = write_message(**arguments(vector))
    assert len(message) == vector["size_bytes"]
    assert message[: len(expected)] == expected
    header = TrafficHeader.parse(message)
    assert header.hash == int(vector["hash"], 0)
    assert header.serialize() == expected[:HEADER_SIZE]


@pytest.mark.parametrize(
    "vector", VECTORS["digests"], ids=lambda v: f"{v['size_bytes']}B-{v['check']}-{v['count']}"
)
def test_digest(vector: dict[str, Any]) -> None:
    seed, count = int(vector["seed"], 0), vector["count"]
    size_bytes, check = vector["size_bytes"], vector["check"]
    digest = int(vector["digest"], 0)
    assert traffic_digest(seed, count, size_bytes, check) == digest
    half = traffic_digest(seed, count // 2, size_bytes, check)
    assert traffic_digest(seed, count, size_bytes, check, start=count // 2, value=half) == digest


def test_every_byte_and_field_changes_the_hash() -> None:
    hashes = {
        traffic_hash(seed, sequence, size_bytes, check)
        for seed in (1, 2)
        for sequence in (0, 1)
        for size_bytes in (48, 56, 64)
        for check in (0, 1)
    }
    assert len(hashes) == 2 * 2 * 3 * 2 - 4  # without content both checks say the same
    assert traffic_content(1, 2, 24)[:17] == traffic_content(1, 2, 17)


def test_bytes_that_are_no_traffic() -> None:
    with pytest.raises(MalformedMessage, match="47 bytes"):
        TrafficHeader.parse(bytes(47))
    with pytest.raises(MalformedMessage, match="magic 0x0"):
        TrafficHeader.parse(bytes(48))
