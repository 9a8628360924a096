# SPDX-License-Identifier: MIT
"""Firmware images: where they are, and whether one is for the machine at hand."""

from __future__ import annotations

from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from emulator.errors import HostError, UsageError
from emulator.machines.built import built_candidates
from emulator.machines.machine import ElfKind, Machine

IMAGE_NAME = "kernel.elf"


def image_candidates(machine: Machine) -> tuple[Path, ...]:
    """Where an image may be, the likeliest first."""
    return built_candidates(machine.arch.value, IMAGE_NAME)


def find_image(machine: Machine) -> Path:
    """The firmware image for a machine.

    Raises:
        HostError: there is none; says where it was looked for.
        UsageError: what is there is no image for this machine.
    """
    candidates = image_candidates(machine)
    for path in candidates:
        if path.is_file():
            check_image(path, machine)
            return path
    raise HostError(
        f"no firmware image for {machine.arch.value}",
        hint="build the firmware: make firmware",
        details=tuple(f"looked for {path}" for path in candidates),
    )


def check_image(path: Path, machine: Machine) -> None:
    """Refuse an image that a machine could not run.

    Raises:
        UsageError: no ELF file, or for another architecture.
        HostError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            elf = ELFFile(file)
            found = ElfKind(
                machine=str(elf["e_machine"]),
                bits=elf.elfclass,
                big_endian=not elf.little_endian,
            )
    except ELFError as error:
        raise UsageError(
            f"{path}: not an ELF image ({error})", hint="build the firmware again: make firmware"
        ) from error
    except OSError as error:
        raise HostError(
            f"{path}: cannot be read: {error.strerror}", hint="check the file's permissions"
        ) from error
    if found != machine.elf:
        raise UsageError(
            f"{path}: image for another architecture: {found}, but {machine.arch.value} needs "
            f"{machine.elf}",
            hint="put the right image there: make firmware",
        )
