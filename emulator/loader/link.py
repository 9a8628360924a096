# SPDX-License-Identifier: MIT
"""Links a relocatable object at an address: layout, symbols, relocation.

The memory of a server is three runs of whole pages, so that each can have its own permissions:

    code (read, execute) | constants (read) | data (read, write), its zeroed part last

`Layout` needs no address and says how much memory to reserve; `link` then fills in everything for
the address that was reserved. Nothing here does I/O. Linking one object twice at one address gives
the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from emulator.loader.codes import Code, LoaderError
from emulator.loader.elf import ElfObject, Relocation, Section, Symbol
from emulator.loader.relocation import Place, Relocator, relocator_for

__all__ = ["PAGE_BYTES", "Layout", "LinkedImage", "link"]

PAGE_BYTES: Final = 4096
IMAGE_BYTES_MAXIMUM: Final = 1 << 20

Resolve = Callable[[str], int | None]
"""The address of a symbol that the object does not define; None: nobody exports it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where everything of an object lies, from the start of its memory.

    Args:
        offsets: of each allocated section, by index.
        code_bytes: of the first run of pages.
        const_bytes: of the second.
        data_bytes: of the third, whole pages with the zeroed part.
        file_bytes: up to the end of what is not zero.
    """

    offsets: Mapping[int, int]
    code_bytes: int
    const_bytes: int
    data_bytes: int
    file_bytes: int

    @property
    def size_bytes(self) -> int:
        """All memory it needs, whole pages."""
        return self.code_bytes + self.const_bytes + self.data_bytes

    @classmethod
    def of(cls, elf: ElfObject) -> Layout:
        """Lay an object out.

        Raises:
            LoaderError: TOO_LARGE.
        """
        sections = [section for section in elf.sections.values() if section.is_loaded]
        offsets: dict[int, int] = {}
        code_end = _place([item for item in sections if item.executable], 0, offsets)
        code_bytes = _pages(code_end)
        const = [item for item in sections if not item.executable and not item.writable]
        const_end = _place(const, code_bytes, offsets)
        const_bytes = _pages(const_end) - code_bytes
        writable = [item for item in sections if item.writable and not item.executable]
        data_start = code_bytes + const_bytes
        file_end = _place([item for item in writable if item.has_bytes], data_start, offsets)
        end = _place([item for item in writable if not item.has_bytes], file_end, offsets)
        size = _pages(end)
        if size > IMAGE_BYTES_MAXIMUM:
            what = f"{elf.source} needs {size} bytes, at most {IMAGE_BYTES_MAXIMUM} are given"
            raise LoaderError(Code.TOO_LARGE, what)
        return cls(
            offsets=offsets,
            code_bytes=code_bytes,
            const_bytes=const_bytes,
            data_bytes=size - data_start,
            file_bytes=max(file_end if file_end > data_start else const_end, code_end),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkedImage:
    """An object at its address.

    Args:
        source: the object's file, for messages.
        address: where its memory begins.
        layout: how it is laid out.
        data: everything up to the zeroed part.
        symbols: addresses of the named symbols it defines; local ones may have several.
    """

    source: str
    address: int
    layout: Layout
    data: bytes
    symbols: Mapping[str, tuple[int, ...]]

    def address_of(self, name: str) -> int | None:
        """The address of a symbol, as written or with a leading underscore; None: it has none.

        Raises:
            LoaderError: SERVER_WONT_LINK: two local symbols have that name.
        """
        for spelling in (name, f"_{name}"):
            addresses = self.symbols.get(spelling, ())
            if len(addresses) > 1:
                what = f"{self.source} has {len(addresses)} symbols {spelling}"
                raise LoaderError(Code.SERVER_WONT_LINK, what)
            if addresses:
                return addresses[0]
        return None


def link(elf: ElfObject, layout: Layout, address: int, resolve: Resolve) -> LinkedImage:
    """Link an object at an address.

    Args:
        elf: the object.
        layout: of this object.
        address: a multiple of PAGE_BYTES.
        resolve: tells the addresses of what others export.

    Raises:
        LoaderError: SERVER_WONT_LINK with the symbol's name, UNSUPPORTED_RELOCATION,
            RELOCATION_RANGE.
    """
    return _Linker(elf, layout, address, resolve).link()


class _Linker:
    """One object, one address."""

    def __init__(self, elf: ElfObject, layout: Layout, address: int, resolve: Resolve) -> None:
        self._elf = elf
        self._layout = layout
        self._address = address
        self._resolve = resolve
        self._relocator: Relocator = relocator_for(elf.kind)
        self._order: Literal["little", "big"] = "big" if elf.kind.big_endian else "little"
        self._values: dict[int, int] = {}

    def link(self) -> LinkedImage:
        image = bytearray(self._layout.file_bytes)
        for index, offset in self._layout.offsets.items():
            section = self._elf.sections[index]
            if section.has_bytes:
                data = self._relocated(section)
                image[offset : offset + len(data)] = data
        return LinkedImage(
            source=self._elf.source,
            address=self._address,
            layout=self._layout,
            data=bytes(image),
            symbols=self._own_symbols(),
        )

    def _own_symbols(self) -> dict[str, tuple[int, ...]]:
        found: dict[str, tuple[int, ...]] = {}
        for index, symbol in enumerate(self._elf.symbols):
            if symbol.name and symbol.section in self._layout.offsets:
                found[symbol.name] = (*found.get(symbol.name, ()), self._value(index))
        return found

    def _relocated(self, section: Section) -> bytearray:
        data = bytearray(section.data)
        relocations = self._elf.relocations.get(section.index, ())
        start = self._address + self._layout.offsets[section.index]
        highs = {
            start + item.offset: self._value(item.symbol) + item.addend - start - item.offset
            for item in relocations
            if item.kind in self._relocator.pcrel_hi
        }
        for item in relocations:
            if item.kind in self._relocator.ignored:
                continue
            try:
                place = self._place(item, data, start, highs)
                self._relocator.apply(item.kind, place)
            except LoaderError as error:
                where = f"{self._elf.source}, {section.name}+{item.offset:#x}"
                raise LoaderError(error.code, f"{where}: {error.what}") from None
        return data

    def _place(
        self, item: Relocation, data: bytearray, start: int, highs: Mapping[int, int]
    ) -> Place:
        value = self._value(item.symbol)
        pcrel_hi = 0
        if item.kind in self._relocator.pcrel_lo:
            if value not in highs:
                raise LoaderError(Code.BAD_RELOCATABLE, "a lower half without its upper half")
            pcrel_hi = highs[value]
        return Place(
            data,
            item.offset,
            start + item.offset,
            value + item.addend,
            self._order,
            pcrel_hi,
        )

    def _value(self, index: int) -> int:
        value = self._values.get(index)
        if value is None:
            value = self._values[index] = self._address_of(self._elf.symbols[index])
        return value

    def _address_of(self, symbol: Symbol) -> int:
        if symbol.section is not None:
            if symbol.section in self._layout.offsets:
                return self._address + self._layout.offsets[symbol.section] + symbol.value
            what = f"{symbol.name or 'a section'} is in no memory"
            raise LoaderError(Code.SERVER_WONT_LINK, what)
        if symbol.is_defined or not symbol.name:
            return symbol.value
        address = self._resolve(symbol.name)
        if address is None:
            raise LoaderError(
                Code.SERVER_WONT_LINK,
                f"unresolved symbol {symbol.name}",
                hint="the kernel does not export it",
            )
        return address


def _place(sections: list[Section], start: int, offsets: dict[int, int]) -> int:
    """Put sections one after another; return where the last one ends."""
    for section in sections:
        offsets[section.index] = start = _up(start, section.align_bytes)
        start += section.size_bytes
    return start


def _up(number: int, align: int) -> int:
    return -(-number // align) * align


def _pages(size_bytes: int) -> int:
    return _up(size_bytes, PAGE_BYTES)
