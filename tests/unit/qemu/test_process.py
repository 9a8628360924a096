# SPDX-License-Identifier: MIT
"""Processes: started, watched, killed; dead with their parent."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from emulator.errors import HostError, LaunchError
from emulator.qemu.command import PARENT_DEATH_PREFIX
from emulator.qemu.process import MachineProcess


async def test_exit_is_told_in_the_step_it_is_noticed(tmp_path: Path) -> None:
    process = MachineProcess.start(("sh", "-c", "exit 3"), descriptors=(), error_log=tmp_path / "e")
    told: list[int] = []
    process.on_exit(told.append)
    assert process.status is None
    assert await process.exited == 3
    assert told == [3]
    assert process.status == 3


async def test_last_words(tmp_path: Path) -> None:
    script = "for i in $(seq 30); do echo line $i; done; echo 'the end' >&2; exit 1"
    process = MachineProcess.start(("sh", "-c", script), descriptors=(), error_log=tmp_path / "e")
    await process.exited
    assert process.last_words(2) == ("line 30", "the end")
    error = process.launch_error("no", "try again")
    assert (error.status, error.argv, error.exit_code) == (1, ("sh", "-c", script), 3)
    assert error.last_words[-1] == "the end"


async def test_missing_program(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="/no/such: cannot be run: No such file"):
        MachineProcess.start(("/no/such",), descriptors=(), error_log=tmp_path / "e")


async def test_log_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="cannot be written"):
        MachineProcess.start(("true",), descriptors=(), error_log=tmp_path / "none" / "e")


async def test_kill(tmp_path: Path) -> None:
    process = MachineProcess.start(("sleep", "60"), descriptors=(), error_log=tmp_path / "e")
    assert await process.end() == -signal.SIGKILL
    process.kill()  # no effect, no error
    assert await process.end() == -signal.SIGKILL


async def test_descriptors_are_passed_under_their_numbers(tmp_path: Path) -> None:
    read, write = os.pipe()
    script = f"echo hello > /proc/self/fd/{write}"
    process = MachineProcess.start(
        ("sh", "-c", script), descriptors=(write,), error_log=tmp_path / "e"
    )
    os.close(write)
    await process.exited
    assert os.read(read, 100) == b"hello\n"
    os.close(read)


async def test_own_process_group(tmp_path: Path) -> None:
    process = MachineProcess.start(("sleep", "60"), descriptors=(), error_log=tmp_path / "e")
    assert os.getpgid(process.pid) == process.pid
    await process.end()


async def test_program_is_named_without_its_prefix(tmp_path: Path) -> None:
    argv = (*PARENT_DEATH_PREFIX, "/bin/sleep", "60")
    process = MachineProcess.start(argv, descriptors=(), error_log=tmp_path / "e")
    assert process.program == "sleep"
    assert process.command_line == "setpriv --pdeathsig KILL -- /bin/sleep 60"
    await process.end()


async def test_child_dies_with_its_parent() -> None:
    prefix = list(PARENT_DEATH_PREFIX)
    parent = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen({prefix!r} + ['sleep', '60'])\n"
        "while open(f'/proc/{child.pid}/comm').read() != 'sleep\\n': pass\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    tool = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE)
    assert tool.stdout is not None
    child = int(tool.stdout.readline())
    watch = os.pidfd_open(child)
    gone = asyncio.Event()
    asyncio.get_running_loop().add_reader(watch, gone.set)
    tool.kill()
    tool.wait()
    tool.stdout.close()
    async with asyncio.timeout(5):
        await gone.wait()
    asyncio.get_running_loop().remove_reader(watch)
    os.close(watch)
