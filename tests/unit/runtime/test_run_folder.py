# SPDX-License-Identifier: MIT
"""Run folders: one a run, and what a killed tool leaves is swept."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from emulator.config import parse_topology
from emulator.errors import HostError
from emulator.runtime.run_folder import OWNER, PROCESS, RunFolder, process_stamp, writing
from emulator.runtime.sweep import sweep

TOPOLOGY = parse_topology('[[node]]\nname = "a"\narch = "x86_64"\n', source="")


def test_two_runs_at_once_have_two_folders(tmp_path: Path) -> None:
    first, second = (RunFolder.create(tmp_path, "pair") for _ in range(2))
    assert first.path != second.path
    assert first.path.name.split("-")[2:] == ["pair", str(os.getpid())]


def test_start_is_recorded(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "pair")
    folder.write_start(TOPOLOGY, seed=9)
    record = json.loads((folder.path / "run.json").read_text(encoding="utf-8"))
    assert record["seed"] == 9
    assert record["pid"] == os.getpid()
    assert set(record["versions"]) == {"mnlab", "python", "kernel"}


def test_place_that_cannot_be_written(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(HostError) as caught:
        RunFolder.create(blocker, "pair")
    assert caught.value.message == f"{blocker}: cannot be written: File exists"
    assert caught.value.hint == "choose another place with --runs"


def test_full_disk() -> None:
    full = Path("/dev/full")
    with pytest.raises(HostError) as caught, writing(full):
        full.write_text("x")
    assert caught.value.message == "/dev/full: cannot be written: No space left on device"
    assert caught.value.hint == "free space there, or choose another place with --runs"


def test_stamp_of_nobody() -> None:
    with pytest.raises(ProcessLookupError):
        process_stamp(2**22 + 1)


def test_folders_of_others_are_left_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(_path: Path, _pattern: str) -> list[Path]:
        raise PermissionError

    monkeypatch.setattr(Path, "glob", forbidden)
    assert sweep(tmp_path) == []


def left_behind(runs: Path, owner: str, process: str) -> Path:
    """A run folder as a killed tool leaves it."""
    folder = RunFolder.create(runs, "left")
    (folder.path / OWNER).write_text(owner)
    launch = folder.launch_folder("a", 1)
    (launch / PROCESS).write_text(process)
    folder.pty_path("a").write_text("/dev/pts/9\n")
    return folder.path


@pytest.fixture
def machine() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "60"])


def end(machine: subprocess.Popen[bytes]) -> None:
    machine.kill()
    machine.wait()


def test_machine_of_a_dead_tool_is_killed(tmp_path: Path, machine: subprocess.Popen[bytes]) -> None:
    path = left_behind(tmp_path, "4194305 1\n", process_stamp(machine.pid) + "\n")
    assert sweep(tmp_path) == [machine.pid]
    assert machine.wait(5) == -9
    assert not (path / OWNER).exists()
    assert not (path / "nodes" / "a" / "console.pty").exists()
    assert sweep(tmp_path) == []


def test_machine_of_a_living_tool_is_left_alone(
    tmp_path: Path, machine: subprocess.Popen[bytes]
) -> None:
    path = left_behind(tmp_path, process_stamp(os.getpid()), process_stamp(machine.pid))
    assert sweep(tmp_path) == []
    assert machine.poll() is None
    assert (path / OWNER).exists()
    end(machine)


def test_other_process_of_the_same_number_is_left_alone(
    tmp_path: Path, machine: subprocess.Popen[bytes]
) -> None:
    left_behind(tmp_path, "4194305 1", f"{machine.pid} 1")
    assert sweep(tmp_path) == []
    assert machine.poll() is None
    end(machine)


@pytest.mark.parametrize("text", ["", "x y", "-1 5", "1"])
def test_garbage_records_harm_nobody(tmp_path: Path, text: str) -> None:
    left_behind(tmp_path, text, text)
    assert sweep(tmp_path) == []


def test_finished_run_is_not_swept(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "done")
    folder.finish()
    assert sweep(tmp_path) == []
    assert folder.path.exists()
