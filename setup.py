# SPDX-License-Identifier: MIT
"""Puts the firmware into the package when it is built; all else is in pyproject.toml.

The images of the guests, and the same core as a library of this machine. What is there already
(`emulator/_images/` of a source archive, `firmware/build/` of a checkout) is used; otherwise it is
built, which needs clang, lld and make. An editable installation needs none: it finds what its
checkout has built when it runs.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py
from setuptools.errors import SetupError

ROOT = Path(__file__).resolve().parent
PACKAGES = "clang lld llvm make libc6-dev"
ARCHES = ("x86_64", "aarch64", "riscv64", "aarch64_be", "riscv32")
SERVERS = (
    "node",
    "echo",
    "fault",
    "traffic",
    "raw_ring",
    "hostile",
    "mnl_ring",
    "phy_ivshmem",
    "phy_virtio_serial",
    "phy_ivshmem_faulty",
)
FILES = {  # what is installed below emulator/_images/, and the target that builds it
    **{f"{arch}/kernel.elf": "all" for arch in ARCHES},
    **{f"{arch}/{name}": "all" for arch in ARCHES for name in ("exports.list", "server.flags")},
    **{f"{arch}/servers/{name}.kern_server": "all" for arch in ARCHES for name in SERVERS},
    "host/libmnlab_core.so": "host",
    "host/libmnlab_sim.so": "sim",
}
KIT = (  # what servers are built with besides (emulator/loader/kit.py), installed below emulator/_images/kit/
    "include/**/*.h",
    "arch/*/include/**/*.h",
    "arch/generic/server_object.S",
    "phys/**/*.[ch]",
    "servers/record.*",
    "tools/imports.py",
)


class BuildWithFirmware(build_py):
    """The usual build, and the firmware as package data."""

    def run(self) -> None:
        """Build, then add the firmware."""
        super().run()
        if self.editable_mode:
            return
        installed = Path(self.build_lib) / "emulator" / "_images"
        for file, target in FILES.items():
            _copy(_found_or_built(file, target), installed / file)
        for file, path in _kit().items():
            _copy(path, installed / "kit" / file)


class PlatformDistribution(Distribution):
    """A package that holds a library of this machine is for no other."""

    def has_ext_modules(self) -> bool:
        """Whether the wheel's name says for which machine it is."""
        return True


def _copy(path: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, place)


def _kit() -> dict[str, Path]:
    """The kit's files by their names in it."""
    shipped = ROOT / "emulator" / "_images" / "kit"
    folder = shipped if shipped.is_dir() else ROOT / "firmware"
    found = (path for pattern in KIT for path in folder.glob(pattern))
    return {str(path.relative_to(folder)): path for path in found}


def _found_or_built(file: str, target: str) -> Path:
    shipped = ROOT / "emulator" / "_images" / file
    built = ROOT / "firmware" / "build" / file
    for path in (shipped, built):
        if path.is_file():
            return path
    try:
        subprocess.run(["make", "-C", str(ROOT / "firmware"), target], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SetupError(
            f"the firmware could not be built ({error}). On Debian: apt-get install {PACKAGES}"
        ) from error
    return built


setup(cmdclass={"build_py": BuildWithFirmware}, distclass=PlatformDistribution)
