# SPDX-License-Identifier: MIT
"""Puts the firmware images into the package when it is built; all else is in pyproject.toml.

An image that is there already (`emulator/_images/` of a source archive, `firmware/build/` of a
checkout) is used; otherwise the firmware is built, which needs clang, lld and make. An editable
installation needs none: it finds the images of its checkout when it runs.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.errors import SetupError

ROOT = Path(__file__).resolve().parent
ARCHES = ("x86_64", "aarch64", "riscv64")
IMAGE = "kernel.elf"
PACKAGES = "clang lld llvm make"


class BuildWithImages(build_py):
    """The usual build, and the firmware images as package data."""

    def run(self) -> None:
        """Build, then add the images."""
        super().run()
        if self.editable_mode:
            return
        for arch in ARCHES:
            target = Path(self.build_lib) / "emulator" / "_images" / arch / IMAGE
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(_image(arch), target)


def _image(arch: str) -> Path:
    candidates = (
        ROOT / "emulator" / "_images" / arch / IMAGE,
        ROOT / "firmware" / "build" / arch / IMAGE,
    )
    for path in candidates:
        if path.is_file():
            return path
    _build()
    if not candidates[-1].is_file():
        raise SetupError(f"the firmware was built, but {candidates[-1]} is not there")
    return candidates[-1]


def _build() -> None:
    try:
        subprocess.run(["make", "-C", str(ROOT / "firmware")], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SetupError(
            f"the firmware images could not be built ({error}). On Debian: apt-get install {PACKAGES}"
        ) from error


setup(cmdclass={"build_py": BuildWithImages})
