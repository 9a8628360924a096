# SPDX-License-Identifier: MIT
"""Both implementations of the link protocol under the same tests, and the vectors that drive
them."""

from __future__ import annotations

import pytest

from emulator.core import CLinkEnd
from emulator.protocol.link import LinkEnd
from emulator.testing.memory_link import MakeLink


@pytest.fixture(params=[LinkEnd, CLinkEnd], ids=["python", "c"])
def make_link(request: pytest.FixtureRequest) -> MakeLink:
    """Make a link end of one implementation."""
    make: MakeLink = request.param
    return make
