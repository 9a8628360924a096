# SPDX-License-Identifier: MIT
"""Writes tiny server objects and kernel images, whole or with a fault: what a test of the loader
needs, without a compiler.

Not a linker and not an assembler: code is bytes that nobody runs.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from emulator.machines.machine import MACHINES, ElfKind
from emulator.model import Arch

__all__ = ["Reference", "ServerWriter", "write_kernel"]

MACHINE_NUMBERS: Final = {"EM_X86_64": 62, "EM_AARCH64": 183, "EM_RISCV": 243}
POINTER_KINDS: Final = {"EM_X86_64": 1, "EM_AARCH64": 257, "EM_RISCV": 2}  # S + A, 8 bytes
SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_RELA, SHT_NOBITS = 1, 2, 3, 4, 8
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR = 1, 2, 4
BUILD_ID: Final = bytes(range(20))


@dataclass(frozen=True, slots=True)
class Reference:
    """A relocation of the data section.

    Args:
        offset: in it.
        symbol: a defined or an undefined one.
        kind: of relocation; None: a plain pointer.
    """

    offset: int
    symbol: str
    kind: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Section:
    name: str
    kind: int = SHT_PROGBITS
    flags: int = 0
    data: bytes = b""
    size: int | None = None
    link: int = 0
    info: int = 0
    entry: int = 0
    align: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerWriter:
    """What a server object is made of; `write()` makes the file.

    Args:
        kind: architecture.
        name: the server's.
        version, instance, load, unload, depends, parameters, loadable: its metadata; None: no such
            section.
        imports: checksum of each symbol that it leaves undefined.
        references: to defined and undefined symbols.
        functions: symbols in the code.
        variables: symbols in the data, 16 bytes each.
        zeroed_bytes: size of its .bss.
        code: instead of a few bytes that say nothing.
    """

    kind: ElfKind = MACHINES[Arch.X86_64].elf
    name: str | None = "tiny"
    version: str | None = "2"
    instance: str | None = "tiny_instance"
    load: str | None = "CALL tiny_init 0\nHMAP tiny tiny_handler 7\nADVERTISE tiny\n"
    unload: str | None = "CALL tiny_stop 0\n"
    depends: Sequence[str] = ()
    parameters: str | None = None
    loadable: str | None = None
    imports: Mapping[str, int] = field(default_factory=lambda: {"kmsg_free": 0x11111111})
    references: Sequence[Reference] = (Reference(16, "kmsg_free"), Reference(24, "tiny_init"))
    functions: Sequence[str] = ("tiny_init", "tiny_handler", "tiny_stop")
    variables: Sequence[str] = ("tiny_instance", "tiny_pointers")
    zeroed_bytes: int = 32
    code: bytes = b"\xc3" * 64

    def with_name(
        self, name: str, *, depends: Sequence[str] = (), load: str | None = None
    ) -> ServerWriter:
        """Another server of the same make.

        Args:
            name: its name, and its port's.
            depends: what it needs.
            load: its load script; None: one with a port of its name.
        """
        usual = f"CALL tiny_init 0\nHMAP {name} tiny_handler 7\nADVERTISE {name}\n"
        return replace(self, name=name, depends=depends, load=load or usual)

    def write(self) -> bytes:
        """The file's bytes."""
        data = bytes(16 * len(self.variables))
        sections = [
            _Section(name=".text", flags=SHF_ALLOC | SHF_EXECINSTR, data=self.code),
            _Section(name=".data", flags=SHF_ALLOC | SHF_WRITE, data=data),
            _Section(
                name=".bss", kind=SHT_NOBITS, flags=SHF_ALLOC | SHF_WRITE, size=self.zeroed_bytes
            ),
            *self._metadata(),
        ]
        return self.assemble(sections)

    def _metadata(self) -> list[_Section]:
        texts = {
            "name": _line(self.name),
            "version": _line(self.version),
            "instance": _line(self.instance),
            "load": self.load,
            "unload": self.unload,
            "imports": "".join(f"{crc:08x} {name}\n" for name, crc in sorted(self.imports.items())),
            "depends": "".join(f"{name}\0" for name in self.depends) or None,
            "parameters": self.parameters,
            "loadable": _line(self.loadable),
        }
        return [
            _Section(name=f".kern_server.{what}", data=text.encode("ascii"), align=1)
            for what, text in texts.items()
            if text is not None
        ]

    def assemble(self, sections: list[_Section]) -> bytes:
        """Add symbols, relocations and names, and put it all into a file."""
        undefined = [item.symbol for item in self.references]
        defined = [(name, 1, 8 * at) for at, name in enumerate(self.functions)]
        defined += [(name, 2, 16 * at) for at, name in enumerate(self.variables)]
        known = {name for name, _, _ in defined}
        defined += [(name, 0, 0) for name in dict.fromkeys(undefined) if name not in known]
        strings, numbers = bytearray(b"\0"), {}
        table = [self._symbol(0, 0, 0)]
        for number, (name, section, value) in enumerate(defined, start=1):
            table.append(self._symbol(len(strings), section, value))
            numbers[name] = number
            strings += name.encode("ascii") + b"\0"
        relocations = b"".join(
            self._relocation(item, numbers[item.symbol]) for item in self.references
        )
        count = len(sections) + 1
        sections = [
            *sections,
            _Section(
                name=".symtab",
                kind=SHT_SYMTAB,
                data=b"".join(table),
                link=count + 1,
                info=1,
                entry=len(table[0]),
            ),
            _Section(name=".strtab", kind=SHT_STRTAB, data=bytes(strings), align=1),
            _Section(
                name=".rela.data",
                kind=SHT_RELA,
                data=relocations,
                link=count,
                info=2,
                entry=self._pack("QQq", "IIi", 0, 0, 0).__len__(),
            ),
        ]
        return _file(self.kind, 1, sections)

    def _symbol(self, name: int, section: int, value: int) -> bytes:
        info = 0x10 if name else 0  # global
        if self.kind.bits == 64:
            return self._pack("IBBHQQ", "", name, info, 0, section, value, 0)
        return self._pack("", "IIIBBH", name, value, 0, info, 0, section)

    def _relocation(self, item: Reference, symbol: int) -> bytes:
        kind = POINTER_KINDS[self.kind.machine] if item.kind is None else item.kind
        if self.kind.bits == 64:
            return self._pack("QQq", "", item.offset, symbol << 32 | kind, 0)
        narrow = 1 if item.kind is None else kind
        return self._pack("", "IIi", item.offset, symbol << 8 | narrow, 0)

    def _pack(self, wide: str, narrow: str, *fields: int) -> bytes:
        return _pack(self.kind, wide, narrow, *fields)


