# SPDX-License-Identifier: MIT
"""What this machine can do: programs, images, memory; and each machine booted once to be sure.

Nothing is changed and nothing is guessed: a program is asked for its version, a memfd is made, a
machine is booted until its kernel says that it is ready. Each thing that is missing comes with how
to get it.
"""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import sys
import tempfile
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from emulator.errors import MnlabError
from emulator.machines.image import find_image
from emulator.machines.machine import MACHINES, Machine
from emulator.model import NodeId, NodeSpec, Topology
from emulator.runtime.cluster import Cluster, RunOptions
from emulator.scenario.blame import first_error

PYTHON_OLDEST = (3, 11)
CORES_WANTED = 2
MEMORY_WANTED_BYTES = 1 << 30
VERSION_WITHIN_S = 10.0
BOOT_WITHIN_S = 15.0

_BUILD_TOOLS = {"clang": "clang", "ld.lld": "lld", "llvm-objcopy": "llvm", "make": "make"}


class Finding(Enum):
    """How something stands."""

    GOOD = "good"
    NOTE = "note"  # worth knowing, nothing to do
    WANTED = "wanted"  # needed for some tasks only
    MISSING = "missing"  # nothing runs without it


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing looked at.

    Args:
        name: what.
        finding: how it stands.
        said: what was found.
        remedy: how to get it; empty when it is there.
    """

    name: str
    finding: Finding
    said: str
    remedy: str = ""


async def examine() -> tuple[Check, ...]:
    """Look at everything.

    Returns:
        One check for each thing, in the order to read them.
    """
    checks = [_python(), _cores(), _memory(), _memfd()]
    checks += [await _program("setpriv", "util-linux", Finding.MISSING)]
    for program, package in _BUILD_TOOLS.items():
        checks.append(await _program(program, package, Finding.WANTED))
    for machine in MACHINES.values():
        said = {check.name for check in checks}  # two machines may share a program
        checks += [check for check in await _machine(machine) if check.name not in said]
    checks.append(_accelerator())
    return tuple(checks)


def _python() -> Check:
    said = f"{platform.python_implementation()} {platform.python_version()}"
    if sys.version_info < PYTHON_OLDEST:
        oldest = ".".join(map(str, PYTHON_OLDEST))
        return Check(
            name="python",
            finding=Finding.MISSING,
            said=said,
            remedy=f"install Python {oldest} or newer: apt-get install python3 (Debian 12)",
        )
    return Check(name="python", finding=Finding.GOOD, said=said)


def _cores() -> Check:
    count = len(os.sched_getaffinity(0))
    if count < CORES_WANTED:
        return Check(
            name="cores",
            finding=Finding.WANTED,
            said=str(count),
            remedy=f"give the machine {CORES_WANTED}: two polling nodes on one core wait for each "
            "other's time slices, and figures mean nothing",
        )
    return Check(name="cores", finding=Finding.GOOD, said=str(count))


def _memory() -> Check:
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    said = f"{free / (1 << 30):.1f} GiB free"
    if free < MEMORY_WANTED_BYTES:
        return Check(
            name="memory",
            finding=Finding.WANTED,
            said=said,
            remedy="a node takes 32 MiB of RAM and 30 MB for its QEMU: close something",
        )
    return Check(name="memory", finding=Finding.GOOD, said=said)


def _memfd() -> Check:
    try:
        os.close(os.memfd_create("mnlab-doctor", os.MFD_CLOEXEC))
    except OSError as error:
        return Check(
            name="memfd",
            finding=Finding.MISSING,
            said=f"memfd_create: {error.strerror}",
            remedy="allow memfd_create in this container: guest memory and cables are made of it",
        )
    return Check(name="memfd", finding=Finding.GOOD, said="works")


async def _program(program: str, package: str, absent: Finding) -> Check:
    path = shutil.which(program)
    if path is None:
        return Check(
            name=program,
            finding=absent,
            said="not found",
            remedy=f"apt-get install {package}",
        )
    return Check(name=program, finding=Finding.GOOD, said=await _version(path))


async def _version(path: str) -> str:
    """The first line a program prints when asked for its version, else its path."""
    process = await asyncio.create_subprocess_exec(
        path,
        "--version",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(VERSION_WITHIN_S):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return path
    lines = output.decode("utf-8", "replace").splitlines()
    return lines[0].strip() if lines else path


async def _machine(machine: Machine) -> list[Check]:
    program = await _program(machine.qemu_binary, machine.debian_package, Finding.MISSING)
    image = _image(machine)
    checks = [program, image]
    if Finding.MISSING not in (program.finding, image.finding):
        checks.append(await _boot(machine))
    return checks


def _image(machine: Machine) -> Check:
    name = f"image {machine.arch.value}"
    try:
        path = find_image(machine)
    except MnlabError as error:
        return Check(name=name, finding=Finding.MISSING, said=error.message, remedy=error.hint)
    return Check(name=name, finding=Finding.GOOD, said=str(path))


async def _boot(machine: Machine) -> Check:
    """Boot one node without links until its kernel is ready, then take it down."""
    name = f"boot {machine.arch.value}"
    node = NodeSpec(name="doctor", id=NodeId(1), arch=machine.arch)
    topology = Topology(name="doctor", seed=1, nodes=(node,), links=())
    clock = asyncio.get_running_loop().time
    with tempfile.TemporaryDirectory(prefix="mnlab-doctor-") as folder:
        options = RunOptions(runs_path=Path(folder), boot_within_s=BOOT_WITHIN_S)
        began_s = took_s = clock()
        failure: MnlabError | None = None
        try:
            async with Cluster.from_topology(topology, options=options):
                took_s = clock() - began_s
        except* MnlabError as group:
            failure = first_error(group)
    if failure is not None:
        remedy = failure.hint or "see what the machine said: mnlab run scenarios/pair"
        return Check(name=name, finding=Finding.MISSING, said=failure.message, remedy=remedy)
    return Check(name=name, finding=Finding.GOOD, said=f"ready after {took_s:.2f} s")


def _accelerator() -> Check:
    there = Path("/dev/kvm").exists()
    said = "TCG, QEMU's own translator; every architecture runs on it"
    if there:
        said += "; /dev/kvm is there and not used: that it opens does not show that it is fast"
    return Check(name="accelerator", finding=Finding.NOTE, said=said)
