# SPDX-License-Identifier: MIT
"""The package as it is built: prebuilt firmware is taken, and its absence is explained."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ARCHES = ("x86_64", "aarch64", "riscv64", "aarch64_be", "riscv32")
SERVERS = ("echo", "fault", "traffic", "raw_ring", "hostile")
DRIVERS = ("phy_ivshmem", "phy_virtio_serial", "phy_ivshmem_faulty")
FIRMWARE = (
    *(f"{arch}/kernel.elf" for arch in ARCHES),
    *(f"{arch}/servers/{name}.kern_server" for arch in ARCHES for name in (*SERVERS, *DRIVERS)),
    "host/libmnlab_core.so",
    "host/libmnlab_sim.so",
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The sources of the package, without the firmware's."""
    place = tmp_path / "source"
    shutil.copytree(
        ROOT / "emulator",
        place / "emulator",
        ignore=shutil.ignore_patterns("_images", "__pycache__"),
    )
    for name in ("mnlab.py", "setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, place)
    return place


def build(source: Path) -> subprocess.CompletedProcess[str]:
    """Build the package in place, as pip does it, but without fetching anything."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "setup.py", "-q", "build_py"],
        cwd=source,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_prebuilt_firmware_is_taken(source: Path) -> None:
    for name in FIRMWARE:
        file = source / "emulator" / "_images" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    done = build(source)
    assert done.returncode == 0, done.stderr
    (library,) = (source / "build").glob("lib*")
    assert (library / "mnlab.py").is_file()
    for name in FIRMWARE:
        assert (library / "emulator" / "_images" / name).read_text() == name


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_firmware_that_cannot_be_built_names_the_packages(source: Path) -> None:
    done = build(source)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "the firmware could not be built" in last
    assert "apt-get install clang lld llvm make" in last
