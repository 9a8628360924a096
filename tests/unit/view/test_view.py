# SPDX-License-Identifier: MIT
"""The view shows what the events say, and nothing else."""

from __future__ import annotations

import asyncio
import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from emulator.checkers import check_run, read_events
from emulator.events.stream import EventStream
from emulator.events.types import (
    EVENT_KINDS,
    DirectionChanged,
    Event,
    LinkRefused,
    NodeStarted,
    Note,
    StreamDigest,
)
from emulator.model import (
    Arch,
    DirectionState,
    LinkKind,
    LinkSpec,
    NodeId,
    NodeSpec,
    NodeState,
    Refusal,
    Topology,
)
from emulator.view.describe import describe
from emulator.view.live import LiveView, PlainView, run_view
from emulator.view.render import format_age, format_line, render, verdict_lines, verdict_table
from emulator.view.state import ViewState

GOOD = Path(__file__).parents[2] / "data" / "runs" / "good.jsonl"
TOPOLOGY = Topology(
    name="crash_restart",
    seed=7,
    nodes=(
        NodeSpec(name="a", id=NodeId(1), arch=Arch.X86_64),
        NodeSpec(name="b", id=NodeId(2), arch=Arch.AARCH64),
        NodeSpec(name="c", id=NodeId(3), arch=Arch.RISCV64),
    ),
    links=(
        LinkSpec(name="a-b", kind=LinkKind.IVSHMEM, ends=("a", "b")),
        LinkSpec(name="b-c", kind=LinkKind.IVSHMEM, ends=("b", "c")),
        LinkSpec(name="a-c", kind=LinkKind.VIRTIO_SERIAL, ends=("a", "c")),
    ),
)


def replay(until: int | None = None) -> ViewState:
    """The picture after the first `until` events of the recorded run."""
    state = ViewState.of(TOPOLOGY)
    for event in read_events(GOOD)[:until]:
        state.apply(event)
    return state


def text_of(state: ViewState, *, width: int = 100, height: int = 40) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(render(state, title="crash_restart", elapsed_s=1.5, width=width, height=height))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_before_anything_happened_all_is_off() -> None:
    state = ViewState.of(TOPOLOGY)
    assert {node.state for node in state.nodes.values()} == {NodeState.OFF}
    states = {way.state for link in state.links.values() for way in link.directions}
    assert states == {DirectionState.CUT}


def test_states_after_the_crash() -> None:
    state = replay(until=67)
    assert state.nodes["b"].state is NodeState.OFF
    assert state.nodes["a"].state is NodeState.READY
    cut = {
        way.name
        for link in state.links.values()
        for way in link.directions
        if way.state is DirectionState.CUT
    }
    assert cut == {"a->b", "b->a", "b->c", "c->b"}


def test_states_at_the_end() -> None:
    state = replay()
    assert state.nodes["b"].incarnation == 2 << 32 | 1
    assert {node.state for node in state.nodes.values()} == {NodeState.READY}
    assert {way.state for link in state.links.values() for way in link.directions} == {
        DirectionState.UP
    }
    assert state.links["a-c"].directions[0].epoch == 2
    assert state.faults == 4
    assert state.streams[3].received == 500
    assert state.streams[3].closed


def test_rate_is_what_came_between_two_digests() -> None:
    state = replay(until=54)
    assert state.streams[1].rate_hz == 1000  # 100 messages in 100 ms


def test_picture_shows_nodes_links_and_the_latest_event() -> None:
    text = text_of(replay())
    for shown in (
        "aarch64",
        "2.1",
        "virtio-serial",
        "up 1.0 s, epoch 2",
        "runs/good  1.5 s, 4 faults",
        "stream 4 to b closed",
    ):
        assert shown in text


@pytest.mark.parametrize(("width", "height"), [(120, 40), (80, 24), (60, 15), (100, 19), (40, 12)])
def test_picture_fits_and_ends_in_the_latest_event(width: int, height: int) -> None:
    rows = text_of(replay(), width=width, height=height).splitlines()
    assert len(rows) <= height
    assert "stream 4 to b closed" in rows[-2]  # the newest of all, above the border
    assert all(f" {name} " in "\n".join(rows) for name in ("a-b", "b-c", "a-c"))
    events = [row for row in rows if row[2:3].isdigit()]
    assert len(events) >= min(4, height - 10)


def test_unknown_nodes_and_links_are_left_out() -> None:
    state = ViewState.of(TOPOLOGY)
    state.apply(DirectionChanged(link="host-a", direction="host->a", state=DirectionState.UP))
    assert set(state.links) == {"a-b", "b-c", "a-c"}


def test_every_kind_of_event_is_described_or_passed_over() -> None:
    events = read_events(GOOD)
    said = {event.kind: describe(event) for event in events}
    assert said["NodeExited"] == ("b", "1.1 ended, signal 9")
    assert said["DeathNotice"] == ("c", "was told that b 1.1 is dead")
    assert said["StreamDigest"] is None
    assert set(said) <= set(EVENT_KINDS)


def test_plain_view_prints_one_line_an_event() -> None:
    console = Console(file=io.StringIO(), width=100)
    stream = EventStream()
    view = run_view(console, title="crash_restart: shows something")
    assert isinstance(view, PlainView)
    stream.listen(view.watch(TOPOLOGY))
    for event in read_events(GOOD):
        stream.emit(event)
    view.close()
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert lines[0] == "crash_restart: shows something"
    assert "    0.301 s  b        1.1 ended, signal 9" in lines
    assert "    0.480 s  a-c      a->c up" in lines


