# SPDX-License-Identifier: MIT
"""Firmware images with nothing in them: an ELF header that names its architecture."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

from emulator.model import Arch

_E_MACHINE: Final = {Arch.X86_64: 62, Arch.AARCH64: 183, Arch.RISCV64: 243}  # elf.h


def write_fake_image(path: Path, arch: Arch) -> Path:
    """Write an image for an architecture. Returns its path."""
    identity = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack("<HHIQQQIHHHHHH", 2, _E_MACHINE[arch], 1, 0, 0, 0, 0, 64, 0, 0, 0, 0, 0)
    path.write_bytes(identity + header)
    return path


def fake_images(folder: Path) -> dict[Arch, Path]:
    """An image for every architecture."""
    return {arch: write_fake_image(folder / f"{arch.value}.elf", arch) for arch in Arch}
