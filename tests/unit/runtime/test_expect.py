# SPDX-License-Identifier: MIT
"""Which events an expectation takes, and what it says when none came."""

from __future__ import annotations

import asyncio
import time

import pytest

from emulator.errors import ExpectationFailed, UsageError
from emulator.events.stream import EventStream
from emulator.events.types import DeathNotice, FaultKind, FaultReceipt, NodeHung
from emulator.model import DeathCause
from emulator.runtime.expect import Expectation
from emulator.runtime.watch import Watch

MS = 1_000_000


def notice(of: str, at_ns: int, error_ns: int = 0) -> DeathNotice:
    return DeathNotice(
        node="a",
        incarnation=1,
        guest_time_ns=0,
        of=of,
        of_incarnation=1,
        cause=DeathCause.HOST,
        time_monotonic_ns=at_ns,
        time_error_ns=error_ns,
    )


def crash(at_ns: int) -> FaultReceipt:
    return FaultReceipt(fault=FaultKind.CRASH, target="b", requested_ns=at_ns)


async def expect(stream: EventStream, within_s: float = 0.01, **fields: object) -> DeathNotice:
    return await Expectation(DeathNotice, fields, stream).wait(Watch(), within_s)


async def test_event_before_the_call_counts_if_it_is_after_the_fault() -> None:
    stream, now = EventStream(), time.monotonic_ns()
    stream.emit(notice("old", now - 20 * MS))
    stream.emit(notice("b", now - 5 * MS))  # lies before the receipt in the stream
    stream.emit(crash(now - 10 * MS))
    assert (await expect(stream)).of == "b"


async def test_event_of_before_the_fault_does_not() -> None:
    stream, now = EventStream(), time.monotonic_ns()
    stream.emit(notice("b", now - 20 * MS))
    stream.emit(crash(now - 10 * MS))
    with pytest.raises(ExpectationFailed):
        await expect(stream)


async def test_event_that_comes_while_waiting() -> None:
    stream, watch = EventStream(), Watch()

    def come() -> None:
        stream.emit(NodeHung(node="b", incarnation=1))
        stream.emit(notice("b", time.monotonic_ns()))
        watch.changed()

    asyncio.get_running_loop().call_later(0.01, come)
    expectation = Expectation(DeathNotice, {"of": "b"}, stream)
    assert (await expectation.wait(watch, 1.0)).of == "b"


async def test_too_late_is_not_in_time_even_if_it_is_seen() -> None:
    stream, watch = EventStream(), Watch()

    def come() -> None:
        stream.emit(notice("b", time.monotonic_ns()))
        watch.changed()

    asyncio.get_running_loop().call_later(0.03, come)
    with pytest.raises(ExpectationFailed):
        await Expectation(DeathNotice, {"of": "b"}, stream).wait(watch, 0.01)


async def test_error_bound_counts_in_its_favour() -> None:
    stream, now = EventStream(), time.monotonic_ns()
    stream.emit(notice("b", now - 11 * MS, error_ns=2 * MS))
    stream.emit(crash(now - 10 * MS))
    assert (await expect(stream)).of == "b"


async def test_failure_says_what_there_was_instead() -> None:
    stream, now = EventStream(), time.monotonic_ns()
    stream.emit(crash(now - 10 * MS))
    stream.emit(notice("c", now - 5 * MS))
    with pytest.raises(ExpectationFailed) as caught:
        await expect(stream, of="b")
    assert caught.value.message == "no DeathNotice(of=b) within 0.01 s"
    assert caught.value.details[0] == "DeathNotice events there were:"
    assert caught.value.details[1].startswith("  +5.0 ms DeathNotice(node=a, incarnation=1")
    assert caught.value.exit_code == 1


def test_field_that_does_not_exist() -> None:
    with pytest.raises(UsageError) as caught:
        Expectation(DeathNotice, {"off": "b"}, EventStream())
    assert caught.value.message == "DeathNotice has no field 'off'; did you mean 'of'?"