async def test_live_view_draws_the_last_state_when_it_closes() -> None:
    console = Console(file=io.StringIO(), width=100, height=40, force_terminal=True)
    stream = EventStream()
    view = run_view(console, title="crash_restart")
    assert isinstance(view, LiveView)
    stream.listen(view.watch(TOPOLOGY))
    await asyncio.sleep(0)
    for event in read_events(GOOD):
        stream.emit(event)
    view.close()
    assert isinstance(console.file, io.StringIO)
    assert "stream 4 to b closed" in console.file.getvalue()


def test_live_view_that_never_watched_closes_in_silence() -> None:
    console = Console(file=io.StringIO(), force_terminal=True)
    run_view(console, title="nothing").close()
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == ""


def test_verdict_lines_has_a_row_for_each_invariant() -> None:
    rows = verdict_lines(check_run(read_events(GOOD))).plain.splitlines()
    assert [row.split()[0] for row in rows][-3:] == ["I7", "I11", "I15"]
    assert rows[0] == "I1   pass  in order: 1063 messages"


def test_shown_equals_events() -> None:
    """I14: a picture made live equals one made from the recorded events."""
    live, recorded = ViewState.of(TOPOLOGY), replay()
    stream = EventStream()
    stream.listen(lambda event: _take(live, event))
    for event in read_events(GOOD):
        stream.emit(event)
    assert text_of(live) == text_of(recorded)


def _take(state: ViewState, event: Event) -> None:
    state.apply(event)


def test_line_is_aligned() -> None:
    state = ViewState.of(TOPOLOGY)
    line = state.apply(read_events(GOOD)[0])
    assert line is not None
    assert format_line(line) == "    0.000 s  run      crash_restart, seed 7, folder runs/good"
    digest = next(event for event in read_events(GOOD) if isinstance(event, StreamDigest))
    assert state.apply(digest) is None


def test_a_new_launch_has_no_life_yet() -> None:
    state = replay(until=67)
    assert state.nodes["b"].incarnation == 1 << 32 | 1
    state.apply(NodeStarted(node="b", launch=2, pid=1))
    assert (state.nodes["b"].state, state.nodes["b"].incarnation) == (NodeState.BOOTING, 0)


def test_a_direction_shows_how_long_it_is_down_and_why() -> None:
    state = replay()
    down = DirectionChanged(
        link="a-c",
        direction="a->c",
        state=DirectionState.DOWN,
        reason="silent",
        time_monotonic_ns=state.now_ns,
    )
    state.apply(down)
    assert describe(down) == ("a-c", "a->c down (silent)")
    assert "a->c  down 0.9 s, silent" in text_of(state, width=80)
    assert "a->c  down" in text_of(state, width=60)
    assert "silent" in text_of(state, width=60)


def test_a_refusal_is_the_reason_of_a_link_that_never_came_up() -> None:
    state = ViewState.of(TOPOLOGY)
    for way in ("a->c", "c->a"):
        state.apply(
            DirectionChanged(
                link="a-c", direction=way, state=DirectionState.DOWN, reason="training"
            )
        )
    refused = LinkRefused(
        node="c",
        incarnation=1 << 32 | 1,
        guest_time_ns=0,
        link="a-c",
        peer="a",
        refusal=Refusal.CONSTANTS,
        claimed_incarnation=1 << 32 | 1,
        by_us=True,
    )
    state.apply(refused)
    assert [way.reason for way in state.links["a-c"].directions] == ["refused: constants"] * 2
    assert describe(refused) == ("a-c", "c refused a 1.1: it has other cluster constants")


def test_a_stream_that_stands_still_says_so() -> None:
    state = replay(until=54)
    console = Console(file=io.StringIO(), width=100)
    console.print(render(state, title="x", elapsed_s=60))
    assert isinstance(console.file, io.StringIO)
    assert "nothing for 60 s" in console.file.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (99, "99 s"),
        (425, "7:05"),
        (94025, "26:07:05"),
    ],
)
def test_ages(seconds: float, text: str) -> None:
    assert format_age(seconds) == text


def test_when_and_who_are_whole_however_long_the_text() -> None:
    state = replay()
    state.apply(Note(text="x" * 200, time_monotonic_ns=state.now_ns))
    rows = text_of(state, width=60, height=15).splitlines()
    assert rows[-2].startswith("│ 0.603  note  xxx")
    assert len(rows[-2]) == 60


def test_verdict_table_goes_on_under_itself() -> None:
    console = Console(file=io.StringIO(), width=50)
    console.print(verdict_table(check_run(read_events(GOOD))))
    assert isinstance(console.file, io.StringIO)
    rows = console.file.getvalue().splitlines()
    assert all(row.startswith(("I", "           ")) for row in rows)
    assert len(rows) > 9


def test_routes_are_shown_behind_the_links() -> None:
    a, b, c = TOPOLOGY.nodes
    nodes = (a, replace(b, forward=True), c)
    state = ViewState.of(replace(TOPOLOGY, nodes=nodes, links=TOPOLOGY.links[:2]))
    *_, route = state.links.values()
    assert (route.name, route.kind, len(state.links)) == ("a-c.via-b", "route", 3)
    state.apply(
        DirectionChanged(
            seq=1,
            time_monotonic_ns=1,
            link=route.name,
            direction="c->a",
            state=DirectionState.UP,
        )
    )
    assert [way.state for way in route.directions] == [DirectionState.CUT, DirectionState.UP]
