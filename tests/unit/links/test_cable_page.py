# SPDX-License-Identifier: MIT
"""The cable page: literal offsets, the order of stores, and what a guest must not write."""

from __future__ import annotations

import pytest

from emulator.links.cable_page import (
    PAGE_BYTES,
    REGION_BYTES,
    CablePage,
    Difference,
    direct_ring_offset,
)
from emulator.links.carrier import Direction

UP_0 = Direction(index=0, carrier=True, generation=7)


@pytest.fixture
def region() -> memoryview:
    return memoryview(bytearray(REGION_BYTES))


def word(region: memoryview, offset: int) -> int:
    return int.from_bytes(region[offset : offset + 4], "little")


def test_identity(region: memoryview) -> None:
    CablePage(region)
    assert bytes(region[0:8]) == b"MNLCABLE"
    assert (word(region, 8), word(region, 12)) == (1, 0x200000)
    assert (word(region, 64), word(region, 128)) == (1, 2)  # ivshmem ids
    assert (word(region, 68), word(region, 132)) == (0, 0)  # flags
    assert bytes(region[PAGE_BYTES:4096]) == bytes(4096 - PAGE_BYTES)


def test_checked(region: memoryview) -> None:
    CablePage(region, checked=True)
    assert (word(region, 68), word(region, 132)) == (1, 1)


def test_rings() -> None:
    assert (direct_ring_offset(0), direct_ring_offset(1)) == (0x1000, 0x42000)


def test_direction_stands_at_its_writer_and_its_reader(region: memoryview) -> None:
    CablePage(region).write(UP_0)
    writer_tx = [word(region, 64 + 8 + 4 * index) for index in range(6)]
    reader_rx = [word(region, 128 + 32 + 4 * index) for index in range(6)]
    assert writer_tx == [7, 1, 0x1000, 0x40000, 2 << 16, 0]
    assert reader_rx == [7, 1, 0x1000, 0x40000, 1 << 16, 0]
    assert bytes(region[64 + 32 : 64 + 56]) == bytes(24)  # the other direction: untouched
    assert bytes(region[128 + 8 : 128 + 32]) == bytes(24)


def test_generation_is_stored_first_and_carrier_last(
    region: memoryview, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = CablePage(region)
    stores: list[int] = []
    store = page._store

    def record(index: int, value: int) -> None:
        stores.append(index * 4)
        store(index, value)

    monkeypatch.setattr(page, "_store", record)  # to see the order
    page.write(UP_0)
    assert stores == [72, 80, 84, 88, 76, 160, 168, 172, 176, 164]


def test_differences(region: memoryview) -> None:
    page = CablePage(region)
    page.write(UP_0)
    assert page.differences() == ()
    region[76] = 0  # carrier of end 0's tx
    region[12:16] = b"\xff\xff\xff\xff"
    assert page.differences() == (
        Difference(offset=12, expected=0x200000, found=0xFFFFFFFF),
        Difference(offset=76, expected=1, found=0),
    )
    page.write(UP_0)  # the host's next word counts
    assert [item.offset for item in page.differences()] == [12]
