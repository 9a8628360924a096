# SPDX-License-Identifier: MIT
"""A view state as rich renderables: nodes, links, traffic, latest events; and the verdict table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from emulator.checkers import Verdict
from emulator.events.types import Outcome
from emulator.model import DirectionState, NodeState, incarnation_text
from emulator.view.state import DirectionView, Line, StreamView, ViewState

LINES_SHOWN = 12
STREAMS_SHOWN = 6
LINES_LEAST = 4  # of events, however small the terminal
NARROW = 70  # columns below which a direction is its state alone
WIDE = 80  # columns from which on a link's kind and what was sent are shown
WIDER = 100  # and its epochs
STALLED_S = 1.5  # a sink tells of news ten times a second
_NODE_STYLES = {
    NodeState.OFF: "red",
    NodeState.BOOTING: "yellow",
    NodeState.READY: "green",
    NodeState.HUNG: "magenta",
    NodeState.PANICKED: "bold red",
}
_DIRECTION_STYLES = {
    DirectionState.CUT: "red",
    DirectionState.DOWN: "yellow",
    DirectionState.UP: "green",
}
_OUTCOME_STYLES = {
    Outcome.PASS: "green",
    Outcome.FAIL: "bold red",
    Outcome.NOT_EXERCISED: "dim",
}


def render(
    state: ViewState, *, title: str, elapsed_s: float, width: int = 120, height: int = 40
) -> RenderableType:
    """The whole live view.

    The latest events are what a small terminal shows last: they get what room is left, at least
    `LINES_LEAST`; traffic goes first, then blank lines.

    Args:
        state: what to show.
        title: the scenario and how far the run is.
        elapsed_s: seconds since the run started.
        width: columns of the terminal.
        height: rows of the terminal.
    """
    clock = _Clock(state, elapsed_s)
    tables: list[RenderableType] = [_nodes(state, clock), _links(state, clock, width=width)]
    room = height - 2 - 1 - len(state.nodes) - 1 - len(state.links)  # borders, headings
    streams = list(state.streams.values())[-STREAMS_SHOWN:]
    streams = streams[-max(0, room - LINES_LEAST - 1) :] if room > LINES_LEAST + 1 else []
    if streams:
        tables.append(_streams(streams, clock, width=width))
        room -= 1 + len(streams)
    spaced = room - len(tables) >= LINES_LEAST
    room -= len(tables) if spaced else 0
    shown = list(state.lines)[-min(LINES_SHOWN, room) :] if room > 0 else []
    parts: list[RenderableType] = []
    for table in tables:
        parts += [table, Text()] if spaced else [table]
    return Panel(
        Group(*parts, _lines(shown)),
        title=f"[bold]{escape(title)}[/]",
        title_align="left",
        subtitle=_footer(state, elapsed_s, width),
        subtitle_align="right",
    )


def verdict_lines(verdicts: Sequence[Verdict]) -> Text:
    """The table a run ends in where there is no terminal: one line an invariant."""
    width = max((len(verdict.outcome.value) for verdict in verdicts), default=0)
    lines = Text()
    for verdict in verdicts:
        style = _OUTCOME_STYLES[verdict.outcome]
        lines.append(f"{verdict.invariant:<5}")
        lines.append(f"{verdict.outcome.value:<{width}}", style=style)
        lines.append(f"  {verdict.title}: ")
        lines.append(verdict.detail, style="" if verdict.outcome is Outcome.FAIL else "dim")
        lines.append("\n")
    return lines


def verdict_table(verdicts: Sequence[Verdict]) -> RenderableType:
    """The same for a terminal: what is too long for a line goes on under itself."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for verdict in verdicts:
        detail = "" if verdict.outcome is Outcome.FAIL else "dim"
        table.add_row(
            verdict.invariant,
            Text(verdict.outcome.value, _OUTCOME_STYLES[verdict.outcome]),
            Text.assemble(f"{verdict.title}: ", (verdict.detail, detail)),
        )
    return table


def format_line(line: Line) -> str:
    """A line as it stands where there is no live view."""
    return f"{line.elapsed_s:9.3f} s  {line.subject:<8} {line.text}"


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    return table


