# SPDX-License-Identifier: MIT
"""What the addresses of a panic mean: function, file and line from the image that ran, server and
function from the objects that were loaded.

A panic names program counters only (the firmware carries no tables); the image has symbols and line
tables. The first address of a backtrace lies in the instruction that failed; the others are return
addresses, so the call is looked up, one byte before. Both tables are large: pyelftools, which makes
an object of every entry, reads their headers only.
"""

from __future__ import annotations

import bisect
import functools
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.construct import Container
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from emulator.machines.line_program import run_line_program

_STT_FUNC = 2
_BACKTRACE = re.compile(r"^BACKTRACE((?: 0x[0-9a-f]+)+)", re.MULTILINE)


def backtrace_of(panic_text: str) -> tuple[int, ...]:
    """The addresses of a panic's backtrace, innermost first; empty if it has none."""
    found = _BACKTRACE.search(panic_text)
    return tuple(int(word, 16) for word in found[1].split()) if found else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerCode:
    """Where a loaded server lies on its node.

    Args:
        name: the server's.
        address: of its image.
        size_bytes: of its image.
        functions: address and name of each, ascending.
    """

    name: str
    address: int
    size_bytes: int
    functions: tuple[tuple[int, str], ...]

    def holds(self, address: int) -> bool:
        """Whether an address lies in it."""
        return 0 <= address - self.address < self.size_bytes

    def describe(self, address: int) -> str:
        """An address in it as `server+0x34 (function+0x12)`, the function as far as it is known."""
        place = f"{self.name}+{address - self.address:#x}"
        index = bisect.bisect_right(self.functions, (address, "\U0010ffff")) - 1
        if index < 0:
            return place
        start, function = self.functions[index]
        return f"{place} ({function}+{address - start:#x})"


class Symbols:
    """Functions and lines of one image. Reading them takes some 200 ms: not for an event loop.

    Args:
        path: the image.

    Raises:
        OSError: it cannot be read.
        ELFError: it is no ELF image.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            elf = ELFFile(file)
            self._functions = sorted(_functions(elf))
            self._lines = sorted(_lines(elf))

    def describe(self, address: int) -> str:
        """An address as `0x1234 function+0x12 (core/file.c:34)`, as far as it is known."""
        words = [f"{address:#x}"]
        index = bisect.bisect_right(self._functions, (address, 1 << 64, "")) - 1
        if index >= 0:
            start, end, name = self._functions[index]
            if start <= address < end:
                words.append(f"{name}+{address - start:#x}")
        index = bisect.bisect_right(self._lines, (address, 1 << 32, "")) - 1
        if len(words) > 1 and index >= 0:
            _, line, source = self._lines[index]
            words.append(f"({source}:{line})")
        return " ".join(words)


def explain_panic(
    image: Path, panic_text: str, servers: Sequence[ServerCode] = ()
) -> tuple[str, ...]:
    """The backtrace of a panic in words, innermost first; return addresses stand for their calls.

    Args:
        image: that ran; where it tells nothing, the bare addresses stay.
        panic_text: of the node.
        servers: that were loaded then.
    """
    try:
        symbols = _symbols_of(image, image.stat().st_mtime_ns)
    except (OSError, ELFError):
        symbols = None
    return tuple(
        _describe(address - (1 if depth else 0), address, symbols, servers)
        for depth, address in enumerate(backtrace_of(panic_text))
    )


def _describe(
    address: int, told: int, symbols: Symbols | None, servers: Sequence[ServerCode]
) -> str:
    for server in servers:
        if server.holds(address):
            return f"{address:#x} {server.describe(address)}"
    return f"{told:#x}" if symbols is None else symbols.describe(address)


@functools.lru_cache(maxsize=8)
def _symbols_of(image: Path, _modified_ns: int) -> Symbols:
    """An image is read once, until it is built again."""
    return Symbols(image)


def _functions(elf: ELFFile) -> Iterator[tuple[int, int, str]]:
    table = elf.get_section_by_name(".symtab")
    if not isinstance(table, SymbolTableSection):
        return
    names = table.stringtable.data()
    layout = struct.Struct(
        ("<" if elf.little_endian else ">") + ("IBBHQQ" if elf.elfclass == 64 else "IIIBBH")
    )
    for entry in layout.iter_unpack(table.data()):
        if elf.elfclass == 64:
            name_at, info, _, _, start, size = entry
        else:
            name_at, start, size, info, _, _ = entry
        if info & 0xF == _STT_FUNC and size:
            name = names[name_at : names.index(0, name_at)]
            yield start, start + size, name.decode(errors="replace")


def _lines(elf: ELFFile) -> Iterator[tuple[int, int, str]]:
    if not elf.has_dwarf_info():
        return
    dwarf = elf.get_dwarf_info()
    for unit in dwarf.iter_CUs():
        program = dwarf.line_program_for_CU(unit)
        if program is None:
            continue
        files = program["file_entry"]
        folders = program["include_directory"]
        first = 0 if program["version"] >= 5 else 1
        names = [_file_name(file, folders, first) for file in files]
        program.stream.seek(program.program_start_offset)
        code = program.stream.read(program.program_end_offset - program.program_start_offset)
        for address, line, file in run_line_program(
            code, program.header, "little" if elf.little_endian else "big"
        ):
            if line:
                yield address, line, names[file - first]


def _file_name(file: Container, folders: Sequence[bytes], first: int) -> str:
    folder = folders[file.dir_index - first] if file.dir_index >= first else b""
    name = b"/".join(part for part in (folder, file.name) if part not in (b"", b"."))
    return name.decode(errors="replace").removeprefix("./")
