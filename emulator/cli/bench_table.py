# SPDX-License-Identifier: MIT
"""Figures as people read them: a table for each pair of architectures, in 80 columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from emulator.bench import Figure
from emulator.bench.bounds import Bound, Of, bound_of, is_kept
from emulator.bench.pair import PAIRS, Pair, pair_of

_SCALES: Final = {
    "B": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")),
    "B/s": ((1e9, "GB/s"), (1e6, "MB/s"), (1e3, "kB/s")),
    "1/s": ((1e6, "M/s"), (1e3, "k/s"), (1, "/s")),
    "us": ((1e3, "ms"), (1, "µs")),
    "s": ((1, "s"), (1e-3, "ms")),
}


@dataclass(frozen=True, slots=True)
class Scale:
    """A multiple of a unit."""

    factor: float
    name: str

    def show(self, value: float) -> str:
        """A value in this unit, three digits or more."""
        scaled = value / self.factor
        digits = 0 if abs(scaled) >= 100 else 1 if abs(scaled) >= 10 else 2
        return f"{scaled:.{digits}f}"


def scale_of(value: float, unit: str) -> Scale:
    """The multiple of a unit in which a value reads best."""
    for factor, name in _SCALES.get(unit, ()):
        if value >= factor:
            return Scale(factor, name)
    return Scale(1, unit)


def show_figures(console: Console, figures: Sequence[Figure]) -> None:
    """Print figures, and how to read them.

    Args:
        console: where.
        figures: as measured.
    """
    for pair in PAIRS:
        shown = [figure for figure in figures if pair_of(figure.name)[0] is pair]
        if shown:
            console.print(_table(pair, shown))
            console.print()
    if figures:
        _show_legend(console, figures)


def _table(pair: Pair, figures: Sequence[Figure]) -> Table:
    title = f"{pair.first.value} and {pair.second.value}"
    if pair.suffix:
        title += f", names ending in {pair.suffix}"
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="dim",
    )
    table.add_column("figure", no_wrap=True)
    table.add_column("", no_wrap=True)
    for heading in ("median", "low", "high", "limit", "ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("bound", no_wrap=True)
    for figure in figures:
        table.add_row(*_row(figure))
    return table


def _row(figure: Figure) -> tuple[str | Text, ...]:
    scale = scale_of(figure.value, figure.unit)
    return (
        Text(pair_of(figure.name)[1], "" if figure.fit else "yellow"),
        Text(scale.name, "dim"),
        scale.show(figure.value),
        scale.show(figure.minimum),
        scale.show(figure.maximum),
        "" if figure.limit is None else scale.show(figure.limit),
        "" if figure.ratio is None else f"{figure.ratio:.2f}",
        _bound(figure, scale),
    )


def _bound(figure: Figure, scale: Scale) -> Text:
    bound = bound_of(figure.name)
    if bound is None:
        return Text()
    said = bound_text(bound, scale)
    return Text(said, "green") if is_kept(figure) else Text(f"{said} broken", "bold red")


def bound_text(bound: Bound, scale: Scale) -> str:
    """A bound in few characters: `≤6x` of the limit, `≤400` in the figure's unit."""
    sign, number = ("≤", bound.at_most) if bound.at_least is None else ("≥", bound.at_least)
    if bound.of is Of.RATIO:
        return f"{sign}{number:.2g}x"
    return f"{sign}{(number or 0) / scale.factor:.3g}"


def _show_legend(console: Console, figures: Sequence[Figure]) -> None:
    first = figures[0]
    runs = sorted({figure.runs for figure in figures})
    count = f"{runs[0]}" if len(runs) == 1 else f"{runs[0]} to {runs[-1]}"
    console.print(
        f"Medians of {count} runs, {first.virtual_cpus} virtual CPUs on {first.cores} cores. The "
        "limit is the same without our protocol, measured in between; ratio and x are multiples "
        "of it.",
        highlight=False,
    )
    if not is_fit(figures):
        console.print(
            "This run is unfit: a raw round trip took more than 3 µs, so the figures say more "
            "about this machine's load than about us. Close other programs and measure again.",
            style="yellow",
            highlight=False,
        )


def is_fit(figures: Sequence[Figure]) -> bool:
    """Whether the machine was fit to measure on, as far as these figures tell."""
    return all(figure.fit for figure in figures)