def _footer(state: ViewState, elapsed_s: float, width: int) -> str:
    """How far the run is, and where its folder is as far as there is room for it."""
    said = f"{elapsed_s:.1f} s, {state.faults} faults and restarts"
    for folder in (state.folder, Path(state.folder).name):
        if folder and len(folder) + len(said) + 10 <= width:
            return f"[dim]{escape(folder)}[/]  {said}"
    return said


@dataclass(frozen=True, slots=True)
class _Clock:
    """How long things have been as they are, now."""

    state: ViewState
    elapsed_s: float

    def age_s(self, since_ns: int) -> float:
        return self.state.age_s(since_ns, self.elapsed_s)

    def age(self, since_ns: int) -> str:
        return format_age(self.age_s(since_ns))


def format_age(seconds: float) -> str:
    """A time span in at most seven characters or so: `0.4 s`, `42 s`, `7:05`, `26:07:05`.

    Args:
        seconds: the span.
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    minutes = f"{whole // 60 % 60:02d}:{whole % 60:02d}"
    return f"{whole // 3600}:{minutes}" if whole >= 3600 else minutes.removeprefix("0")


def _nodes(state: ViewState, clock: _Clock) -> RenderableType:
    table = _table("node", "arch", "state", "for", "life")
    for node in state.nodes.values():
        table.add_row(
            node.name,
            node.arch,
            Text(node.state.value, style=_NODE_STYLES[node.state]),
            clock.age(node.since_ns),
            incarnation_text(node.incarnation),
        )
    return table


def _links(state: ViewState, clock: _Clock, *, width: int) -> RenderableType:
    wide = width >= WIDE
    table = _table("link", *(["kind"] if wide else []), "", "there", "", "and back")
    for link in state.links.values():
        there, back = link.directions
        kind = [link.kind] if wide else []
        table.add_row(
            link.name,
            *kind,
            there.name,
            _direction(there, clock, width=width),
            back.name,
            _direction(back, clock, width=width),
        )
    return table


def _direction(direction: DirectionView, clock: _Clock, *, width: int) -> Text:
    said = f" {clock.age(direction.since_ns)}" if width >= NARROW else ""
    if direction.reason:
        said += f", {direction.reason}"
    elif direction.epoch and width >= WIDER:
        said += f", epoch {direction.epoch}"
    return Text.assemble((direction.state.value, _DIRECTION_STYLES[direction.state]), (said, "dim"))


def _streams(streams: Sequence[StreamView], clock: _Clock, *, width: int) -> RenderableType:
    wide = width >= WIDE
    table = _table("traffic", "size", *(["sent"] if wide else []), "received", "rate")
    for stream in streams:
        sent = [f"{stream.sent:,}"] if wide else []
        table.add_row(
            f"{stream.source} -> {stream.sink}",
            f"{stream.size_bytes} B",
            *sent,
            f"{stream.received:,}",
            _rate(stream, clock),
        )
    return table


def _rate(stream: StreamView, clock: _Clock) -> Text:
    if stream.closed:
        return Text("closed", style="dim")
    still_s = clock.age_s(stream.at_ns)
    if still_s > STALLED_S:
        return Text(f"nothing for {format_age(still_s)}", style="yellow")
    bytes_hz = stream.rate_hz * stream.size_bytes
    return Text(f"{stream.rate_hz:,.0f} /s, {bytes_hz / 1e6:,.2f} MB/s")


def _lines(lines: Sequence[Line]) -> RenderableType:
    rows = [(f"{line.elapsed_s:.3f}", line.subject, Text(line.text)) for line in lines]
    table = Table(box=None, pad_edge=False, show_header=False)
    # When and who are whole, however long the text.
    table.add_column(
        justify="right",
        style="dim",
        no_wrap=True,
        min_width=max((len(row[0]) for row in rows), default=0),
    )
    table.add_column(no_wrap=True, min_width=max((len(row[1]) for row in rows), default=0))
    table.add_column(no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*row)
    return table
