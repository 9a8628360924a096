# SPDX-License-Identifier: MIT
"""What is promised of each figure, and whether a figure keeps it.

Promises about protocol costs are multiples of the bare limit of the same run, so that they hold on
any machine that is fit to measure on; promises about waiting and memory are absolute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from emulator.bench.figure import Figure
from emulator.bench.pair import pair_of

MIXED_SLACK: Final = 1.5  # two architectures translate differently well


class Of(Enum):
    """What of a figure is bound."""

    VALUE = "value"
    RATIO = "ratio"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A promise about one figure.

    Args:
        of: its value, in its unit, or its ratio to the bare limit.
        at_most: the most it may be; None: no such bound.
        at_least: the least it may be; None: no such bound.
        slack: whether the mixed pair may be `MIXED_SLACK` times worse.
    """

    of: Of
    at_most: float | None = None
    at_least: float | None = None
    slack: bool = False

    def loosened(self) -> Bound:
        """The bound for the mixed pair."""
        if not self.slack:
            return self
        return Bound(
            of=self.of,
            at_most=None if self.at_most is None else self.at_most * MIXED_SLACK,
            at_least=None if self.at_least is None else self.at_least / MIXED_SLACK,
        )

    def is_kept_by(self, figure: Figure) -> bool:
        """Whether a figure is within the bound; one without the limit it needs is not."""
        number = figure.value if self.of is Of.VALUE else figure.ratio
        if number is None:
            return False
        return (self.at_most is None or number <= self.at_most) and (
            self.at_least is None or number >= self.at_least
        )


_BOUNDS: Final = {
    "boot.links_up_s": Bound(of=Of.VALUE, at_most=0.4),
    "rtt.ivshmem.64B_us": Bound(of=Of.RATIO, at_most=6, slack=True),
    "rate.ivshmem.64B_per_s": Bound(of=Of.VALUE, at_least=500_000, slack=True),
    "rights.four_ratio": Bound(of=Of.VALUE, at_most=2),
    "bulk.ivshmem.64KiB_Bps": Bound(of=Of.RATIO, at_least=0.3, slack=True),
    "bulk.ivshmem.64KiB_crc_Bps": Bound(of=Of.RATIO, at_least=0.1, slack=True),
    "crash.reachable_s": Bound(of=Of.VALUE, at_most=0.25),
    "crash.notice_s": Bound(of=Of.VALUE, at_most=0.01),
    "server.load_s": Bound(of=Of.VALUE, at_most=0.03),
    "server.swap_s": Bound(of=Of.VALUE, at_most=0.1),
    "server.call_ratio": Bound(of=Of.VALUE, at_most=1.2),
    "memory.private_per_node_B": Bound(of=Of.VALUE, at_most=30_000_000),
    "idle.cpu_per_node_pct": Bound(of=Of.VALUE, at_most=3),
}


def bound_of(name: str) -> Bound | None:
    """What is promised of a figure.

    Args:
        name: its name, with its pair's suffix.

    Returns:
        The bound, or None where nothing is promised.
    """
    pair, base = pair_of(name)
    bound = _BOUNDS.get(base)
    return bound.loosened() if bound is not None and pair.suffix else bound


def is_kept(figure: Figure) -> bool | None:
    """Whether a figure keeps what is promised of it; None where nothing is."""
    bound = bound_of(figure.name)
    return None if bound is None else bound.is_kept_by(figure)


def broken(figures: Sequence[Figure]) -> tuple[Figure, ...]:
    """The figures that break their bound."""
    return tuple(figure for figure in figures if is_kept(figure) is False)
