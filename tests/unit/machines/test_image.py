# SPDX-License-Identifier: MIT
"""Firmware images that are missing, foreign or no images."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator.errors import HostError, UsageError
from emulator.machines.image import check_image, find_image
from emulator.machines.machine import MACHINES
from emulator.model import Arch
from emulator.testing.fake_image import write_fake_image

X86_64 = MACHINES[Arch.X86_64]


@pytest.mark.parametrize("arch", list(Arch))
def test_image_for_its_machine(tmp_path: Path, arch: Arch) -> None:
    check_image(write_fake_image(tmp_path / "kernel.elf", arch), MACHINES[arch])


def test_image_for_another_architecture(tmp_path: Path) -> None:
    path = write_fake_image(tmp_path / "kernel.elf", Arch.AARCH64)
    with pytest.raises(UsageError) as caught:
        check_image(path, X86_64)
    assert caught.value.message == (
        f"{path}: image for another architecture: EM_AARCH64 64-bit little-endian, but x86_64 "
        "needs EM_X86_64 64-bit little-endian"
    )
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("arch", "wanted"), [(Arch.AARCH64_BE, Arch.AARCH64), (Arch.RISCV32, Arch.RISCV64)]
)
def test_image_of_the_other_byte_order_or_width(tmp_path: Path, arch: Arch, wanted: Arch) -> None:
    path = write_fake_image(tmp_path / "kernel.elf", arch)
    with pytest.raises(UsageError, match="image for another architecture"):
        check_image(path, MACHINES[wanted])


def test_no_elf(tmp_path: Path) -> None:
    path = tmp_path / "kernel.elf"
    path.write_bytes(b"not an image")
    with pytest.raises(UsageError, match="not an ELF image"):
        check_image(path, X86_64)


def test_missing_image_says_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emulator.machines.built._PACKAGE", tmp_path / "emulator")
    with pytest.raises(HostError) as caught:
        find_image(X86_64)
    assert caught.value.message == "no firmware image for x86_64"
    assert caught.value.hint == "build the firmware: make firmware"
    assert len(caught.value.details) == 2


def test_checkout_comes_before_package_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emulator.machines.built._PACKAGE", tmp_path / "emulator")
    packaged = tmp_path / "emulator" / "_images" / "x86_64" / "kernel.elf"
    built = tmp_path / "firmware" / "build" / "x86_64" / "kernel.elf"
    for path in (packaged, built):
        path.parent.mkdir(parents=True)
        write_fake_image(path, Arch.X86_64)
    assert find_image(X86_64) == built
    built.unlink()
    assert find_image(X86_64) == packaged
