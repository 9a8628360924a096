# SPDX-License-Identifier: MIT
"""The black box reader against literal bytes, wrap-around, half-written records and garbage."""

from __future__ import annotations

import dataclasses
import struct

import pytest

from emulator.machines.blackbox import (
    BLACKBOX_OFFSET,
    EVENT_COUNT,
    EVENTS_OFFSET,
    LEDGERS_OFFSET,
    BlackBox,
    BoxEvent,
    BoxEventKind,
    BoxLedger,
    BoxState,
)
from emulator.testing.box_writer import BoxWriter

LIFE = 0x1_0000_0001
LEDGER = BoxLedger(
    role=1,
    stream_id=7,
    peer=2,
    size_bytes=64,
    peer_incarnation=LIFE,
    next_sequence=100,
    running_hash=0xFFFF_FFFF_FFFF_FFFF,
    sent=100,
    acked=90,
    failed=1,
    unknown=2,
    received=0,
    duplicates=0,
    gaps=0,
    corrupt=0,
    closed=False,
    torn=False,
)


@pytest.fixture
def ram() -> memoryview:
    return memoryview(bytearray(0x900000))


@pytest.fixture
def writer(ram: memoryview) -> BoxWriter:
    return BoxWriter(ram, node_id=1, incarnation=LIFE)


def test_no_box_yet(ram: memoryview) -> None:
    box = BlackBox(ram, boot_count=1)
    assert box.header() is None
    assert box.take_events() == ([], 0)
    assert box.ledgers() == []
    assert box.panic_text() == ""


def test_header_of_literal_bytes(ram: memoryview) -> None:
    head = b"MNLBBOX1" + struct.pack("<IIII", 1, 2, 3, 0)
    head += struct.pack("<QQQQQQ", LIFE, 5, 6, 7, 8, 9)
    ram[BLACKBOX_OFFSET : BLACKBOX_OFFSET + len(head)] = head
    ram[BLACKBOX_OFFSET + 512 : BLACKBOX_OFFSET + 516] = b"oops"
    box = BlackBox(ram, boot_count=1)
    header = box.header()
    assert header is not None
    assert (header.state, header.node_id, header.incarnation) == (BoxState.READY, 3, LIFE)
    assert (header.event_head, header.now_ns) == (5, 6)
    assert (header.heap_used_bytes, header.heap_peak_bytes, header.heap_size_bytes) == (7, 8, 9)
    assert box.panic_text() == "oops"


@pytest.mark.parametrize(("offset", "byte"), [(0, 0), (8, 2), (12, 5)])
def test_unknown_magic_version_or_state_is_no_box(
    ram: memoryview, writer: BoxWriter, offset: int, byte: int
) -> None:
    box = BlackBox(ram, boot_count=1)
    assert box.header() is not None
    ram[BLACKBOX_OFFSET + offset] = byte
    assert box.header() is None


def test_event_of_literal_bytes(ram: memoryview, writer: BoxWriter) -> None:
    record = struct.pack("<QQHHIQQQ", 0, 11, 4, 1, 2, 3, 4, 5)
    offset = BLACKBOX_OFFSET + EVENTS_OFFSET
    ram[offset : offset + 48] = record
    ram[BLACKBOX_OFFSET + 32] = 1  # event_head
    box = BlackBox(ram, boot_count=1)
    event = BoxEvent(sequence=0, time_ns=11, kind=4, link=1, peer=2, args=(3, 4, 5))
    assert box.take_events() == ([event], 0)
    assert box.take_events() == ([], 0)


def test_events_are_taken_once_and_in_order(ram: memoryview, writer: BoxWriter) -> None:
    box = BlackBox(ram, boot_count=1)
    for number in range(5):
        writer.event(BoxEventKind.BOOT, number, time_ns=number)
    assert [event.args[0] for event in box.take_events()[0]] == [0, 1, 2, 3, 4]
    writer.event(BoxEventKind.BOOT, 5)
    assert [event.args[0] for event in box.take_events()[0]] == [5]


