# SPDX-License-Identifier: MIT
"""The package as it is built: prebuilt firmware is taken, its absence is explained, and servers can
be made with what is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from emulator.config import KERNEL_SERVERS
from emulator.config.topology_file import LINK_DRIVERS
from emulator.loader.kernel import KernelImage
from emulator.loader.object import ServerObject
from emulator.machines.machine import MACHINES
from emulator.model import Arch

ROOT = Path(__file__).parents[3]
ARCHES = ("x86_64", "aarch64", "riscv64", "aarch64_be", "riscv32")
DRIVERS = ("phy_ivshmem", "phy_virtio_serial", "phy_ivshmem_faulty")
SERVERS = ("node", *KERNEL_SERVERS, *LINK_DRIVERS, *DRIVERS)  # whatever a topology can name, too
FIRMWARE = (
    *(
        f"{arch}/{name}"
        for arch in ARCHES
        for name in ("kernel.elf", "exports.list", "server.flags")
    ),
    *(f"{arch}/servers/{name}.kern_server" for arch in ARCHES for name in SERVERS),
    "host/libmnlab_core.so",
    "host/libmnlab_sim.so",
)
KIT = ("kit/include/kernel/kern_server.h", "kit/tools/imports.py")
EXAMPLE = ROOT / "docs" / "guide" / "phy_mailbox"


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
    for name in (*FIRMWARE, *KIT):
        file = source / "emulator" / "_images" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    done = build(source)
    assert done.returncode == 0, done.stderr
    (library,) = (source / "build").glob("lib*")
    assert (library / "mnlab.py").is_file()
    for name in (*FIRMWARE, *KIT):
        assert (library / "emulator" / "_images" / name).read_text() == name


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_firmware_that_cannot_be_built_names_the_packages(source: Path) -> None:
    done = build(source)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "the firmware could not be built" in last
    assert "apt-get install clang lld llvm make" in last


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.usefixtures("real_machines")
def test_an_installed_package_makes_servers(source: Path, tmp_path: Path) -> None:
    """The guide's driver, from what `pip install` would put there, with no checkout in sight."""
    (source / "firmware").symlink_to(ROOT / "firmware")
    done = build(source)
    assert done.returncode == 0, done.stderr
    (library,) = (source / "build").glob("lib*")
    installed = library.rename(tmp_path / "installed")
    images = installed / "emulator" / "_images"
    assert not [name for name in FIRMWARE if not (images / name).is_file()]
    work = tmp_path / "work"
    shutil.copytree(EXAMPLE, work)
    words = [
        *("-n", "phy_mailbox", "-i", "kern_server_self", "-o", "phy_mailbox.kern_server"),
        *("-l", "phy_mailbox.load", "-u", "phy_mailbox.unload"),
        *(word for arch in ARCHES for word in ("-arch", arch)),
        *("phy_mailbox.c", *(f"phys/ivshmem/{name}.c" for name in ("cable", "device", "ring"))),
    ]
    made = subprocess.run(
        [sys.executable, "-m", "emulator.cli.kl_ld", *words],
        cwd=work,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    for arch in Arch:
        path = work / f"phy_mailbox.{arch.value}.kern_server"
        server = ServerObject.read(path.read_bytes(), kind=MACHINES[arch].elf, source=path.name)
        kernel = KernelImage.read(images / arch.value / "kernel.elf")
        assert server.link(min(item.address for item in kernel.exports.values()), kernel)
        assert str(ROOT).encode() not in path.read_bytes()
