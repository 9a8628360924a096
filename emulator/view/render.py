# SPDX-License-Identifier: MIT
"""A view state as rich renderables: nodes, links, traffic, latest events; and the verdict table."""

from __future__ import annotations

from collections.abc import Sequence

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
WIDE = 80  # columns from which on a link's kind and epochs are shown
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
    tables: list[RenderableType] = [_nodes(state), _links(state, wide=width >= WIDE)]
    room = height - 2 - 1 - len(state.nodes) - 1 - len(state.links)  # borders, headings
    streams = list(state.streams.values())[-STREAMS_SHOWN:]
    streams = streams[-max(0, room - LINES_LEAST - 1) :] if room > LINES_LEAST + 1 else []
    if streams:
        tables.append(_streams(streams))
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
        subtitle=f"{elapsed_s:.1f} s, {state.faults} faults and restarts",
        subtitle_align="right",
    )


def verdict_lines(verdicts: Sequence[Verdict]) -> Text:
    """The table a run ends in: one line an invariant."""
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


def format_line(line: Line) -> str:
    """A line as it stands where there is no live view."""
    return f"{line.elapsed_s:9.3f} s  {line.subject:<8} {line.text}"


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    return table


def _nodes(state: ViewState) -> RenderableType:
    table = _table("node", "arch", "state", "life")
    for node in state.nodes.values():
        table.add_row(
            node.name,
            node.arch,
            Text(node.state.value, style=_NODE_STYLES[node.state]),
            incarnation_text(node.incarnation),
        )
    return table


def _links(state: ViewState, *, wide: bool) -> RenderableType:
    table = _table("link", *(["kind"] if wide else []), "direction", "", "direction", "")
    for link in state.links.values():
        there, back = link.directions
        kind = [link.kind] if wide else []
        table.add_row(
            link.name,
            *kind,
            there.name,
            _direction(there, wide=wide),
            back.name,
            _direction(back, wide=wide),
        )
    return table


def _direction(direction: DirectionView, *, wide: bool) -> Text:
    epoch = f" epoch {direction.epoch}" if direction.epoch and wide else ""
    return Text.assemble(
        (direction.state.value, _DIRECTION_STYLES[direction.state]), (epoch, "dim")
    )


def _streams(streams: Sequence[StreamView]) -> RenderableType:
    table = _table("traffic", "size", "received", "rate")
    for stream in streams:
        table.add_row(
            f"{stream.source} -> {stream.sink}",
            f"{stream.size_bytes} B",
            f"{stream.received:,}",
            _rate(stream),
        )
    return table


def _rate(stream: StreamView) -> Text:
    if stream.closed:
        return Text("closed", style="dim")
    return Text(f"{stream.rate_hz:,.0f} /s")


def _lines(lines: Sequence[Line]) -> RenderableType:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right", style="dim", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis")
    for line in lines:
        table.add_row(f"{line.elapsed_s:.3f}", line.subject, Text(line.text))
    return table