def test_what_was_overwritten_is_counted(ram: memoryview, writer: BoxWriter) -> None:
    box = BlackBox(ram, boot_count=1)
    for number in range(EVENT_COUNT + 10):
        writer.event(BoxEventKind.BOOT, number)
    events, lost = box.take_events()
    assert lost == 10
    assert [event.args[0] for event in events] == list(range(10, EVENT_COUNT + 10))


def test_event_that_is_being_overwritten_counts_as_lost(ram: memoryview, writer: BoxWriter) -> None:
    box = BlackBox(ram, boot_count=1)
    for number in range(3):
        writer.event(BoxEventKind.BOOT, number)
    offset = BLACKBOX_OFFSET + EVENTS_OFFSET + 48
    ram[offset : offset + 8] = b"\xff" * 8
    events, lost = box.take_events()
    assert [event.args[0] for event in events] == [0, 2]
    assert lost == 1


def test_new_life_starts_over(ram: memoryview, writer: BoxWriter) -> None:
    box = BlackBox(ram, boot_count=1)
    for number in range(3):
        writer.event(BoxEventKind.BOOT, number)
    box.take_events()
    other = BoxWriter(ram, node_id=1, incarnation=LIFE + 1)
    other.event(BoxEventKind.READY, 8)
    assert box.take_events() == ([], 0)  # its place is another one
    second = BoxWriter(ram, node_id=1, incarnation=LIFE + 2)
    second.event(BoxEventKind.READY, 9)
    assert [event.args[0] for event in box.take_events()[0]] == [9]


def test_absurd_head_is_bounded_work(ram: memoryview, writer: BoxWriter) -> None:
    ram[BLACKBOX_OFFSET + 32 : BLACKBOX_OFFSET + 40] = b"\xff" * 8
    events, lost = BlackBox(ram, boot_count=1).take_events()
    assert events == []
    assert lost >= (1 << 64) - 1 - EVENT_COUNT


def test_head_of_which_half_has_changed_is_read_again(ram: memoryview, writer: BoxWriter) -> None:
    box = BlackBox(ram, boot_count=1)
    for number in range(3):
        writer.event(BoxEventKind.BOOT, number)
    head = BLACKBOX_OFFSET + 32
    ram[head + 4 : head + 8] = b"\1\0\0\0"
    assert box.take_events() == ([], 0)
    ram[head + 4 : head + 8] = bytes(4)
    assert [event.args[0] for event in box.take_events()[0]] == [0, 1, 2]


def test_ledger_of_literal_bytes(ram: memoryview, writer: BoxWriter) -> None:
    words = (100, 0xFFFF_FFFF_FFFF_FFFF, 100, 90, 1, 2, 0, 0, 0, 0, 0, 0)
    record = struct.pack("<IIQIIQ12Q", 2, 1, 7, 2, 64, LIFE, *words)
    assert len(record) == 128
    offset = BLACKBOX_OFFSET + LEDGERS_OFFSET
    ram[offset : offset + 128] = record
    assert BlackBox(ram, boot_count=1).ledgers() == [LEDGER]


def test_ledgers_in_use(ram: memoryview, writer: BoxWriter) -> None:
    sink = dataclasses.replace(LEDGER, role=2, stream_id=8, closed=True)
    writer.ledger(63, sink)
    writer.ledger(3, LEDGER)
    assert BlackBox(ram, boot_count=1).ledgers() == [LEDGER, sink]


def test_half_written_ledger_is_marked(ram: memoryview, writer: BoxWriter) -> None:
    torn = dataclasses.replace(LEDGER, torn=True)
    writer.ledger(0, torn)
    assert BlackBox(ram, boot_count=1).ledgers() == [torn]


def test_panic(ram: memoryview, writer: BoxWriter) -> None:
    writer.panic("PANIC node=a reason=x")
    box = BlackBox(ram, boot_count=1)
    header = box.header()
    assert header is not None
    assert header.state is BoxState.PANICKED
    assert box.panic_text() == "PANIC node=a reason=x"
