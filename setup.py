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
    "phy_ivshmem",
    "phy_virtio_serial",
    "phy_ivshmem_faulty",
)
FILES = {  # what is installed below emulator/_images/, and the target that builds it
    **{f"{arch}/kernel.elf": "all" for arch in ARCHES},
    **{f"{arch}/servers/{name}.kern_server": "all" for arch in ARCHES for name in SERVERS},
    "host/libmnlab_core.so": "host",
    "host/libmnlab_sim.so": "sim",
}


class BuildWithFirmware(build_py):
    """The usual build, and the firmware as package data."""

    def run(self) -> None:
        """Build, then add the firmware."""
        super().run()
        if self.editable_mode:
            return
        for file, target in FILES.items():
            place = Path(self.build_lib) / "emulator" / "_images" / file
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(_found_or_built(file, target), place)


class PlatformDistribution(Distribution):
    """A package that holds a library of this machine is for no other."""

    def has_ext_modules(self) -> bool:
        """Whether the wheel's name says for which machine it is."""
        return True


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
