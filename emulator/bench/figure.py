# SPDX-License-Identifier: MIT
"""One measured figure: its median, how far it strayed, and the limit it is compared with."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

RAW_ROUND_TRIP_UNFIT_S = 3e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured figure.

    Args:
        name: what was measured; the pair of architectures is its suffix.
        value: the median of the runs.
        unit: of value, minimum, maximum and limit.
        minimum: the lowest run.
        maximum: the highest run.
        runs: how many there were.
        limit: the same without our protocol; None where there is no such thing.
        virtual_cpus: how many ran.
        cores: on how many of this machine's.
        fit: False when the bare limit itself was too slow for the figure to mean anything.
    """

    name: str
    value: float
    unit: str
    minimum: float
    maximum: float
    runs: int
    limit: float | None
    virtual_cpus: int
    cores: int
    fit: bool = True

    @property
    def ratio(self) -> float | None:
        """The value as a multiple of the limit."""
        return None if not self.limit else self.value / self.limit

    def as_data(self) -> dict[str, object]:
        """The figure as the object that `--json` prints."""
        return {
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "min": self.minimum,
            "max": self.maximum,
            "runs": self.runs,
            "limit": self.limit,
            "ratio": self.ratio,
            "virtual_cpus": self.virtual_cpus,
            "cores": self.cores,
            "fit": self.fit,
        }


def cores() -> int:
    """How many cores this process may run on."""
    return len(os.sched_getaffinity(0))


def figure(
    name: str,
    unit: str,
    samples: Sequence[float],
    *,
    virtual_cpus: int,
    limits: Sequence[float] = (),
    fit: bool = True,
) -> Figure:
    """Summarise runs into a figure.

    Args:
        name: its name.
        unit: the samples' unit.
        samples: one value a run, at least one.
        virtual_cpus: how many ran.
        limits: runs of the bare limit, in the same unit; empty: there is none.
        fit: whether the machine was fit to measure on.
    """
    return Figure(
        name=name,
        value=statistics.median(samples),
        unit=unit,
        minimum=min(samples),
        maximum=max(samples),
        runs=len(samples),
        limit=statistics.median(limits) if limits else None,
        virtual_cpus=virtual_cpus,
        cores=cores(),
        fit=fit,
    )
