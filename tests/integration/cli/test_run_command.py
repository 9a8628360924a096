# SPDX-License-Identifier: MIT
"""`mnlab run` on real machines, as a user meets it: exit codes, what is printed, what is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.checkers import check_run, read_events
from emulator.events.types import Outcome

pytestmark = [pytest.mark.qemu, pytest.mark.timeout(240)]

ROOT = Path(__file__).parents[3]
TOPOLOGY = (ROOT / "scenarios" / "pair" / "topology.toml").read_text()
HEAD = '"""A test."""\nfrom emulator import Cluster, DeathNotice, FaultKind\n'
BODY = "async def scenario(cluster: Cluster) -> None:\n"
# Whoever runs these tests in the background made us ignore what Ctrl-C sends.
INTERRUPTIBLE = ["env", "--default-signal=INT", sys.executable, "-m", "emulator.cli.main"]
PING = "    await cluster.node('a').ping(cluster.node('b'))\n"


def write(folder: Path, body: str, head: str = HEAD) -> Path:
    """A scenario on the pair."""
    folder.mkdir()
    (folder / "topology.toml").write_text(TOPOLOGY)
    (folder / "scenario.py").write_text(head + BODY + body)
    return folder


def mnlab(
    folder: Path, *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "emulator.cli.main", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def machines(folder: Path) -> Iterator[str]:
    """Command lines of machines that run with their console in a folder."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes().decode("utf-8", "replace")
        except OSError:
            continue
        if "qemu-system" in words and str(folder) in words:
            yield words


def test_pass_prints_a_verdict_for_each_invariant(tmp_path: Path) -> None:
    run = mnlab(tmp_path, "run", str(ROOT / "scenarios" / "pair"))
    assert run.returncode == 0, run.stdout + run.stderr
    lines = run.stdout.splitlines()
    assert lines[0].startswith("pair: Two nodes boot")
    assert any(line.endswith("every link up after 0") or "every link up" in line for line in lines)
    assert [line.split()[0] for line in lines if line.startswith("I")][-1] == "I15"
    assert lines[-1].startswith("PASS  pair, seed 1, ")
    assert run.stderr == ""


def test_json_is_all_that_is_printed(tmp_path: Path) -> None:
    run = mnlab(tmp_path, "run", str(ROOT / "scenarios" / "pair"), "--seed", "7", "--json")
    (result,) = json.loads(run.stdout)
    assert (result["outcome"], result["exit_code"], result["seed"]) == ("pass", 0, 7)
    assert result["error"] is None
    assert {verdict["invariant"] for verdict in result["verdicts"]} >= {"I1", "I2", "I3", "I15"}
    recorded = check_run(read_events(tmp_path / result["folder"]))
    assert [v.outcome.value for v in recorded] == [v["outcome"] for v in result["verdicts"]]


