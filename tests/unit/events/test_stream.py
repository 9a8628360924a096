# SPDX-License-Identifier: MIT
"""The event stream: numbers, lines, readers that lag, and a disk that is full."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from emulator.errors import HostError
from emulator.events.stream import EventStream, event_line
from emulator.events.types import (
    EVENT_KINDS,
    DeathNotice,
    Event,
    FaultKind,
    FaultReceipt,
    NodeHung,
    NodeResumed,
)
from emulator.model import DeathCause


def hung(node: str = "a") -> NodeHung:
    return NodeHung(node=node, incarnation=1)


def test_line() -> None:
    event = DeathNotice(
        seq=4,
        time_monotonic_ns=123,
        time_error_ns=5,
        node="a",
        incarnation=1,
        guest_time_ns=9,
        of="b",
        of_incarnation=2,
        cause=DeathCause.HOST,
    )
    assert event_line(event) == (
        '{"time_monotonic_ns":123,"seq":4,"kind":"DeathNotice","time_error_ns":5,"fields":'
        '{"node":"a","incarnation":1,"guest_time_ns":9,"of":"b","of_incarnation":2,"cause":"host"}}\n'
    )


def test_every_event_has_a_name_of_its_own() -> None:
    assert EVENT_KINDS["DeathNotice"] is DeathNotice
    assert len(EVENT_KINDS) > 30


def test_numbers_have_no_holes_and_lines_are_whole_at_once(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    stream = EventStream(path.open("w", encoding="utf-8"))
    for number in range(3):
        event = stream.emit(hung())
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        assert [line["seq"] for line in lines] == list(range(number + 1))
        assert event.time_monotonic_ns > 0
    stream.close()


def test_given_time_is_kept() -> None:
    event = FaultReceipt(fault=FaultKind.CUT, target="x", requested_ns=1, time_monotonic_ns=2)
    assert EventStream().emit(event).time_monotonic_ns == 2


async def test_subscription_ends_with_the_stream() -> None:
    stream = EventStream()
    stream.emit(hung("before"))
    subscription = stream.subscribe()
    stream.emit(hung("a"))
    stream.emit(hung("b"))
    stream.close()
    assert [event.node async for event in subscription if isinstance(event, NodeHung)] == ["a", "b"]


async def test_subscriber_wakes() -> None:
    stream = EventStream()
    subscription = stream.subscribe(accepts=lambda event: isinstance(event, NodeResumed))
    asyncio.get_running_loop().call_soon(
        lambda: (stream.emit(hung()), stream.emit(NodeResumed(node="a", incarnation=1)))
    )
    async with asyncio.timeout(1):
        assert isinstance(await anext(subscription), NodeResumed)


def test_reader_that_lags_loses_the_oldest_and_knows_how_many() -> None:
    stream = EventStream()
    subscription = stream.subscribe(length=2)
    for node in "abcde":
        stream.emit(hung(node))
    assert subscription.lost_count == 3
    assert [event.node for event in subscription.drain() if isinstance(event, NodeHung)] == [
        "d",
        "e",
    ]
    stream.unsubscribe(subscription)
    stream.emit(hung())
    assert subscription.drain() == []


def test_readers_see_one_order_even_when_a_listener_emits() -> None:
    stream = EventStream()
    seen: list[Event] = []

    def answer(event: Event) -> None:
        if isinstance(event, NodeHung):
            stream.emit(NodeResumed(node=event.node, incarnation=1))

    stream.listen(answer)
    stream.listen(seen.append)
    subscription = stream.subscribe()
    stream.emit(hung())
    assert [event.kind for event in seen] == ["NodeHung", "NodeResumed"]
    assert [event.seq for event in subscription.drain()] == [0, 1]
    assert [event.seq for event in stream.history] == [0, 1]


def test_full_disk_is_an_error_of_the_host() -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        stream = EventStream(full)
        with pytest.raises(HostError) as caught:
            stream.emit(hung())
    assert caught.value.message == "cannot write the event stream: No space left on device"
    assert "--runs" in caught.value.hint


def test_full_disk_is_told_once_and_readers_go_on() -> None:
    failures: list[HostError] = []
    full = Path("/dev/full").open("w", encoding="utf-8")  # noqa: SIM115  # the stream closes it
    stream = EventStream(full, on_failure=failures.append)
    subscription = stream.subscribe()
    stream.emit(hung("a"))
    stream.emit(hung("b"))
    stream.close()
    assert len(failures) == 1
    assert len(subscription.drain()) == 2
