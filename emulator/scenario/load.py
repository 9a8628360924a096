# SPDX-License-Identifier: MIT
"""Finds and loads scenarios: a folder with `topology.toml` and `scenario.py`.

A scenario file holds one `async def scenario(cluster)`; its docstring's first line says what it
shows. `FAULTS`, if there, names the kinds of faults it is about: a run in which one of them never
happened fails.
"""

from __future__ import annotations

import difflib
import importlib.util
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from emulator.errors import ScenarioError, UsageError
from emulator.events.types import FaultKind
from emulator.runtime.cluster import Cluster

SCENARIO_FILE = "scenario.py"
TOPOLOGY_FILE = "topology.toml"
SCENARIOS_FOLDER = Path("scenarios")
_FOLDER_HINT = f"a scenario is a folder with README.md, {TOPOLOGY_FILE} and {SCENARIO_FILE}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A scenario, loaded and ready to run.

    Args:
        name: its folder's name.
        folder: where it lies.
        title: what it shows, one line.
        body: its `scenario` function.
        faults: the kinds of faults it is about.
    """

    name: str
    folder: Path
    title: str
    body: Callable[[Cluster], Awaitable[None]]
    faults: frozenset[FaultKind]

    @property
    def topology_path(self) -> Path:
        """The topology it runs on."""
        return self.folder / TOPOLOGY_FILE


def find_scenario(argument: str) -> Path:
    """The folder that a command line argument means.

    Args:
        argument: a scenario's folder, its `scenario.py`, or the name of a folder in `scenarios/`.

    Raises:
        UsageError: there is no such scenario; names the nearest.
    """
    try:
        return _find(argument)
    except OSError as error:
        raise UsageError(
            f"{error.filename}: cannot be read: {error.strerror}",
            hint="make the scenario's folder and files readable",
        ) from error


def _find(argument: str) -> Path:
    path = Path(argument)
    if path.name == SCENARIO_FILE:
        path = path.parent
    for folder in (path, SCENARIOS_FOLDER / argument):
        if (folder / SCENARIO_FILE).is_file():
            if not (folder / TOPOLOGY_FILE).is_file():
                raise UsageError(f"{folder} has no {TOPOLOGY_FILE}", hint=_FOLDER_HINT)
            return folder
    if path.is_dir():
        raise UsageError(f"{path} has no {SCENARIO_FILE}", hint=_FOLDER_HINT)
    known = sorted(file.parent.name for file in SCENARIOS_FOLDER.glob(f"*/{SCENARIO_FILE}"))
    nearest = difflib.get_close_matches(path.name, known, n=1)
    raise UsageError(
        f"no scenario at {argument}",
        hint=f"did you mean {nearest[0]}?" if nearest else _valid(known),
    )


def load_scenario(folder: Path) -> Scenario:
    """Load the scenario in a folder.

    Raises:
        ScenarioError: its file does not import, or holds no `async def scenario(cluster)`.
    """
    file = folder / SCENARIO_FILE
    module = _module(file)
    body = getattr(module, "scenario", None)
    if not inspect.iscoroutinefunction(body) or len(inspect.signature(body).parameters) != 1:
        raise ScenarioError(
            f"{file} has no `async def scenario(cluster)`",
            hint="write one: docs/guide/scenario.md shows how",
        )
    faults = getattr(module, "FAULTS", ())
    if not all(isinstance(kind, FaultKind) for kind in faults):
        raise ScenarioError(
            f"{file}: FAULTS holds something that is no FaultKind",
            hint="valid: " + ", ".join(f"FaultKind.{kind.name}" for kind in FaultKind),
        )
    name = folder.resolve().name
    title = (inspect.getdoc(module) or name).splitlines()[0]
    return Scenario(name=name, folder=folder, title=title, body=body, faults=frozenset(faults))


def _module(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"mnlab_scenario_{file.parent.name}", file)
    if spec is None or spec.loader is None:
        raise ScenarioError(f"cannot load {file}", hint="it must be a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise ScenarioError(
            f"{file}:{error.lineno}: {error.msg}", hint="correct the scenario and run again"
        ) from error
    except PermissionError as error:
        raise ScenarioError(
            f"{file}: cannot be read: {error.strerror}", hint="make it readable"
        ) from error
    except Exception as error:
        raise ScenarioError(
            f"{file} does not load: {type(error).__name__}: {error}",
            hint="a scenario imports from `emulator` and does nothing else at import",
        ) from error
    return module


def _valid(known: list[str]) -> str:
    if not known:
        return "name a folder with scenario.py, or run this where scenarios/ is"
    return "valid: " + ", ".join(known)