def test_repeat_counts_the_seed_up(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", PING)
    run = mnlab(tmp_path, "run", str(folder), "--repeat", "2", "--json")
    assert [result["seed"] for result in json.loads(run.stdout)] == [1, 2]


def test_failed_expectation(tmp_path: Path) -> None:
    body = PING + "    await cluster.expect(DeathNotice, node='a', of='b', within_s=0.01)\n"
    run = mnlab(tmp_path, "run", str(write(tmp_path / "mine", body)))
    assert run.returncode == 1
    assert run.stderr.startswith("mnlab: no DeathNotice(node=a, of=b) within 0.01 s\n")
    own = [line for line in run.stderr.splitlines() if ".py:" in line]
    assert len(own) == 1
    assert "mine/scenario.py:5: await cluster.expect(" in own[0]
    assert "Traceback" not in run.stdout + run.stderr
    folder = next(line for line in run.stdout.splitlines() if line.startswith("run folder: "))
    assert Path(folder.removeprefix("run folder: "), "events.jsonl").is_file()
    assert run.stdout.splitlines()[-1] == f"run it again: mnlab run {tmp_path}/mine --seed 1"


def test_broken_invariant_shows_what_led_to_it(tmp_path: Path) -> None:
    body = PING + "    await cluster.node('b').traffic(to=cluster.node('a'), rate_hz=1000)\n"
    run = mnlab(tmp_path, "run", str(write(tmp_path / "mine", body)))
    assert run.returncode == 1
    assert "I3: stream 1 b->a: was never stopped" in run.stdout
    assert "I3: the last events of a" in run.stdout


def test_run_in_which_nothing_flowed_fails(tmp_path: Path) -> None:
    run = mnlab(tmp_path, "run", str(write(tmp_path / "mine", "    pass\n")))
    assert run.returncode == 1
    assert "I15: no message flowed in this run" in run.stdout


def test_fault_that_never_happened_fails(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", PING, HEAD + "FAULTS = (FaultKind.CRASH,)\n")
    run = mnlab(tmp_path, "run", str(folder))
    assert run.returncode == 1
    assert "the scenario is about crash, which never happened" in run.stdout


def test_machine_that_ends_by_itself_fails(tmp_path: Path) -> None:
    body = (
        "    import os, signal\n    b = cluster.node('b')\n"
        + PING
        + ("    os.kill(b.pid, signal.SIGKILL)\n    await b.wait_exited()\n")
    )
    run = mnlab(tmp_path, "run", str(write(tmp_path / "mine", body)))
    assert run.returncode == 1
    assert "b was killed by signal 9 (SIGKILL), unasked" in run.stdout


def test_scenario_that_exits(tmp_path: Path) -> None:
    run = mnlab(tmp_path, "run", str(write(tmp_path / "mine", PING + "    raise SystemExit(5)\n")))
    assert run.returncode == 2
    assert "mnlab: the scenario raised SystemExit: 5" in run.stderr
    assert not list(machines(tmp_path))


def test_scenario_that_raises(tmp_path: Path) -> None:
    run = mnlab(tmp_path, "run", str(write(tmp_path / "mine", PING + "    {}['b']\n")))
    assert run.returncode == 2
    assert "mnlab: the scenario raised KeyError: 'b'" in run.stderr
    assert not list(machines(tmp_path))


def test_missing_qemu(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", PING)
    run = mnlab(tmp_path, "run", str(folder), environment={"PATH": str(tmp_path)})
    assert run.returncode == 3
    assert "ERROR  mine, seed 1, 0.0 s" in run.stdout
    assert "qemu-system-" in run.stderr
    assert "apt-get install qemu-system-" in run.stderr
    assert "Traceback" not in run.stderr


def test_console_while_it_runs_and_interrupted(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "mine", PING + "    await cluster.node('a').wait_exited(within_s=40)\n"
    )
    with subprocess.Popen(
        [*INTERRUPTIBLE, "run", str(folder)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            if "ping b" in line:
                break
        assert list(machines(tmp_path))
        attached = subprocess.run(
            [sys.executable, "-m", "emulator.cli.main", "console", "b"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            input="\x1d",
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert attached.returncode == 0, attached.stderr
        assert attached.stderr.startswith("console of b at /dev/pts/")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=100)
    assert process.returncode == 130
    assert said == "mnlab: interrupted; everything it started was taken down\n"
    assert not list(machines(tmp_path))


def test_interrupted_repetition_says_what_came_of_the_runs_before(tmp_path: Path) -> None:
    command = [*INTERRUPTIBLE, "run", str(ROOT / "scenarios" / "pair"), "--repeat", "50"]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith("2 of 50, pair: "):
            pass
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "1 of 1 runs passed, 49 not run to their end"
    assert not list(machines(tmp_path))


def test_two_runs_beside_each_other(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "emulator.cli.main", "run", str(ROOT / "scenarios" / "pair")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    both = [
        subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
        for _ in range(2)
    ]
    assert [process.wait(timeout=200) for process in both] == [0, 0]
    folders = list((tmp_path / "runs").iterdir())
    assert len(folders) == 2
    for folder in folders:
        assert Outcome.FAIL not in {verdict.outcome for verdict in check_run(read_events(folder))}
