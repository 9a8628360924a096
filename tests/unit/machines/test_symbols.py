# SPDX-License-Identifier: MIT
"""The words of a panic: its addresses found, an image that tells nothing told from one that does."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator.machines.symbols import ServerCode, backtrace_of, explain_panic

PANIC = """PANIC node=a id=1 incarnation=100000001 at=core/x.c:1 reason=x
REG pc=0x1000 sp=0x2000
BACKTRACE 0x178b5b 0x109313
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PANIC, (0x178B5B, 0x109313)),
        ("PANIC node=a\n", ()),
        ("", ()),
        ("BACKTRACE nonsense", ()),
        ("BACKTRACE 0x1 0xzz", (0x1,)),
    ],
)
def test_backtrace(text: str, expected: tuple[int, ...]) -> None:
    assert backtrace_of(text) == expected


@pytest.mark.parametrize("content", [None, b"", b"no ELF", b"\x7fELF" + bytes(60)])
def test_image_that_tells_nothing(tmp_path: Path, content: bytes | None) -> None:
    image = tmp_path / "kernel.elf"
    if content is not None:
        image.write_bytes(content)
    assert explain_panic(image, PANIC) == ("0x178b5b", "0x109313")


def test_a_server_s_functions_are_named(tmp_path: Path) -> None:
    driver = ServerCode(
        name="driver",
        address=0x178000,
        size_bytes=0x1000,
        functions=((0x178010, "driver_poll"), (0x178B5C, "driver_stop")),
    )
    # The first address is where it happened; the others are behind the call.
    text = "BACKTRACE 0x178b5c 0x178b5c 0x178004 0x179001\n"
    assert explain_panic(tmp_path / "none", text, [driver]) == (
        "0x178b5c driver+0xb5c (driver_stop+0x0)",
        "0x178b5b driver+0xb5b (driver_poll+0xb4b)",
        "0x178003 driver+0x3",
        "0x179001",
    )
