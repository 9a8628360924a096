# SPDX-License-Identifier: MIT
"""The firmware's own suites, in guests: its machine layer on each architecture, its PHY drivers between two."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from emulator.model import Arch

FIRMWARE = Path(__file__).resolve().parents[2] / "firmware"
# The suites bound each of their own cases; these are for a machine that does much else.
BUILD_WITHIN_S = 120
SUITE_WITHIN_S = 240

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.slow,
    pytest.mark.usefixtures("real_machines"),
    pytest.mark.timeout(BUILD_WITHIN_S + SUITE_WITHIN_S),
]


def run_suite(image: str, script: str, arches: list[str]) -> subprocess.CompletedProcess[str]:
    """Build the images of a suite and run it."""
    built = subprocess.run(
        ["make", "-s", f"-j{os.cpu_count()}", "-C", str(FIRMWARE), image],
        capture_output=True,
        text=True,
        timeout=BUILD_WITHIN_S,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return subprocess.run(
        [sys.executable, str(FIRMWARE / "tests" / "guest" / script), *arches],
        capture_output=True,
        text=True,
        timeout=SUITE_WITHIN_S,
        cwd=FIRMWARE.parent,
        check=False,
    )


@pytest.mark.parametrize("arch", list(Arch), ids=lambda arch: arch.value)
def test_machine_layer(arch: Arch) -> None:
    ended = run_suite("selftest", "run.py", [arch.value])
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.splitlines()[-1] == "all passed"


@pytest.mark.parametrize("pair", [["x86_64", "aarch64"], ["aarch64_be", "riscv32"]], ids="-".join)
def test_phy_drivers(pair: list[str]) -> None:
    ended = run_suite("phystest", "phys/run.py", pair)
    assert ended.returncode == 0, ended.stdout + ended.stderr
