# SPDX-License-Identifier: MIT
"""The command line where no machine is needed: usage, mistakes, exit codes, and what is printed."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import tty
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import mnlab
from emulator.cli.main import EXIT_INTERRUPTED, main
from emulator.console_attach import find_console
from emulator.errors import HostError, TopologyError, UsageError
from emulator.runtime.run_folder import OWNER, PTY, process_stamp

TOPOLOGY = """
[[node]]
name = "a"
arch = "vax"
"""
SCENARIO = "async def scenario(cluster):\n    pass\n"


def fails(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    """Run a command line that is expected to fail."""
    code = main(arguments)
    return code, capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "the following arguments are required: VERB"),
        (["fly"], "VERB: invalid choice: 'fly'"),
        (["run"], "the following arguments are required: SCENARIO"),
        (["run", "pair", "--repeat", "0"], "--repeat: '0' is no count; valid: 1 and up"),
        (["run", "pair", "--seed", "-1"], "--seed: '-1' is no seed; valid: 0 .. 2^63-1"),
        (
            ["bench", "--only", "boot.links"],
            "--only: 'boot.links' is no figure; did you mean 'boot.",
        ),
        (["bench", "--only", "xyz"], "--only: 'xyz' is no figure; valid: boot.links_up_s, "),
    ],
)
def test_wrong_usage(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = fails(arguments, capsys)
    assert code == UsageError.exit_code
    assert len(lines) == 2
    assert lines[0].startswith(f"mnlab: {said}")
    verb = " ".join(["mnlab", *(word for word in arguments[:1] if word != "fly")])
    assert lines[1] == f"       see {verb} --help"


def test_mistake_is_two_lines_and_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, lines = fails(["run", "nothing"], capsys)
    assert code == UsageError.exit_code
    assert lines == [
        "mnlab: no scenario at nothing",
        "       name a folder with scenario.py, or run this where scenarios/ is",
    ]


def test_wrong_topology_is_found_before_anything_boots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scenario.py").write_text(SCENARIO)
    (tmp_path / "topology.toml").write_text(TOPOLOGY)
    code, lines = fails(["run", str(tmp_path)], capsys)
    assert code == TopologyError.exit_code
    assert f"{tmp_path}/topology.toml:4: " in lines[0]
    assert "x86_64" in lines[0]
    assert not (tmp_path / "runs").exists()


def test_help_names_every_verb_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    for word in ("run", "console", "sim", "bench", "doctor", "130 interrupted"):
        assert word in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_termination_is_an_interruption(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def examined() -> None:
        signal.raise_signal(number)

    monkeypatch.setattr("emulator.cli.doctor.examine", examined)
    inherited = signal.signal(number, signal.SIG_DFL)  # nohup ignores SIGHUP
    try:
        code, lines = fails(["doctor"], capsys)
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, inherited)
    assert code == EXIT_INTERRUPTED
    assert lines == ["mnlab: interrupted; everything it started was taken down"]


def test_interruption_while_importing(tmp_path: Path) -> None:
    (tmp_path / "emulator").mkdir()
    (tmp_path / "emulator" / "__init__.py").write_text("raise KeyboardInterrupt\n")
    run = subprocess.run(
        [sys.executable, Path(mnlab.__file__)],
        env={**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == EXIT_INTERRUPTED
    assert run.stderr == "mnlab: interrupted before anything was started\n"


# --- console ---


def live_run(runs: Path, name: str, device: str) -> Path:
    """A run folder as a running tool keeps it: owned by this process."""
    node = runs / name / "nodes" / "a"
    node.mkdir(parents=True)
    (runs / name / OWNER).write_text(process_stamp(os.getpid()) + "\n")
    (node / PTY).write_text(device + "\n")
    return runs / name


def test_console_of_the_newest_run_that_goes_on(tmp_path: Path) -> None:
    live_run(tmp_path, "old", "/dev/pts/1")
    os.utime(tmp_path / "old" / OWNER, (1, 1))
    live_run(tmp_path, "new", "/dev/pts/2")
    dead = live_run(tmp_path, "dead", "/dev/pts/3")
    (dead / OWNER).write_text("1 999999999999\n")
    assert find_console("a", runs_path=tmp_path) == "/dev/pts/2"
    assert find_console("a", runs_path=tmp_path, run=tmp_path / "old") == "/dev/pts/1"


def test_console_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = fails(["console", "a", "--runs", str(tmp_path)], capsys)
    assert code == UsageError.exit_code
    assert lines[0] == f"mnlab: nothing runs in {tmp_path}"


def test_console_of_an_unknown_node(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = live_run(tmp_path, "run", "/dev/pts/1")
    code, lines = fails(["console", "z", "--runs", str(tmp_path)], capsys)
    assert code == UsageError.exit_code
    assert lines == [f"mnlab: no machine of a node z runs in {run}", "       valid: a"]


def test_console_of_a_run_that_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = fails(["console", "a", "--run", str(tmp_path)], capsys)
    assert code == UsageError.exit_code
    assert "is not the folder of a run that goes on" in lines[0]


def test_console_that_is_gone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    live_run(tmp_path, "run", str(tmp_path / "no-pty"))
    code, lines = fails(["console", "a", "--runs", str(tmp_path)], capsys)
    assert code == HostError.exit_code
    assert "cannot be opened" in lines[-2]


def test_console_copies_both_ways_until_it_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, device = pty.openpty()
    tty.setraw(device)  # as QEMU does
    keys_read, keys = os.pipe()
    screen, screen_write = os.pipe()
    live_run(tmp_path, "run", os.ttyname(device))

    def converse() -> bytes:
        os.write(keys, b"hello")
        assert os.read(machine, 100) == b"hello"
        os.write(machine, b"mnlab: node a\r\n")
        said = os.read(screen, 100)
        os.write(keys, b"bye\x1dignored")
        return said

    with (
        os.fdopen(keys_read, "rb", buffering=0) as typed,
        os.fdopen(screen_write, "wb", buffering=0) as shown,
        ThreadPoolExecutor() as threads,
    ):
        monkeypatch.setattr("sys.stdin", typed)
        monkeypatch.setattr("sys.stdout", shown)
        conversation = threads.submit(converse)
        assert main(["console", "a", "--runs", str(tmp_path)]) == 0
        assert conversation.result() == b"mnlab: node a\r\n"
    assert os.read(machine, 100) == b"bye"
    for descriptor in (keys, screen, machine, device):
        os.close(descriptor)
