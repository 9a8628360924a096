# SPDX-License-Identifier: MIT
"""Schedules: what is done to a simulated cluster, and what it is made of.

A schedule can be read from and written to a replay file (JSON). It does not depend on how it was
made, and any part of its entries is a schedule too; that is what shrinking lives on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from emulator.errors import UsageError
from emulator.sim.kinds import Kind

if TYPE_CHECKING:
    from emulator.sim.functions import EntryFields

__all__ = [
    "ENTRIES_MAXIMUM",
    "VERSION",
    "Entry",
    "Schedule",
    "entry_of",
    "read_schedule",
    "write_schedule",
]

VERSION: Final = 1
ENTRIES_MAXIMUM: Final = 1024
_LARGEST: Final = 2**64 - 1

Settings = Mapping[str, "int | tuple[int, ...] | tuple[Mapping[str, int | tuple[int, ...]], ...]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that happens.

    Args:
        time_ns: when, from the start of the run.
        kind: what.
        target: a link, a node, or node | worker << 8 of an operation.
        duration_ns: how long a fault lasts, or a call may wait.
        arguments: four numbers; `firmware/sim/sim.h` says which.
    """

    time_ns: int
    kind: Kind
    target: int
    duration_ns: int
    arguments: tuple[int, int, int, int]

    def __str__(self) -> str:
        return (
            f"{self.time_ns / 1e6:.6f} ms {self.kind.name} target {self.target} "
            f"for {self.duration_ns / 1e6:.6f} ms {list(self.arguments)}"
        )


def entry_of(data: object) -> Entry:
    """Return a `struct sim_entry` as a record."""
    fields = cast("EntryFields", data)
    first, second, third, fourth = fields.arguments
    return Entry(
        time_ns=fields.time_ns,
        kind=Kind(fields.kind),
        target=fields.target,
        duration_ns=fields.duration_ns,
        arguments=(first, second, third, fourth),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A run.

    Args:
        settings: what `struct sim_settings` holds, by field.
        entries: ordered by time.
    """

    settings: Settings
    entries: tuple[Entry, ...]

    def with_entries(self, entries: tuple[Entry, ...]) -> Schedule:
        """The same cluster, with something else done to it."""
        return Schedule(settings=self.settings, entries=entries)


def write_schedule(path: Path, schedule: Schedule, *, invariant: int, text: str) -> None:
    """Write a replay file.

    Args:
        path: the file; what was there is replaced.
        schedule: what to run.
        invariant: which one it breaks.
        text: how.
    """
    data = {
        "version": VERSION,
        "breaks": invariant,
        "text": text,
        "settings": schedule.settings,
        "entries": [
            {
                "time_ns": entry.time_ns,
                "kind": entry.kind.name,
                "target": entry.target,
                "duration_ns": entry.duration_ns,
                "arguments": list(entry.arguments),
            }
            for entry in schedule.entries
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def read_schedule(path: Path) -> Schedule:
    """Read a replay file.

    Raises:
        UsageError: it cannot be read, or it is no replay file of this version.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{path} is no replay file: {error}") from error
    hint = "a replay file is what `mnlab sim` writes when a seed fails"
    if not isinstance(data, dict) or data.get("version") != VERSION:
        raise UsageError(f"{path} is no replay file of version {VERSION}", hint)
    try:
        entries = tuple(_entry(item) for item in data["entries"])
        settings = dict(data["settings"])
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path} is no replay file: {error!r}", hint) from error
    if len(entries) > ENTRIES_MAXIMUM:
        raise UsageError(f"{path} has {len(entries)} entries; at most {ENTRIES_MAXIMUM}")
    return Schedule(settings=settings, entries=entries)


def _entry(item: Mapping[str, object]) -> Entry:
    arguments = item["arguments"]
    if not isinstance(arguments, list) or len(arguments) != 4:
        raise ValueError("an entry has four arguments")
    first, second, third, fourth = (_number(value) for value in arguments)
    return Entry(
        time_ns=_number(item["time_ns"]),
        kind=Kind[str(item["kind"])],
        target=_number(item["target"]),
        duration_ns=_number(item["duration_ns"]),
        arguments=(first, second, third, fourth),
    )


def _number(value: object) -> int:
    if not isinstance(value, int) or not 0 <= value <= _LARGEST:
        raise ValueError(f"{value!r} is no number of a schedule")
    return value
