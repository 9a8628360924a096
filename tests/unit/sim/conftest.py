# SPDX-License-Identifier: MIT
"""The simulator's library is needed; without it its tests are skipped, except in CI."""

from __future__ import annotations

import os

import pytest

from emulator.errors import HostError
from emulator.sim.library import open_library


@pytest.fixture(autouse=True, scope="session")
def _library() -> None:
    try:
        open_library()
    except HostError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
