# SPDX-License-Identifier: MIT
"""A relocatable ELF object as far as a linker needs it: sections, symbols and relocations, checked.

It knows nothing of kernel servers (`object.py`) and of addresses (`link.py`). The file is hostile:
whatever is used later is checked here once, against the file's own size. Headers are read with
pyelftools; symbols and relocations, of which there are many, with `struct`.
"""

from __future__ import annotations

import io
import itertools
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from elftools.common.exceptions import ELFError
from elftools.construct import ConstructError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import Section as ElfSection

from emulator.loader.codes import Code, LoaderError
from emulator.machines.machine import ElfKind

__all__ = ["ElfObject", "Relocation", "Section", "Symbol", "read_elf"]

FILE_BYTES_MAXIMUM: Final = 4 << 20
_SECTIONS_MAXIMUM: Final = 4096
_SECTION_BYTES_MAXIMUM: Final = 1 << 24
_ALIGN_MAXIMUM: Final = 4096
_SHF_WRITE, _SHF_ALLOC, _SHF_EXECINSTR, _SHF_TLS = 1, 2, 4, 0x400
_NEVER_LOADED: Final = (".kern_server.", ".eh_frame", ".note.")
_SHN_UNDEF, _SHN_LORESERVE, _SHN_ABS = 0, 0xFF00, 0xFFF1


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A section with its bytes.

    Args:
        index: in the file.
        name: as written.
        data: its bytes; empty when it has only a size.
        file_offset: where they are in the file.
        size_bytes: in memory.
        align_bytes: a power of two.
        is_loaded: whether it is part of the server's memory.
        writable, executable: what its flags say.
        has_bytes: False for a section of zeros (.bss).
    """

    index: int
    name: str
    data: bytes
    file_offset: int
    size_bytes: int
    align_bytes: int
    is_loaded: bool
    writable: bool
    executable: bool
    has_bytes: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Symbol:
    """A symbol.

    Args:
        name: empty for a section's own.
        value: offset in its section, or an absolute number.
        section: index, None if undefined or absolute.
        is_defined: whether it has a value here.
    """

    name: str
    value: int
    section: int | None
    is_defined: bool


@dataclass(frozen=True, slots=True)
class Relocation:
    """One place to be filled in.

    Args:
        offset: in the section that it belongs to.
        kind: the architecture's number.
        symbol: index.
        addend: signed.
    """

    offset: int
    kind: int
    symbol: int
    addend: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ElfObject:
    """A relocatable object, checked.

    Args:
        source: its file's name, for messages.
        kind: architecture, width and byte order.
        sections: by index.
        symbols: in the file's order.
        relocations: of each loaded section, by its index.
    """

    source: str
    kind: ElfKind
    sections: Mapping[int, Section]
    symbols: tuple[Symbol, ...]
    relocations: Mapping[int, tuple[Relocation, ...]]

    def section(self, name: str) -> Section | None:
        """The section of that name, None if there is none.

        Raises:
            LoaderError: SEVERAL_SERVERS if there are several.
        """
        found = [section for section in self.sections.values() if section.name == name]
        if len(found) > 1:
            what = f"{self.source} has {len(found)} sections {name}"
            raise LoaderError(Code.SEVERAL_SERVERS, what, hint="one server in one object")
        return found[0] if found else None


def read_elf(data: bytes, *, kind: ElfKind, source: str) -> ElfObject:
    """Read and check an object.

    Args:
        data: the file's bytes.
        kind: what the node needs.
        source: the file's name, for messages.

    Raises:
        LoaderError: NOT_ELF, WRONG_ARCHITECTURE, WRONG_BYTE_ORDER, TRUNCATED, TOO_LARGE,
            SECTION_OVERLAP or BAD_RELOCATABLE.
    """
    if len(data) > FILE_BYTES_MAXIMUM:
        what = f"{source} has {len(data)} bytes, at most {FILE_BYTES_MAXIMUM} are taken"
        raise LoaderError(Code.TOO_LARGE, what)
    try:
        return _Reader(data, kind, source).read()
    except LoaderError:
        raise
    except (
        ELFError,
        ConstructError,
        struct.error,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        AssertionError,
        OverflowError,
    ) as error:  # what pyelftools raises for headers that it does not understand
        what = f"{source}: {type(error).__name__}: {error}"
        raise LoaderError(Code.BAD_RELOCATABLE, what) from error


class _Reader:
    """One pass over a file."""

    def __init__(self, data: bytes, kind: ElfKind, source: str) -> None:
        self._data = data
        self._kind = kind
        self._source = source

    def read(self) -> ElfObject:
        elf = self._header()
        headers = [elf.get_section(index) for index in range(elf.num_sections())]
        self._refuse_overlap(headers)
        sections = {
            index: self._section(index, header)
            for index, header in enumerate(headers)
            if header["sh_type"] in ("SHT_PROGBITS", "SHT_NOBITS")
            or header["sh_flags"] & _SHF_ALLOC
        }
        symbols = tuple(self._symbols(headers, sections))
        relocations = {
            header["sh_info"]: tuple(self._relocations(header, sections, len(symbols)))
            for header in headers
            if header["sh_type"] == "SHT_RELA"
            and header["sh_info"] in sections
            and sections[header["sh_info"]].is_loaded
        }
        for header in headers:
            if header["sh_type"] == "SHT_REL" and header["sh_info"] in sections:
                raise self._error(Code.BAD_RELOCATABLE, "relocations without addends")
        return ElfObject(
            source=self._source,
            kind=self._kind,
            sections=sections,
            symbols=symbols,
            relocations=relocations,
        )

    def _header(self) -> ELFFile:
        data = self._data
        if data[:4] != b"\x7fELF":
            raise self._error(Code.NOT_ELF, "it does not begin as an ELF file does")
        if len(data) < (64 if self._kind.bits == 64 else 52):
            raise self._error(Code.TRUNCATED, "it ends within the ELF header")
        if data[5] != (2 if self._kind.big_endian else 1):
            order = "big" if data[5] == 2 else "little"
            raise self._error(Code.WRONG_BYTE_ORDER, f"it is {order}-endian, not {self._kind}")
        if data[4] != (2 if self._kind.bits == 64 else 1):
            raise self._error(Code.WRONG_ARCHITECTURE, f"{data[4] * 32} bits, not {self._kind}")
        elf = ELFFile(io.BytesIO(data))
        if elf["e_machine"] != self._kind.machine:
            raise self._error(Code.WRONG_ARCHITECTURE, f"{elf['e_machine']}, not {self._kind}")
        if elf["e_type"] != "ET_REL":
            raise self._error(Code.BAD_RELOCATABLE, f"{elf['e_type']}, not a relocatable object")
        table_end = elf["e_shoff"] + elf["e_shnum"] * elf["e_shentsize"]
        if not elf["e_shoff"] or table_end > len(data):
            raise self._error(Code.TRUNCATED, "its section headers lie beyond its end")
        if not 0 < elf["e_shnum"] <= _SECTIONS_MAXIMUM:
            raise self._error(Code.BAD_RELOCATABLE, f"{elf['e_shnum']} sections")
        for index in range(elf["e_shnum"]):
            self._check_range(elf._get_section_header(index), index)
        if elf["e_shstrndx"] >= elf["e_shnum"]:
            raise self._error(Code.BAD_RELOCATABLE, "no table of section names")
        return elf

    def _check_range(self, header: Mapping[str, int | str], index: int) -> None:
        size, offset = int(header["sh_size"]), int(header["sh_offset"])
        if header["sh_type"] != "SHT_NOBITS" and offset + size > len(self._data):
            raise self._error(Code.TRUNCATED, f"section {index} lies beyond its end")
        if size > _SECTION_BYTES_MAXIMUM:
            raise self._error(Code.TOO_LARGE, f"section {index} has {size} bytes")
        align = int(header["sh_addralign"])
        if align & (align - 1) or align > _ALIGN_MAXIMUM:
            raise self._error(Code.BAD_RELOCATABLE, f"section {index} is aligned to {align}")

    def _refuse_overlap(self, headers: list[ElfSection]) -> None:
        """Two sections that share bytes of the file would let one relocate the other."""
        taken = sorted(
            (header["sh_offset"], header["sh_offset"] + header["sh_size"], header.name)
            for header in headers
            if header["sh_type"] not in ("SHT_NOBITS", "SHT_NULL") and header["sh_size"]
        )
        for (_, end, first), (start, _, second) in itertools.pairwise(taken):
            if start < end:
                raise self._error(Code.SECTION_OVERLAP, f"{first} and {second} share bytes")

    def _section(self, index: int, header: ElfSection) -> Section:
        flags, size = header["sh_flags"], header["sh_size"]
        is_loaded = bool(flags & _SHF_ALLOC) and not header.name.startswith(_NEVER_LOADED)
        if is_loaded:
            self._check_kind(header)
        has_bytes = header["sh_type"] != "SHT_NOBITS"
        offset = header["sh_offset"]
        return Section(
            index=index,
            name=header.name,
            data=self._data[offset : offset + size] if has_bytes else b"",
            file_offset=offset,
            size_bytes=size,
            align_bytes=max(1, header["sh_addralign"]),
            is_loaded=is_loaded,
            writable=bool(flags & _SHF_WRITE),
            executable=bool(flags & _SHF_EXECINSTR),
            has_bytes=has_bytes,
        )

    def _check_kind(self, header: ElfSection) -> None:
        """Refuse what nobody here would bring to life."""
        flags, kind = header["sh_flags"], header["sh_type"]
        if flags & _SHF_WRITE and flags & _SHF_EXECINSTR:
            raise self._error(Code.BAD_RELOCATABLE, f"section {header.name} is writable code")
        if flags & _SHF_TLS:
            raise self._error(Code.BAD_RELOCATABLE, f"section {header.name} is thread-local")
        if kind not in ("SHT_PROGBITS", "SHT_NOBITS"):
            raise self._error(Code.BAD_RELOCATABLE, f"section {header.name} is {kind}")

    def _symbols(
        self, headers: list[ElfSection], sections: Mapping[int, Section]
    ) -> Iterator[Symbol]:
        tables = [header for header in headers if header["sh_type"] == "SHT_SYMTAB"]
        if len(tables) != 1:
            raise self._error(Code.BAD_RELOCATABLE, f"{len(tables)} symbol tables")
        table = tables[0]
        strings = headers[table["sh_link"]]
        names = self._bytes_of(strings)
        for entry in self._layout("IBBHQQ", "IIIBBH").iter_unpack(self._bytes_of(table)):
            if self._kind.bits == 64:
                name_at, _, _, section, value, _ = entry
            else:
                name_at, value, _, _, _, section = entry
            end = names.index(0, name_at)  # ValueError: the name does not end
            yield self._symbol(names[name_at:end].decode(), section, value, sections)

    def _symbol(
        self, name: str, section: int, value: int, sections: Mapping[int, Section]
    ) -> Symbol:
        if section >= _SHN_LORESERVE and section != _SHN_ABS:
            raise self._error(Code.BAD_RELOCATABLE, f"symbol {name} is in no section")
        home = sections.get(section)
        if home is not None and value > home.size_bytes:
            what = f"symbol {name} lies beyond the end of section {home.name}"
            raise self._error(Code.BAD_RELOCATABLE, what)
        return Symbol(
            name=name,
            value=value,
            section=None if section in (_SHN_UNDEF, _SHN_ABS) else section,
            is_defined=section != _SHN_UNDEF,
        )

    def _relocations(
        self, header: ElfSection, sections: Mapping[int, Section], symbol_count: int
    ) -> Iterator[Relocation]:
        target = sections[header["sh_info"]]
        for offset, info, addend in self._layout("QQq", "IIi").iter_unpack(self._bytes_of(header)):
            if self._kind.bits == 64:
                symbol, kind = info >> 32, info & 0xFFFFFFFF
            else:
                symbol, kind = info >> 8, info & 0xFF
            if symbol >= symbol_count:
                raise self._error(Code.BAD_RELOCATABLE, f"relocation with symbol {symbol}")
            if offset >= len(target.data):
                what = f"a place beyond the end of section {target.name}"
                raise self._error(Code.RELOCATION_RANGE, what)
            yield Relocation(offset, kind, symbol, addend)

    def _bytes_of(self, header: ElfSection) -> bytes:
        offset = header["sh_offset"]
        return self._data[offset : offset + header["sh_size"]]

    def _layout(self, wide: str, narrow: str) -> struct.Struct:
        order = ">" if self._kind.big_endian else "<"
        return struct.Struct(order + (wide if self._kind.bits == 64 else narrow))

    def _error(self, code: Code, what: str) -> LoaderError:
        return LoaderError(code, f"{self._source}: {what}")
