# SPDX-License-Identifier: MIT
"""A loader beside a fake node, for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator.testing.loader_bench import LoaderBench


@pytest.fixture
def bench(tmp_path: Path) -> LoaderBench:
    """Before the node boots."""
    return LoaderBench(tmp_path)
