# SPDX-License-Identifier: MIT
"""The words of a panic: its addresses found, an image that tells nothing told from one that does."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from emulator.machines.symbols import ServerCode, Symbols, backtrace_of, explain_panic

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


SOURCE = """
#line 20 "first.c"
int first(int x) { return x * 3; }
#line 300 "folder/second.c"
int second(int x) { return first(x) + 1; }
int third(int x)
{
    for (int i = 0; i < x; i++)
        x += second(i) % 7;
    return x;
}
"""
TARGETS = ("x86_64", "aarch64", "aarch64_be", "riscv64", "riscv32")


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("target", TARGETS)
def test_functions_and_lines_are_what_pyelftools_finds(
    tmp_path: Path, target: str, version: int
) -> None:
    (tmp_path / "source.c").write_text(SOURCE)
    image = tmp_path / "image.elf"
    compiler = ["clang", f"--target={target}-none-elf", "-mno-relax", f"-gdwarf-{version}"]
    if not target.startswith("riscv"):
        compiler.remove("-mno-relax")
    subprocess.run(
        [
            *compiler,
            "-O1",
            "-ffreestanding",
            f"-ffile-prefix-map={tmp_path}=.",
            "-c",
            "source.c",
            "-o",
            "source.o",
        ],
        cwd=tmp_path,
        check=True,
    )
    subprocess.run(
        ["ld.lld", "-e", "first", "--image-base=0x10000", "source.o", "-o", str(image)],
        cwd=tmp_path,
        check=True,
    )
    symbols = Symbols(image)
    with image.open("rb") as file:
        elf = ELFFile(file)
        table = elf.get_section_by_name(".symtab")
        assert isinstance(table, SymbolTableSection)
        start = {item.name: item["st_value"] for item in table.iter_symbols()}
        dwarf = elf.get_dwarf_info()
        rows = []
        for unit in dwarf.iter_CUs():
            program = dwarf.line_program_for_CU(unit)
            assert program is not None
            states = [entry.state for entry in program.get_entries() if entry.state is not None]
            rows += [(s.address, s.line) for s in states if s.line and not s.end_sequence]
    assert symbols.describe(start["first"]).endswith("first+0x0 (first.c:20)")
    assert symbols.describe(start["second"]).endswith("second+0x0 (folder/second.c:300)")
    assert sorted(rows) == sorted((address, line) for address, line, _ in symbols._lines)
