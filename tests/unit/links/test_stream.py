# SPDX-License-Identifier: MIT
"""The stream cable: what passes, what is dropped, and when the ends are told."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from emulator.links.carrier import Direction
from emulator.links.outlet import BUFFER_LIMIT_BYTES
from emulator.links.stream import StreamCable
from emulator.protocol.constants import FrameType
from emulator.protocol.frames import CableRecord, FrameHeader, FrameStream

TX, RX = 1, 2


def frame(seq: int, payload: bytes = b"") -> bytes:
    return (
        FrameHeader(
            src_node=1,
            dst_node=2,
            src_incarnation=1,
            dst_incarnation=1,
            src_epoch=1,
            dst_epoch=1,
            type=FrameType.DATA,
            flags=0,
            length=len(payload),
            seq=seq,
            ack=0,
            flipc_ack=0,
            flipc_credit=0,
            payload_crc=0,
        ).serialize()
        + payload
    )


@dataclass
class End:
    """A machine's end of the cable."""

    sock: socket.socket
    frames: FrameStream = field(default_factory=lambda: FrameStream(65536))
    carriers: list[tuple[int, int, int]] = field(default_factory=list)
    heard: list[int] = field(default_factory=list)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    async def hear(self) -> None:
        """Take what is there when the relay has had its turns."""
        for _ in range(6):
            await asyncio.sleep(0)
            try:
                data = self.sock.recv(1 << 20)
            except BlockingIOError:
                continue
            for item in self.frames.feed(data):
                header = FrameHeader.parse(item)
                if header.type == FrameType.CABLE:
                    record = CableRecord.parse(item[64:])
                    assert record is not None
                    self.carriers.append((record.direction, record.carrier, record.generation))
                else:
                    self.heard.append(header.seq)

    @property
    def state(self) -> dict[int, tuple[int, int]]:
        """What it knows of its directions: carrier and generation."""
        return {direction: (carrier, gen) for direction, carrier, gen in self.carriers}


class Bench:
    def __init__(self) -> None:
        self.changes: list[Direction] = []
        self.cable = StreamCable(self.changes.append)
        self.ends: list[End] = []

    def plug(self, end: int) -> End:
        sock = self.cable.plug(end)
        sock.setblocking(False)
        made = End(sock)
        self.ends.append(made)
        return made

    def close(self) -> None:
        self.cable.close()
        for end in self.ends:
            end.sock.close()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


async def test_both_ends_are_told_when_both_are_there(bench: Bench) -> None:
    a = bench.plug(0)
    await a.hear()
    assert a.state == {TX: (0, 1), RX: (0, 1)}
    b = bench.plug(1)
    await a.hear()
    await b.hear()
    assert a.state == b.state == {TX: (1, 2), RX: (1, 2)}
    assert [(item.index, item.carrier) for item in bench.changes] == [(0, True), (1, True)]


async def test_frames_pass_both_ways(bench: Bench) -> None:
    a, b = bench.plug(0), bench.plug(1)
    a.send(frame(1, b"x" * 500) + frame(2))
    b.send(frame(3))
    await a.hear()
    await b.hear()
    assert (b.heard, a.heard) == ([1, 2], [3])


async def test_cut_of_one_direction_drops_only_that(bench: Bench) -> None:
    a, b = bench.plug(0), bench.plug(1)
    await b.hear()
    bench.cable.cut(0)
    a.send(frame(1))
    b.send(frame(2))
    await a.hear()
    await b.hear()
    assert (b.heard, a.heard) == ([], [2])
    assert a.state == {TX: (0, 3), RX: (1, 2)}
    assert b.state == {TX: (1, 2), RX: (0, 3)}
    bench.cable.splice(0)
    a.send(frame(3))
    await b.hear()
    assert b.heard == [3]
    assert b.state[RX] == (1, 4)


async def test_cut_in_the_middle_of_a_frame_does_not_delay_the_news(bench: Bench) -> None:
    a, b = bench.plug(0), bench.plug(1)
    whole = frame(1, b"x" * 1000)
    a.send(whole[:300])
    await b.hear()
    bench.cable.cut(0)
    await b.hear()
    assert b.state[RX] == (0, 3)
    assert b.heard == [1]  # filled up with zeros; its payload checksum tells


