# SPDX-License-Identifier: MIT
"""pytest collects scenario folders and runs `async def` tests, as a user of the package meets it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest with the plugin in a folder, without the other plugins for async tests."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "emulator.pytest_plugin", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def scenario(folder: Path, body: str) -> None:
    """A scenario on the pair."""
    folder.mkdir()
    shutil.copy(ROOT / "scenarios" / "pair" / "topology.toml", folder)
    (folder / "scenario.py").write_text(f"async def scenario(cluster):\n    {body}\n")


@pytest.mark.qemu
@pytest.mark.timeout(240)
def test_scenarios_are_tests(tmp_path: Path) -> None:
    scenario(tmp_path / "good", "await cluster.node('a').ping(cluster.node('b'))")
    scenario(tmp_path / "bad", "assert cluster.node('a').launch == 2")
    (tmp_path / "no_topology").mkdir()
    (tmp_path / "no_topology" / "scenario.py").write_text("raise RuntimeError\n")
    run = run_pytest(tmp_path, "-v")
    assert run.returncode == 1, run.stdout
    assert "good/scenario.py::good PASSED" in run.stdout
    assert "bad/scenario.py::bad FAILED" in run.stdout
    assert "no_topology" not in run.stdout
    assert "FAIL bad, seed 1: assertion failed: cluster.node('a').launch == 2" in run.stdout
    assert "run it again: mnlab run" in run.stdout
    assert "emulator/runtime" not in run.stdout


def test_scenario_that_does_not_load_is_one_line(tmp_path: Path) -> None:
    scenario(tmp_path / "broken", "pass")
    (tmp_path / "broken" / "scenario.py").write_text("def scenario(cluster): pass\n")
    run = run_pytest(tmp_path)
    assert run.returncode == 1
    assert "broken/scenario.py has no `async def scenario(cluster)`" in run.stdout
    assert "Traceback" not in run.stdout


def test_async_tests_are_run(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(
        "import asyncio\n"
        "async def test_good(tmp_path):\n    await asyncio.sleep(0); assert tmp_path\n"
        "async def test_bad():\n    assert await asyncio.sleep(0, 1) == 2\n"
    )
    run = run_pytest(tmp_path)
    assert run.returncode == 1
    assert "1 failed, 1 passed" in run.stdout
