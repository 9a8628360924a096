# SPDX-License-Identifier: MIT
"""The shared-memory cable: page, doorbells and ivshmem greetings together."""

from __future__ import annotations

import asyncio
import mmap
import os
import socket
import struct
from collections.abc import AsyncIterator

import pytest

from emulator.links.cable import SharedMemoryCable
from emulator.links.cable_page import REGION_BYTES
from emulator.links.carrier import Direction


class Device:
    """What QEMU's device learns from its server."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.setblocking(False)
        self.values: list[int] = []
        self.doorbells: dict[int, int] = {}
        self.region: mmap.mmap | None = None
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(sock, 8, 1)
            except BlockingIOError:
                break
            value = struct.unpack("<q", data)[0]
            self.values.append(value)
            if value == -1:
                self.region = mmap.mmap(descriptors[0], REGION_BYTES)
                os.close(descriptors[0])
            elif descriptors:
                self.doorbells[value] = descriptors[0]

    def word(self, offset: int) -> int:
        assert self.region is not None
        return int.from_bytes(self.region[offset : offset + 4], "little")

    def rings(self, own_id: int) -> int:
        """How often its own doorbell rang since the last look."""
        try:
            return os.eventfd_read(self.doorbells[own_id])
        except BlockingIOError:
            return 0

    def close(self) -> None:
        self.sock.close()
        for descriptor in self.doorbells.values():
            os.close(descriptor)
        if self.region is not None:
            self.region.close()


class Bench:
    def __init__(self) -> None:
        self.changes: list[Direction] = []
        self.cable = SharedMemoryCable("a-b", self.changes.append)
        self.devices: list[Device] = []

    def plug(self, end: int) -> Device:
        device = Device(self.cable.plug(end))
        self.devices.append(device)
        return device


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    for device in bench.devices:
        device.close()
    bench.cable.close()


TX_CARRIER = {0: 76, 1: 140}
RX_CARRIER = {0: 100, 1: 164}


async def test_greeting_is_there_before_anybody_reads(bench: Bench) -> None:
    device = bench.plug(0)
    assert device.values == [0, 1, 0, 2, -1, 1]  # version, own id, the others, memory, itself
    assert sorted(device.doorbells) == [0, 1, 2]


async def test_qemu_has_the_doorbells_of_the_others_before_its_guest_runs(bench: Bench) -> None:
    # QEMU makes the device with what stands up to the memory; what follows waits for its main loop,
    # and a doorbell that a guest rings before that is lost.
    values = bench.plug(0).values
    before_guest = values[: values.index(-1)]
    assert {0, 2} <= set(before_guest[2:])


async def test_both_ends_map_one_memory(bench: Bench) -> None:
    a, b = bench.plug(0), bench.plug(1)
    assert a.region is not None
    assert b.region is not None
    a.region[0x1000:0x1004] = b"ring"
    assert b.region[0x1000:0x1004] == b"ring"


async def test_carrier_comes_with_the_second_end(bench: Bench) -> None:
    a = bench.plug(0)
    assert a.word(TX_CARRIER[0]) == 0
    bench.plug(1)
    assert [a.word(offset) for offset in (*TX_CARRIER.values(), *RX_CARRIER.values())] == [1] * 4
    assert [(item.index, item.carrier) for item in bench.changes] == [(0, True), (1, True)]


async def test_cut_rings_both_ends(bench: Bench) -> None:
    a, b = bench.plug(0), bench.plug(1)
    a.rings(1)
    b.rings(2)
    bench.cable.cut(0)
    assert (a.rings(1), b.rings(2)) == (1, 1)
    assert (a.word(TX_CARRIER[0]), b.word(RX_CARRIER[1])) == (0, 0)
    assert (b.word(TX_CARRIER[1]), a.word(RX_CARRIER[0])) == (1, 1)
    bench.cable.cut(0)
    assert (a.rings(1), b.rings(2)) == (0, 0)  # nothing changed


async def test_end_that_dies_is_noticed_by_its_connection(bench: Bench) -> None:
    a, b = bench.plug(0), bench.plug(1)
    a.rings(1)
    b.sock.close()
    async with asyncio.timeout(2):
        while a.word(RX_CARRIER[0]):
            await asyncio.sleep(0)
    assert a.rings(1) == 1
    bench.cable.unplug(1)  # the process's end is noticed later: no further change
    assert a.rings(1) == 0


async def test_newcomer_has_the_doorbells_that_survivors_know(bench: Bench) -> None:
    a, _ = bench.plug(0), bench.plug(1)
    bench.cable.unplug(1)
    again = bench.plug(1)
    again.rings(2)
    os.eventfd_write(a.doorbells[2], 1)
    assert again.rings(2) == 1


async def test_page_that_a_guest_wrote_is_reported(bench: Bench) -> None:
    a = bench.plug(0)
    assert bench.cable.differences() == ()
    assert a.region is not None
    a.region[TX_CARRIER[0]] = 1
    assert [item.offset for item in bench.cable.differences()] == [TX_CARRIER[0]]


async def test_nothing_is_left(bench: Bench) -> None:
    before = len(os.listdir("/proc/self/fd"))
    cable = SharedMemoryCable("x", lambda _: None)
    socks = [cable.plug(0), cable.plug(1)]
    cable.unplug(0)
    cable.close()
    cable.close()
    for sock in socks:
        sock.close()
    assert len(os.listdir("/proc/self/fd")) == before
