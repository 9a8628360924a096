# SPDX-License-Identifier: MIT
"""Runs one scenario on a fresh cluster and earns its verdict.

The verdict is the scenario's own expectations and every invariant, whatever happened first: a
scenario that fails is checked all the same. Nothing is printed here.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from emulator.checkers import Bounds, Verdict, check_run
from emulator.checkers.digest import stream_digest
from emulator.config import load_topology
from emulator.errors import MnlabError, VerdictFailure
from emulator.events.stream import EventStream
from emulator.events.types import (
    CheckerVerdict,
    Event,
    HostStalled,
    Outcome,
    RunStarted,
    RunVerdict,
)
from emulator.model import Topology
from emulator.runtime.cluster import Cluster, RunOptions
from emulator.runtime.pressure import cpu_waiting_pct
from emulator.scenario.blame import blame, first_error
from emulator.scenario.load import Scenario

EXIT_PASS = 0
EXIT_FAIL = VerdictFailure.exit_code


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """How a run of a scenario ended.

    Args:
        scenario: what was run.
        seed: what decided its random choices.
        folder: its run folder; None when it never got one.
        elapsed_s: from start to the last process gone.
        verdicts: one for each invariant; empty when the cluster never came up.
        error: what stopped it; None when the scenario ran to its end.
        stalled_s: the longest time for which this machine did not let the orchestrator run.
        waiting_pct: in how much of its last ten seconds something waited for a processor.
    """

    scenario: Scenario
    seed: int
    folder: Path | None
    elapsed_s: float
    verdicts: tuple[Verdict, ...] = ()
    error: MnlabError | None = None
    stalled_s: float = 0.0
    waiting_pct: float = 0.0

    @property
    def exit_code(self) -> int:
        """0 pass, 1 fail, 2 wrong usage or a scenario that raised, 3 the host could not do it."""
        if self.error is not None:
            return self.error.exit_code
        return EXIT_FAIL if self.broken else EXIT_PASS

    @property
    def passed(self) -> bool:
        """Whether it ran to its end with every invariant kept."""
        return self.exit_code == EXIT_PASS

    @property
    def broken(self) -> tuple[Verdict, ...]:
        """The invariants that do not hold."""
        return tuple(verdict for verdict in self.verdicts if verdict.outcome is Outcome.FAIL)

    @property
    def rerun(self) -> str:
        """The command line that runs the same again."""
        return f"mnlab run {self.scenario.folder} --seed {self.seed}"

    @property
    def summary(self) -> str:
        """What came of it, one line."""
        if self.error is not None:
            return self.error.message
        if self.broken:
            return f"{self.broken[0].invariant}: {self.broken[0].detail}"
        tested = sum(verdict.outcome is Outcome.PASS for verdict in self.verdicts)
        return f"{tested} of {len(self.verdicts)} invariants put to the test, all kept"


Watch = Callable[[Topology], Callable[[Event], None]]


async def run_scenario(
    scenario: Scenario,
    *,
    options: RunOptions | None = None,
    bounds: Bounds | None = None,
    watch: Watch | None = None,
) -> RunResult:
    """Boot the scenario's topology, run it, check every invariant, take everything down.

    Cancelling it takes the cluster down as well; nothing is left behind.

    Args:
        scenario: what to run.
        options: where the run folder goes, the seed, the bound on booting.
        bounds: how long notices and links may take; None: the defaults.
        watch: called with the topology; what it returns is called with every event.

    Returns:
        How it ended; every deliberate error is in there, nothing but bugs of ours is raised.
    """
    began_s = time.monotonic()
    plan = options or RunOptions()
    events: list[Event] = []
    verdicts: tuple[Verdict, ...] = ()
    error: MnlabError | None = None
    seed = plan.seed or 0
    try:
        topology = load_topology(scenario.topology_path)
        seed = topology.seed if plan.seed is None else plan.seed
        shown = () if watch is None else (watch(topology),)
        plan = dataclasses.replace(plan, listeners=(*plan.listeners, events.append, *shown))
        async with Cluster.from_topology(topology, options=plan) as cluster:
            error = await _body(scenario, cluster)
            cluster.settle()
            # In a thread: the links' keep-alives must not wait for it.
            verdicts = await asyncio.to_thread(
                check_run,
                tuple(events),
                expected=scenario.faults,
                bounds=bounds,
                digest=stream_digest,
                finished=error is None,
            )
            _record(cluster.stream, verdicts, error)
    except* MnlabError as group:
        error = error or first_error(group)
    return RunResult(
        scenario=scenario,
        seed=seed,
        folder=_folder(events),
        elapsed_s=time.monotonic() - began_s,
        verdicts=verdicts,
        error=error,
        stalled_s=max(
            (event.for_s for event in events if isinstance(event, HostStalled)), default=0
        ),
        waiting_pct=cpu_waiting_pct(),
    )


async def _body(scenario: Scenario, cluster: Cluster) -> MnlabError | None:
    try:
        await scenario.body(cluster)
    except (Exception, SystemExit) as error:  # a scenario does not decide how the tool ends
        return blame(error, scenario.folder)
    return None


def _folder(events: list[Event]) -> Path | None:
    started = next((event for event in events if isinstance(event, RunStarted)), None)
    return None if started is None else Path(started.folder)


def _record(stream: EventStream, verdicts: tuple[Verdict, ...], error: MnlabError | None) -> None:
    for verdict in verdicts:
        stream.emit(
            CheckerVerdict(
                invariant=verdict.invariant, outcome=verdict.outcome, detail=verdict.detail
            )
        )
    good = error is None and all(verdict.outcome is not Outcome.FAIL for verdict in verdicts)
    stream.emit(
        RunVerdict(
            outcome=Outcome.PASS if good else Outcome.FAIL,
            detail="" if error is None else error.message,
        )
    )