def write_kernel(
    kind: ElfKind, exports: Mapping[str, tuple[int, int]], *, build_id: bytes = BUILD_ID
) -> bytes:
    """A kernel image that has an export table and a build id, and nothing else.

    Args:
        kind: architecture.
        exports: address and checksum of each symbol.
        build_id: 20 bytes.
    """
    size = len(_pack(kind, "QII", "III", 0, 0, 0))
    names, table = bytearray(), bytearray()
    for name, (address, checksum) in sorted(exports.items()):
        at = size * (len(exports) + 1) + len(names)
        table += _pack(kind, "QII", "III", address, checksum, at)
        names += name.encode("ascii") + b"\0"
    note = _pack(kind, "III", "III", 4, len(build_id), 3) + b"GNU\0" + build_id
    sections = [
        _Section(name="kern_exports", data=bytes(table + bytes(size) + names)),
        _Section(name=".note.gnu.build-id", data=note, align=4),
    ]
    return _file(kind, 2, sections)


def _line(text: str | None) -> str | None:
    return None if text is None else text + "\n"


def _pack(kind: ElfKind, wide: str, narrow: str, *fields: int) -> bytes:
    order = ">" if kind.big_endian else "<"
    return struct.pack(order + (wide if kind.bits == 64 else narrow), *fields)


def _file(kind: ElfKind, file_type: int, sections: Sequence[_Section]) -> bytes:
    """An ELF file of sections; the table of their names and the null section are added."""
    names = bytearray(b"\0")
    name_offsets = []
    for name in [*(section.name for section in sections), ".shstrtab"]:
        name_offsets.append(len(names))
        names += name.encode("ascii") + b"\0"
    every = [*sections, _Section(name=".shstrtab", kind=SHT_STRTAB, data=bytes(names), align=1)]
    header_bytes, entry_bytes = (64, 64) if kind.bits == 64 else (52, 40)
    body = bytearray(header_bytes)
    headers = [bytes(entry_bytes)]
    for name_at, section in zip(name_offsets, every, strict=True):
        body += bytes(-len(body) % section.align)
        size = len(section.data) if section.size is None else section.size
        fields = (name_at, section.kind, section.flags, 0, len(body), size)
        more = (section.link, section.info, section.align, section.entry)
        headers.append(_pack(kind, "IIQQQQIIQQ", "IIIIIIIIII", *fields, *more))
        body += section.data
    body += bytes(-len(body) % 8)
    ident = b"\x7fELF" + bytes([2 if kind.bits == 64 else 1, 2 if kind.big_endian else 1, 1])
    number = MACHINE_NUMBERS[kind.machine]
    start = (file_type, number, 1, 0, 0, len(body), 0, header_bytes, 0, 0, entry_bytes)
    rest = (len(headers), len(headers) - 1)
    header = _pack(kind, "HHIQQQIHHHHHH", "HHIIIIIHHHHHH", *start, *rest)
    body[:header_bytes] = ident.ljust(16, b"\0") + header
    return bytes(body) + b"".join(headers)
