# SPDX-License-Identifier: MIT
"""Runs schedules and ranges of seeds in this process, through the C library.

A run that crashes takes the process with it: `campaign` and `shrink` run in children.
"""

from __future__ import annotations

import dataclasses
import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from emulator.errors import UsageError
from emulator.sim.agent.driver import play_agent
from emulator.sim.kinds import Kind, Profile
from emulator.sim.library import ffi, open_library
from emulator.sim.schedule import ENTRIES_MAXIMUM, Schedule, entry_of

if TYPE_CHECKING:
    from emulator.sim.functions import CData, ResultFields, TotalsFields

__all__ = [
    "WATCH_SIZE",
    "Outcome",
    "Totals",
    "Workload",
    "generate",
    "run",
    "run_range",
    "run_twice",
    "watch",
]

WATCH_SIZE: Final = mmap.PAGESIZE  # of the memory for watch()
_EVENTS_SIZE: Final = 32768
_INVARIANT_COUNT: Final = 16
_DIRT: Final = 0xA6  # of the repetition: fill byte + 1
_COUNTERS: Final = (
    "seeds",
    "failed",
    "repeated",
    "world_ns",
    "steps",
    "frames",
    "operations",
    "lives",
    "deaths",
    "sent",
    "settled",
    "failures",
    "unknown",
    "received",
    "trace",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What seeds are made into.

    Args:
        profile: which faults.
        nodes: 2 to 5.
        operations: of the programs of all nodes together, at most 900.
        differential: one of the nodes is the Python protocol stack.
    """

    profile: Profile = Profile.MIXED
    nodes: int = 3
    operations: int = 100
    differential: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one run.

    Args:
        seed: of the run's settings.
        trace: hash over everything that happened.
        invariant: the first that was broken; None: it passed.
        text: how it was broken.
        events: the last events before it, one a line.
        fired: faults and operations that did something, by kind.
    """

    seed: int
    trace: int
    invariant: int | None
    text: str
    events: str
    fired: Mapping[Kind, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums over many runs.

    Args:
        counters: by the names of `struct sim_totals`.
        converged_max_ns: the slowest return of all links after the last fault.
        asked: entries of schedules by kind.
        fired: those that did something; of faults of frames, the frames.
        passed: runs in which an invariant was exercised and held, by its number.
        broken: runs in which it was violated.
    """

    counters: Mapping[str, int]
    converged_max_ns: int
    asked: Mapping[Kind, int]
    fired: Mapping[Kind, int]
    passed: Mapping[int, int]
    broken: Mapping[int, int]


def generate(seed: int, workload: Workload) -> Schedule:
    """Return the schedule of a seed."""
    settings = ffi.new("struct sim_settings *")
    entries = ffi.new("struct sim_entry[]", ENTRIES_MAXIMUM)
    count = open_library().sim_generate(seed, _workload(workload), settings, entries)
    return Schedule(
        settings=cast("Mapping[str, int]", _plain(settings[0])),
        entries=tuple(entry_of(entries[index]) for index in range(count)),
    )


def run(schedule: Schedule) -> Outcome:
    """Run a schedule.

    Raises:
        UsageError: its settings make no sense.
    """
    if schedule.settings.get("agent"):
        play_agent()
    result = ffi.new("struct sim_result *")
    try:
        settings = ffi.new("struct sim_settings *", schedule.settings)
        entries = ffi.new(
            "struct sim_entry[]",
            [
                (entry.time_ns, entry.duration_ns, entry.kind, entry.target, entry.arguments)
                for entry in schedule.entries
            ],
        )
    except (KeyError, TypeError, OverflowError, IndexError) as error:
        raise UsageError(f"the settings of the schedule make no sense: {error}") from error
    if open_library().sim_run(settings, entries, len(schedule.entries), result) != 0:
        raise UsageError("the settings or the order of the schedule make no sense")
    return _outcome(result)


def run_twice(schedule: Schedule) -> Outcome:
    """Run a schedule, and if it passes again, with something else in unused memory (I13).

    Raises:
        UsageError: its settings make no sense.
    """
    outcome = run(schedule)
    if outcome.invariant is not None:
        return outcome
    again = run(Schedule(settings={**schedule.settings, "dirt": _DIRT}, entries=schedule.entries))
    if again.invariant is None and again.trace == outcome.trace:
        return outcome
    text = f"the run and its repetition differ; {again.text or 'both hold'}"
    return dataclasses.replace(outcome, invariant=13, text=text, events=again.events)


def run_range(first: int, count: int, workload: Workload) -> tuple[Totals, Outcome | None]:
    """Run seeds first .. first + count - 1, up to the first that fails.

    Returns:
        The sums over those that were run, and the failure.
    """
    if workload.differential:
        play_agent()
    totals = ffi.new("struct sim_totals *")
    failure = ffi.new("struct sim_result *")
    open_library().sim_run_range(first, count, _workload(workload), totals, failure)
    outcome = _outcome(failure)
    return _totals(totals), None if outcome.invariant is None else outcome


def watch(memory: mmap.mmap) -> None:
    """Have run_range() note in the first 8 bytes of `memory` which seed it is at.

    Args:
        memory: WATCH_SIZE bytes; stays mapped until the last run.
    """
    open_library().sim_watch(ffi.from_buffer("uint64_t[]", memory))


def _workload(workload: Workload) -> CData:
    return ffi.new(
        "struct sim_workload *",
        (workload.profile, workload.nodes, workload.operations, workload.differential),
    )


def _plain(data: object) -> object:
    """C data as JSON knows it: structs as dictionaries, arrays as lists."""
    if not isinstance(data, ffi.CData):
        return data
    kind = ffi.typeof(data)
    if kind.kind == "array":
        return [_plain(item) for item in cast("list[object]", data)]
    return {name: _plain(getattr(data, name)) for name, _ in kind.fields or ()}


def _outcome(result: CData) -> Outcome:
    fields = cast("ResultFields", result)
    events = ""
    if fields.failed:
        buffer = ffi.new("char[]", _EVENTS_SIZE)
        length = open_library().sim_read_events(buffer, _EVENTS_SIZE)
        events = bytes(ffi.buffer(buffer, length)).decode()
    return Outcome(
        seed=fields.seed,
        trace=fields.trace,
        invariant=fields.first_failed if fields.failed else None,
        text=cast("bytes", ffi.string(fields.text)).decode(),
        events=events,
        fired=_by_kind(fields.fired),
    )


def _by_kind(counts: object) -> dict[Kind, int]:
    array = cast("list[int]", counts)
    return {kind: array[kind] for kind in Kind if array[kind]}


def _totals(totals: CData) -> Totals:
    fields = cast("TotalsFields", totals)
    return Totals(
        counters={name: getattr(fields, name) for name in _COUNTERS},
        converged_max_ns=fields.converged_max_ns,
        asked=_by_kind(fields.asked),
        fired=_by_kind(fields.fired),
        passed={number: fields.passed[number] for number in range(_INVARIANT_COUNT)},
        broken={number: fields.broken[number] for number in range(_INVARIANT_COUNT)},
    )
