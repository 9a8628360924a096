# SPDX-License-Identifier: MIT
"""What tests on real machines need: QEMU and firmware images, or a good reason to be skipped."""

from __future__ import annotations

import os
import shutil

import pytest

from emulator.machines.image import image_candidates
from emulator.machines.machine import MACHINES
from emulator.model import Arch


@pytest.fixture
def real_machines() -> None:
    """Skip without QEMU or firmware; in CI that is a failure."""
    missing = [
        machine.qemu_binary
        for machine in MACHINES.values()
        if shutil.which(machine.qemu_binary) is None
    ]
    missing += [
        f"firmware image for {arch.value}"
        for arch in Arch
        if not any(path.is_file() for path in image_candidates(MACHINES[arch]))
    ]
    if missing and os.environ.get("CI"):
        pytest.fail(f"missing: {', '.join(missing)}")
    if missing:
        pytest.skip(f"missing: {', '.join(missing)}")
