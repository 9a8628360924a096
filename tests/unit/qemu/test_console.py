# SPDX-License-Identifier: MIT
"""The tail of a console log."""

from __future__ import annotations

from pathlib import Path

from emulator.qemu.console import Console


def test_tail(tmp_path: Path) -> None:
    path = tmp_path / "console.log"
    console = Console(path)
    assert console.tail(5) == ()
    path.write_bytes(b"one\r\n\r\n\x1b[2Jtwo\r\nthree \xff\r\npart")
    assert console.tail(3) == ("·[2Jtwo", "three \N{REPLACEMENT CHARACTER}", "part")
    assert console.tail(1) == ("part",)


def test_tail_of_a_long_log_reads_its_end_only(tmp_path: Path) -> None:
    path = tmp_path / "console.log"
    path.write_text("".join(f"line {number}\n" for number in range(100_000)))
    assert Console(path).tail(2) == ("line 99998", "line 99999")
