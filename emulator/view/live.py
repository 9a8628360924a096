# SPDX-License-Identifier: MIT
"""Shows a run while it goes: a live picture on a terminal, plain lines everywhere else.

Both are listeners of the event stream and draw no conclusions of their own. The live picture is
redrawn up to ten times a second by the event loop, never by a thread.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from rich.console import Console
from rich.live import Live

from emulator.events.types import Event
from emulator.model import Topology
from emulator.view.render import format_line, render
from emulator.view.state import ViewState

REDRAW_S = 0.1
PAUSE_FOR_EACH_DRAWN = 10  # links live in the same loop: on a busy machine the picture waits


class RunView(Protocol):
    """Something that shows a run."""

    def watch(self, topology: Topology) -> Callable[[Event], None]:
        """Begin to show a run, inside a running event loop; returns what takes its events."""

    def close(self) -> None:
        """Show the last state and let go of the terminal."""


def run_view(console: Console, *, title: str) -> RunView:
    """The right view for where the output goes.

    Args:
        console: where to draw.
        title: the first line.
    """
    return (
        LiveView(console, title=title) if console.is_terminal else PlainView(console, title=title)
    )


class PlainView:
    """One line for each event that is worth one."""

    def __init__(self, console: Console, *, title: str) -> None:
        self._console = console
        self._state = ViewState()
        self._title = title

    def watch(self, topology: Topology) -> Callable[[Event], None]:
        """Begin to show a run; returns what takes its events."""
        self._print(self._title)
        self._state = ViewState.of(topology)
        return self._take

    def close(self) -> None:
        """Nothing is held."""

    def _take(self, event: Event) -> None:
        line = self._state.apply(event)
        if line is not None:
            self._print(format_line(line))

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class LiveView:
    """A picture that follows the run."""

    def __init__(self, console: Console, *, title: str) -> None:
        self._state = ViewState()
        self._title = title
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")
        self._began_s = time.monotonic()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, topology: Topology) -> Callable[[Event], None]:
        """Begin to show a run; returns what takes its events."""
        self._state = ViewState.of(topology)
        self._began_s = time.monotonic()
        self._live.start()
        self._redraw()
        return self._take

    def close(self) -> None:
        """Show the last state and let go of the terminal."""
        if self._timer is None:
            return
        self._timer.cancel()
        self._timer = None
        self._draw()
        self._live.stop()

    def _take(self, event: Event) -> None:
        self._state.apply(event)

    def _redraw(self) -> None:
        began_s = time.monotonic()
        self._draw()
        took_s = time.monotonic() - began_s
        pause_s = max(REDRAW_S, took_s * PAUSE_FOR_EACH_DRAWN)
        self._timer = asyncio.get_running_loop().call_later(pause_s, self._redraw)

    def _draw(self) -> None:
        elapsed_s = time.monotonic() - self._began_s
        size = self._live.console.size
        picture = render(
            self._state,
            title=self._title,
            elapsed_s=elapsed_s,
            width=size.width,
            height=size.height,
        )
        self._live.update(picture, refresh=True)
