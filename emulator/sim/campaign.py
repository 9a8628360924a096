# SPDX-License-Identifier: MIT
"""Many seeds on every core: a process each, their sums, and the first failure."""

from __future__ import annotations

import asyncio
import json
import mmap
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from emulator.errors import HostError
from emulator.sim.child import CRASHED
from emulator.sim.engine import WATCH_SIZE, Workload
from emulator.sim.kinds import INVARIANTS, Kind
from emulator.sim.library import open_library

__all__ = ["Failure", "Report", "run_campaign"]

_LINE_LIMIT: Final = 1 << 20  # bytes of a worker's line, the failure's events included
_NS_PER_S: Final = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The first seed that failed.

    Args:
        seed: which one.
        invariant: what it broke; 0: a node panicked; CRASHED: so did the process.
        text: how.
        events: the last events of its nodes, one a line; empty after a crash.
    """

    seed: int
    invariant: int
    text: str
    events: str


@dataclass(slots=True, kw_only=True)
class Report:
    """Sums over all workers, while they run and afterwards."""

    counters: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    fired: Counter[str] = field(default_factory=Counter)
    passed: Counter[int] = field(default_factory=Counter)
    broken: Counter[int] = field(default_factory=Counter)
    converged_max_ns: int = 0
    cpu_s: float = 0.0
    failure: Failure | None = None

    @property
    def seeds(self) -> int:
        """How many were run."""
        return self.counters["seeds"]

    @property
    def seeds_per_cpu_s(self) -> float:
        """Seeds a second and core."""
        return self.seeds / self.cpu_s if self.cpu_s else 0.0

    def verdict(self, invariant: int) -> str:
        """`pass`, `fail` or `not exercised`."""
        if self.broken[invariant]:
            return "fail"
        # A panic is looked for in every run.
        seen = self.seeds if invariant == 0 else self.passed[invariant]
        return "pass" if seen else "not exercised"

    def as_data(self) -> dict[str, object]:
        """For --json."""
        counters = {name: value for name, value in self.counters.items() if name != "trace"}
        return {
            **counters,
            "seeds_per_cpu_s": round(self.seeds_per_cpu_s, 1),
            "converged_max_s": self.converged_max_ns / _NS_PER_S,
            "invariants": {
                f"I{number}": {
                    "verdict": self.verdict(number),
                    "passed": self.passed[number],
                    "broken": self.broken[number],
                }
                for number in INVARIANTS
            },
            "asked": dict(self.asked),
            "fired": dict(self.fired),
        }

    def add(self, line: bytes) -> None:
        """Take one line of a worker."""
        data = json.loads(line)
        totals = data["totals"]
        self.counters.update(totals["counters"])
        self.asked.update(_by_name(totals["asked"]))
        self.fired.update(_by_name(totals["fired"]))
        self.passed.update(_by_number(totals["passed"]))
        self.broken.update(_by_number(totals["broken"]))
        self.converged_max_ns = max(self.converged_max_ns, totals["converged_max_ns"])
        self.cpu_s += data["cpu_s"]
        if data["failure"] is not None:
            found = data["failure"]
            self.fail(
                Failure(
                    seed=found["seed"],
                    invariant=found["invariant"],
                    text=found["text"],
                    events=found["events"],
                )
            )

    def fail(self, failure: Failure) -> None:
        """Keep the failure of the lowest seed."""
        if self.failure is None or failure.seed < self.failure.seed:
            self.failure = failure


def _by_name(counts: Mapping[str, int]) -> dict[str, int]:
    return {Kind(int(kind)).name: count for kind, count in counts.items()}


def _by_number(counts: Mapping[str, int]) -> dict[int, int]:
    return {int(number): count for number, count in counts.items()}


async def run_campaign(
    first: int,
    count: int,
    workload: Workload,
    *,
    jobs: int,
    progress: Callable[[Report], None] = lambda _report: None,
) -> Report:
    """Run seeds first .. first + count - 1, split among processes.

    Args:
        first: the first seed.
        count: how many.
        workload: what they are made into.
        jobs: how many processes.
        progress: called whenever something is known.

    Raises:
        HostError: the simulator is not built.
    """
    open_library()
    report = Report()
    jobs = max(1, min(jobs, count))
    async with asyncio.TaskGroup() as tasks:
        for job in range(jobs):
            begin, end = count * job // jobs, count * (job + 1) // jobs
            tasks.create_task(_work(first + begin, end - begin, workload, report, progress))
    return report


async def _work(
    first: int,
    count: int,
    workload: Workload,
    report: Report,
    progress: Callable[[Report], None],
) -> None:
    descriptor = os.memfd_create("mnlab-sim")
    try:
        os.ftruncate(descriptor, WATCH_SIZE)
        async with _worker(descriptor, first, count, workload) as process:
            assert process.stdout is not None
            async for line in process.stdout:
                report.add(line)
                progress(report)
                if report.failure is not None:
                    return
            status = await process.wait()
        if status < 0:
            report.fail(_crash(descriptor, -status))
            report.counters["seeds"] += 1
            report.broken[0] += 1
        elif status != 0:
            raise HostError(f"a process of the simulator ended with status {status}")
    finally:
        os.close(descriptor)


@asynccontextmanager
async def _worker(
    descriptor: int, first: int, count: int, workload: Workload
) -> AsyncIterator[asyncio.subprocess.Process]:
    numbers = (
        descriptor,
        first,
        count,
        int(workload.profile),
        workload.nodes,
        workload.operations,
        int(workload.differential),
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "emulator.sim.worker",
        *map(str, numbers),
        stdout=asyncio.subprocess.PIPE,
        pass_fds=(descriptor,),
        limit=_LINE_LIMIT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _crash(descriptor: int, number: int) -> Failure:
    with mmap.mmap(descriptor, WATCH_SIZE) as memory:
        seed = int.from_bytes(memory[:8], sys.byteorder)
    name = signal.Signals(number).name
    return Failure(seed=seed, invariant=CRASHED, text=f"the process ended by {name}", events="")
