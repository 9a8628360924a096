# SPDX-License-Identifier: MIT
"""Both implementations of the link protocol under the same tests, and the vectors that drive
them."""

from __future__ import annotations

import importlib
import os
from typing import cast

import pytest

from emulator.protocol.link import LinkEnd
from emulator.testing.memory_link import MakeLink


@pytest.fixture(params=["python", "c"])
def make_link(request: pytest.FixtureRequest) -> MakeLink:
    """Make a link end of one implementation; the C one is skipped where it is not built, except in
    CI."""
    if request.param == "python":
        return LinkEnd
    try:
        core = importlib.import_module("emulator.core")  # opens a library that may be missing
    except ImportError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"the C core is not built: {error}")
    return cast("MakeLink", core.CLinkEnd)
