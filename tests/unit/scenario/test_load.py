# SPDX-License-Identifier: MIT
"""Finding and loading scenarios; what a scenario raised, and whose lines are shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator.errors import ExpectationFailed, MnlabError, ScenarioError, UsageError, VerdictFailure
from emulator.events.types import FaultKind
from emulator.scenario import Scenario, find_scenario, load_scenario
from emulator.scenario.blame import blame, first_error
from emulator.testing.clusters import cluster_of, pair_text

BODY = '"""Shows something.\n\nMore."""\n\nasync def scenario(cluster):\n    pass\n'


def write(folder: Path, text: str = BODY) -> Path:
    folder.mkdir(parents=True)
    (folder / "scenario.py").write_text(text)
    (folder / "topology.toml").write_text("")
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with two scenarios."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "scenarios" / "pair")
    write(tmp_path / "scenarios" / "crash_restart")
    return tmp_path


@pytest.mark.parametrize(
    "argument", ["pair", "scenarios/pair", "scenarios/pair/", "scenarios/pair/scenario.py"]
)
def test_found_by_folder_file_or_name(here: Path, argument: str) -> None:
    assert (here / find_scenario(argument)).resolve() == here / "scenarios" / "pair"


@pytest.mark.parametrize(
    ("argument", "hint"),
    [
        ("piar", "did you mean pair?"),
        ("something_else", "valid: crash_restart, pair"),
    ],
)
@pytest.mark.usefixtures("here")
def test_unknown_scenario_names_the_nearest(argument: str, hint: str) -> None:
    with pytest.raises(UsageError, match=f"no scenario at {argument}") as caught:
        find_scenario(argument)
    assert caught.value.hint == hint


@pytest.mark.usefixtures("here")
def test_scenario_without_topology(tmp_path: Path) -> None:
    (tmp_path / "scenarios" / "pair" / "topology.toml").unlink()
    with pytest.raises(UsageError, match=r"scenarios/pair has no topology\.toml"):
        find_scenario("pair")


def test_folder_without_scenario(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        find_scenario(str(tmp_path))
    assert caught.value.message == f"{tmp_path} has no scenario.py"


def test_folder_that_may_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", forbidden)
    with pytest.raises(UsageError, match=r"^mine/scenario\.py: cannot be read: Permission denied"):
        find_scenario("mine")


def test_loaded(tmp_path: Path) -> None:
    text = "from emulator import FaultKind\nFAULTS = (FaultKind.CUT,)\n"
    scenario = load_scenario(write(tmp_path / "mine", text + BODY.split('"""')[2]))
    assert scenario.name == "mine"
    assert scenario.title == "mine"  # no docstring: its name
    assert scenario.faults == {FaultKind.CUT}
    assert load_scenario(write(tmp_path / "titled")).title == "Shows something."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def scenario(cluster): pass\n", "has no `async def scenario(cluster)`"),
        ("async def scenario(): pass\n", "has no `async def scenario(cluster)`"),
        ("async def scenario(cluster):\n  if\n", "scenario.py:2: invalid syntax"),
        ("import nothing_of_that_name\n", "does not load: ModuleNotFoundError: No module named"),
        ("FAULTS = ('crash',)\n" + BODY, "FAULTS holds something that is no FaultKind"),
    ],
)
def test_file_that_is_no_scenario(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        load_scenario(write(tmp_path / "bad", text))
    assert message in caught.value.message
    assert caught.value.hint


async def raised_by(tmp_path: Path, body: str) -> MnlabError:
    """What becomes of an exception that a scenario of this body raises."""
    text = f"from emulator import ExpectationFailed\n\nasync def scenario(cluster):\n    {body}\n"
    scenario: Scenario = load_scenario(write(tmp_path / "mine", text))
    try:
        await scenario.body(cluster_of(pair_text(), tmp_path))  # which the bodies do not touch
    except Exception as error:
        return blame(error, scenario.folder)
    raise AssertionError("it did not raise")


async def test_failed_expectation_shows_the_scenarios_line(tmp_path: Path) -> None:
    error = await raised_by(
        tmp_path, "raise ExpectationFailed('no notice', details=('seen: nothing',))"
    )
    assert isinstance(error, ExpectationFailed)
    assert error.details[0] == "seen: nothing"
    assert error.details[1].endswith(
        "mine/scenario.py:4: raise ExpectationFailed('no notice', details=('seen: nothing',))"
    )
    assert len(error.details) == 2


async def test_failed_assertion_is_a_verdict(tmp_path: Path) -> None:
    error = await raised_by(tmp_path, "assert 1 + 1 == 3")
    assert isinstance(error, VerdictFailure)
    assert error.message == "assertion failed: 1 + 1 == 3"
    assert error.exit_code == 1


async def test_failed_assertion_with_a_message(tmp_path: Path) -> None:
    error = await raised_by(tmp_path, "assert False, 'b is not newer'")
    assert error.message == "assertion failed: b is not newer"


async def test_mistake_in_the_scenario_shows_its_own_line(tmp_path: Path) -> None:
    error = await raised_by(tmp_path, "{}['b']")
    assert isinstance(error, ScenarioError)
    assert error.message == "the scenario raised KeyError: 'b'"
    assert [line.split(": ", 1)[1] for line in error.details] == ["{}['b']"]


async def test_bug_below_the_scenario_shows_everything(tmp_path: Path) -> None:
    error = await raised_by(tmp_path, "import json; json.loads('{')")
    assert error.message.startswith("the scenario ended in JSONDecodeError")
    assert any("json/decoder.py" in line for line in error.details)
    assert "report" in error.hint


def test_group_of_one_is_its_error(tmp_path: Path) -> None:
    inner = UsageError("wrong", hint="right")
    assert blame(ExceptionGroup("tasks", [inner]), tmp_path) is inner
    assert first_error(ExceptionGroup("a", [inner])) is inner
