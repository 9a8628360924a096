# SPDX-License-Identifier: MIT
"""Pressure stall information, as the kernel writes it."""

from __future__ import annotations

from pathlib import Path

from emulator.runtime.pressure import cpu_waiting_pct

TEXT = """some avg10=99.04 avg60=93.00 avg300=79.64 total=5269742102
full avg10=0.00 avg60=0.00 avg300=0.00 total=0
"""


def test_share_of_the_last_ten_seconds(tmp_path: Path) -> None:
    (tmp_path / "cpu").write_text(TEXT)
    assert cpu_waiting_pct(tmp_path / "cpu") == 99.04


def test_kernel_that_does_not_tell(tmp_path: Path) -> None:
    assert cpu_waiting_pct(tmp_path / "none") == 0
    (tmp_path / "cpu").write_text("")
    assert cpu_waiting_pct(tmp_path / "cpu") == 0
