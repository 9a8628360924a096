# SPDX-License-Identifier: MIT
"""What the doctor says of a machine that has everything, and of one that lacks something."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emulator import doctor
from emulator.cli.main import main
from emulator.doctor import Check, Finding, examine


@pytest.mark.qemu
@pytest.mark.timeout(60)
def test_machine_that_has_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)}
    for arch in ("x86_64", "aarch64", "riscv64", "aarch64_be", "riscv32"):
        assert checks[f"boot {arch}"]["finding"] == "good"
        assert checks[f"boot {arch}"]["said"].startswith("ready after ")
    for cpu in ("x86_64", "aarch64", "riscv64", "riscv32"):
        assert "QEMU emulator version" in checks[f"qemu-system-{cpu}"]["said"]
    assert checks["accelerator"]["said"].startswith("TCG")
    assert not any(check["remedy"] for check in checks.values() if check["finding"] == "good")


async def test_missing_programs_come_with_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    checks = {check.name: check for check in await examine()}
    assert checks["qemu-system-riscv64"] == Check(
        name="qemu-system-riscv64",
        finding=Finding.MISSING,
        said="not found",
        remedy="apt-get install qemu-system-misc",
    )
    assert checks["clang"].finding is Finding.WANTED  # images may be there without it
    assert "boot riscv64" not in checks


async def test_missing_image_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emulator.machines.built._PACKAGE", Path("/nowhere/emulator"))
    checks = {check.name: check for check in await examine()}
    image = checks["image x86_64"]
    assert image.finding is Finding.MISSING
    assert image.remedy == "build the firmware: make firmware"


def test_missing_thing_is_exit_code_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["doctor"]) == 3
    said = capsys.readouterr().out
    assert "apt-get install qemu-system-x86" in said
    assert said.rstrip().endswith("Something is missing: see above.")


async def test_program_that_hangs_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "clang"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(doctor, "VERSION_WITHIN_S", 0.05)
    assert await doctor._version(str(program)) == str(program)
