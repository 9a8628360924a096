# SPDX-License-Identifier: MIT
"""Firmware images with nothing in them: an ELF header that names its architecture."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

from emulator.machines.machine import MACHINES
from emulator.model import Arch

_E_MACHINE: Final = {"EM_X86_64": 62, "EM_AARCH64": 183, "EM_RISCV": 243}  # elf.h


def write_fake_image(path: Path, arch: Arch) -> Path:
    """Write an image for an architecture. Returns its path."""
    elf = MACHINES[arch].elf
    wide = elf.bits == 64
    identity = b"\x7fELF" + bytes((2 if wide else 1, 2 if elf.big_endian else 1, 1)) + bytes(9)
    layout = (">" if elf.big_endian else "<") + ("HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH")
    size = 64 if wide else 52
    header = struct.pack(layout, 2, _E_MACHINE[elf.machine], 1, *(0,) * 4, size, *(0,) * 5)
    path.write_bytes(identity + header)
    return path


def fake_images(folder: Path) -> dict[Arch, Path]:
    """An image for every architecture."""
    return {arch: write_fake_image(folder / f"{arch.value}.elf", arch) for arch in Arch}
