# SPDX-License-Identifier: MIT
"""pytest runs scenarios: every folder with `scenario.py` and `topology.toml` is a test.

The same folders as `mnlab run` takes, with the same verdict: a scenario passes when its expectations
hold and no invariant is broken. `async def` tests are run as well, each in an event loop of its own,
unless another plugin (pytest-asyncio, anyio) already does it.

Installed with the package; nothing to configure. `--mnlab-runs DIR` says where run folders go.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emulator.checkers import Verdict
from emulator.config import load_topology
from emulator.errors import MnlabError
from emulator.machines.machine import MACHINES
from emulator.runtime.cluster import RunOptions
from emulator.scenario import RunResult, load_scenario, run_scenario
from emulator.scenario.load import SCENARIO_FILE, TOPOLOGY_FILE
from emulator.view.describe import describe, field_text

SCENARIO_TIMEOUT_S = 300
_ASYNC_PLUGINS = ("asyncio", "anyio")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("mnlab")
    group.addoption("--mnlab-runs", default="runs", metavar="DIR", help="where run folders go")


def pytest_collect_file(parent: pytest.Collector, file_path: Path) -> pytest.Collector | None:
    """Take `scenario.py` with a topology beside it for a test."""
    if file_path.name != SCENARIO_FILE or not (file_path.parent / TOPOLOGY_FILE).is_file():
        return None
    collector: pytest.Collector = ScenarioFile.from_parent(parent, path=file_path)
    return collector


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an `async def` test that nobody else runs."""
    manager = pyfuncitem.config.pluginmanager
    if not inspect.iscoroutinefunction(pyfuncitem.obj) or any(
        map(manager.hasplugin, _ASYNC_PLUGINS)
    ):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


class ScenarioFile(pytest.File):
    """A scenario's folder."""

    def collect(self) -> Iterator[pytest.Item]:
        """Its one test, of the folder's name."""
        yield ScenarioItem.from_parent(self, name=self.path.parent.name)


class ScenarioFailed(Exception):
    """A run's verdict is a failure; carries how it ended."""

    def __init__(self, result: RunResult) -> None:
        super().__init__(result.summary)
        self.result = result


class ScenarioItem(pytest.Item):
    """One run of a scenario."""

    def __init__(self, **keywords: Any) -> None:  # noqa: ANN401 - what pytest passes on
        super().__init__(**keywords)
        self.add_marker(pytest.mark.qemu)
        if self.config.pluginmanager.hasplugin("timeout"):
            self.add_marker(pytest.mark.timeout(SCENARIO_TIMEOUT_S))

    def runtest(self) -> None:
        """Run it.

        Raises:
            ScenarioFailed: an expectation or an invariant does not hold, or it could not run.
            MnlabError: the scenario cannot be loaded.
        """
        folder = self.path.parent
        scenario = load_scenario(folder)
        self._skip_without_qemu(folder)
        options = RunOptions(
            runs_path=Path(self.config.getoption("--mnlab-runs")), name=scenario.name
        )
        result = asyncio.run(run_scenario(scenario, options=options))
        if not result.passed:
            raise ScenarioFailed(result)

    def _skip_without_qemu(self, folder: Path) -> None:
        """Skip where QEMU is not installed; in CI its absence is a failure."""
        if os.environ.get("CI"):
            return
        for arch in {node.arch for node in load_topology(folder / TOPOLOGY_FILE).nodes}:
            if shutil.which(MACHINES[arch].qemu_binary) is None:
                pytest.skip(f"{MACHINES[arch].qemu_binary} is not installed")

    def repr_failure(
        self,
        excinfo: pytest.ExceptionInfo[BaseException],
        style: Any = None,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Show what a user needs of a failed run; of a bug of ours everything."""
        if isinstance(excinfo.value, ScenarioFailed):
            return "\n".join(_report(excinfo.value.result))
        if isinstance(excinfo.value, MnlabError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where it is, for reports."""
        return self.path, 0, f"scenario {self.name}"


def _report(result: RunResult) -> Iterator[str]:
    yield f"FAIL {result.scenario.name}, seed {result.seed}: {result.summary}"
    if result.error is not None:
        yield from (f"  {line}" for line in str(result.error).splitlines()[1:])
    for verdict in result.verdicts:
        yield f"  {verdict.invariant:<4}{verdict.outcome.value:<14} {verdict.detail}"
    for verdict in result.broken:
        yield from _context(verdict)
    if result.folder is not None:
        yield f"run folder: {result.folder}"
    yield f"run it again: {result.rerun}"


def _context(verdict: Verdict) -> Iterator[str]:
    for node, events in verdict.context.items():
        yield f"  {verdict.invariant}: the last events of {node}"
        for event in events:
            said = describe(event) or (event.kind, field_text(event))
            yield f"    #{event.seq} {said[0]}: {said[1]}"