async def test_splice_in_the_middle_of_a_frame_goes_on_with_the_next(bench: Bench) -> None:
    a, b = bench.plug(0), bench.plug(1)
    bench.cable.cut(0)
    whole = frame(1, b"x" * 1000)
    a.send(whole[:300])
    await b.hear()
    bench.cable.splice(0)
    a.send(whole[300:] + frame(2))
    await b.hear()
    assert b.heard == [2]
    assert b.frames.skipped_bytes == 0


async def test_news_waits_for_the_end_of_a_frame_that_is_on_its_way(bench: Bench) -> None:
    a, b = bench.plug(0), bench.plug(1)
    whole = frame(1, b"x" * 1000)
    a.send(whole[:300])
    await b.hear()
    bench.cable.cut(1)  # the other direction: a goes on sending
    await b.hear()
    assert b.state[TX] == (1, 2)
    a.send(whole[300:])
    await b.hear()
    assert b.heard == [1]
    assert b.state[TX] == (0, 3)
    assert b.frames.skipped_bytes == 0


async def test_death_and_restart_of_an_end(bench: Bench) -> None:
    a, b = bench.plug(0), bench.plug(1)
    b.send(frame(1, b"x" * 500)[:100])
    await a.hear()
    b.sock.close()
    bench.cable.unplug(1)
    await a.hear()
    assert a.state == {TX: (0, 3), RX: (0, 3)}
    a.send(frame(2))  # nobody is there
    await a.hear()
    again = bench.plug(1)
    await a.hear()
    await again.hear()
    assert again.state == {TX: (1, 4), RX: (1, 4)}
    assert again.heard == []
    again.send(frame(3))
    a.send(frame(4))
    await a.hear()
    await again.hear()
    assert a.heard[-1:] == [3]
    assert again.heard == [4]


async def test_cut_outlives_a_restart(bench: Bench) -> None:
    bench.plug(0)
    b = bench.plug(1)
    bench.cable.cut(1)
    b.sock.close()
    bench.cable.unplug(1)
    again = bench.plug(1)
    await again.hear()
    assert again.state == {TX: (0, 3), RX: (1, 4)}


async def test_reset_end_is_told_again(bench: Bench) -> None:
    bench.plug(0)
    b = bench.plug(1)
    await b.hear()
    b.carriers.clear()
    bench.cable.restarted(1)
    await b.hear()
    assert b.state == {TX: (1, 2), RX: (1, 2)}


async def test_receiver_that_does_not_read_stops_the_sender(bench: Bench) -> None:
    a, b = bench.plug(0), bench.plug(1)
    chunk = frame(1, bytes(60_000))
    sent = 0
    for _ in range(200):
        try:
            sent += a.sock.send(chunk[sent % len(chunk) :])
        except BlockingIOError:
            for _ in range(4):
                await asyncio.sleep(0)
            try:
                sent += a.sock.send(chunk[sent % len(chunk) :])
            except BlockingIOError:
                break
        await asyncio.sleep(0)
    else:
        pytest.fail("the relay takes without bound")
    outlet = bench.cable._lanes[0].outlet
    assert outlet.is_full
    assert len(outlet._buffer) < 3 * BUFFER_LIMIT_BYTES
    received = 0
    async with asyncio.timeout(5):
        while received < sent:
            await asyncio.sleep(0)
            try:
                received += len(b.sock.recv(1 << 20))
            except BlockingIOError:
                continue
    assert received >= sent  # and the CABLE frames


async def test_flaps_towards_an_end_that_does_not_read_cost_no_memory(bench: Bench) -> None:
    a, b = bench.plug(0), bench.plug(1)
    b.send(bytes(0))
    while True:
        try:
            a.sock.send(frame(1, bytes(60_000)))
        except BlockingIOError:
            break
        await asyncio.sleep(0)
    for _ in range(1000):
        bench.cable.cut(0)
        bench.cable.splice(0)
    outlet = bench.cable._lanes[0].outlet
    assert len(outlet._buffer) < 3 * BUFFER_LIMIT_BYTES
    async with asyncio.timeout(5):
        while b.state.get(RX) != (1, 2 + 2000):
            await b.hear()
