# SPDX-License-Identifier: MIT
"""A server object: a relocatable ELF file that carries a kernel server and says how to run it
(docs/spec/server_object.md).

Made by `ServerObject.read`, which checks everything that can be known without a kernel; `link` does
the rest against one. Both are pure: the file's bytes come in.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from emulator.loader.codes import Code, LoaderError
from emulator.loader.elf import ElfObject, read_elf
from emulator.loader.kernel import KernelImage
from emulator.loader.link import Layout, LinkedImage, link
from emulator.loader.parameters import Parameter, parse_parameters, parse_values
from emulator.loader.script import Script
from emulator.machines.machine import ElfKind
from emulator.machines.symbols import ServerCode

__all__ = ["OBJECT_SUFFIX", "LinkedServer", "ServerObject"]

OBJECT_SUFFIX: Final = ".kern_server"
INTERFACE_VERSION: Final = 2
NAME_MAXIMUM: Final = 31
_SECTION: Final = ".kern_server."
_NAME: Final = re.compile(r"[a-z0-9_-]+")
_IMPORT: Final = re.compile(r"([0-9a-f]{8}) (\S+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerObject:
    """A server as a file, read and checked.

    Args:
        source: the file, for messages.
        digest: SHA-256 of the file: tells builds apart.
        name: the server's.
        version: of the kernel-server interface that it was built for.
        instance: symbol of the instance variable.
        load_script, unload_script: how it is brought up and down.
        imports: checksum of each symbol that it takes from the kernel.
        depends: names of servers that must be loaded first.
        parameters: what can be set when it is loaded.
        loadable: where its linked image is written for a debugger, from the object's folder;
            empty: nowhere.
        elf: sections, symbols, relocations.
        layout: of its memory.
    """

    source: str
    digest: bytes
    name: str
    version: int
    instance: str
    load_script: Script
    unload_script: Script
    imports: Mapping[str, int]
    depends: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    loadable: str
    elf: ElfObject
    layout: Layout

    @classmethod
    def read(cls, data: bytes, *, kind: ElfKind, source: str) -> ServerObject:
        """Read an object's bytes.

        Args:
            data: the file.
            kind: what the node runs.
            source: the file's name.

        Raises:
            LoaderError: each cause has its code.
        """
        elf = read_elf(data, kind=kind, source=source)
        name = _line_of(elf, "name")
        _check_name(name, source)
        depends = tuple(text for text in _text_of(elf, "depends", "").split("\0") if text)
        for other in depends:
            _check_name(other, source)
        if name in depends:
            raise LoaderError(Code.CYCLIC_DEPENDENCY, f"{source}: {name} depends on itself")
        server = cls(
            source=source,
            digest=hashlib.sha256(data).digest(),
            name=name,
            version=_version(elf),
            instance=_line_of(elf, "instance"),
            load_script=Script.parse_load(_text_of(elf, "load"), source=f"{source}, load commands"),
            unload_script=Script.parse_unload(
                _text_of(elf, "unload", ""), source=f"{source}, unload commands"
            ),
            imports=_imports(elf),
            depends=depends,
            parameters=parse_parameters(
                _text_of(elf, "parameters", "").encode("ascii", "replace"), source=source
            ),
            loadable=_loadable(elf),
            elf=elf,
            layout=Layout.of(elf),
        )
        if not server.layout.code_bytes:
            raise LoaderError(Code.BAD_RELOCATABLE, f"{source}: no code")
        return server

    @property
    def order(self) -> Literal["little", "big"]:
        """The byte order of its data."""
        return "big" if self.elf.kind.big_endian else "little"

    def link(self, address: int, kernel: KernelImage) -> LinkedServer:
        """Link it against a kernel at the address that was reserved for it.

        Raises:
            LoaderError: SERVER_WONT_LINK, SYMBOL_VERSION (both name the symbol),
                UNSUPPORTED_RELOCATION, RELOCATION_RANGE.
        """
        self.check_imports(kernel)
        image = link(self.elf, self.layout, address, kernel.address_of)
        return LinkedServer(server=self, image=image, kernel=kernel)

    def check_imports(self, kernel: KernelImage) -> None:
        """Refuse what another kernel was meant for; needs no address.

        Raises:
            LoaderError: SERVER_WONT_LINK, SYMBOL_VERSION, BAD_RELOCATABLE.
        """
        for symbol in self.elf.symbols:
            if symbol.is_defined or not symbol.name:
                continue
            export = kernel.exports.get(symbol.name)
            if export is None:
                what = f"{self.source}: unresolved symbol {symbol.name}"
                raise LoaderError(Code.SERVER_WONT_LINK, what, hint="the kernel does not export it")
            checksum = self.imports.get(symbol.name)
            if checksum is None:
                what = f"{self.source}: no checksum of symbol {symbol.name}"
                raise LoaderError(Code.BAD_RELOCATABLE, what, hint="build it with kl_ld")
            if checksum != export.checksum:
                what = (
                    f"{self.source}: symbol {symbol.name} has checksum {checksum:08x}, "
                    f"the kernel's has {export.checksum:08x}"
                )
                raise LoaderError(
                    Code.SYMBOL_VERSION, what, hint="build the server again, for this kernel"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkedServer:
    """A server at its address: what is sent, and where everything is.

    Args:
        server: the object.
        image: its memory.
        kernel: what it was linked against.
    """

    server: ServerObject
    image: LinkedImage
    kernel: KernelImage

    def address_of(self, symbol: str) -> int:
        """The address of a symbol that a script names: its own, else an exported one.

        Raises:
            LoaderError: SERVER_WONT_LINK: nobody has it, or two local symbols of the object do.
        """
        address = self.image.address_of(symbol)
        if address is None:
            address = self.kernel.address_of(symbol)
        if address is None:
            what = f"{self.server.source}: symbol {symbol} of a script is unresolved"
            raise LoaderError(Code.SERVER_WONT_LINK, what)
        return address

    def code(self) -> ServerCode:
        """Where it lies, and its functions."""
        elf, layout, address = self.server.elf, self.image.layout, self.image.address
        functions = {}
        for symbol in elf.symbols:
            offset = None if symbol.section is None else layout.offsets.get(symbol.section)
            # Those without a name are sections; $ marks data, a dot what the compiler made.
            if symbol.section is None or offset is None or symbol.name[:1] in ("", "$", "."):
                continue
            if elf.sections[symbol.section].executable:
                functions[address + offset + symbol.value] = symbol.name
        return ServerCode(
            name=self.server.name,
            address=address,
            size_bytes=layout.size_bytes,
            functions=tuple(sorted(functions.items())),
        )

    def with_parameters(self, words: Sequence[str]) -> bytes:
        """The image with load parameters set.

        Args:
            words: `name=value` each.

        Raises:
            LoaderError: BAD_PARAMETER.
        """
        values = parse_values(words, self.server.parameters)
        image = bytearray(self.image.data)
        for parameter, text in values.items():
            address = self.image.address_of(parameter.name)
            if address is None:
                what = f"{self.server.source}: no variable {parameter.name}"
                raise LoaderError(Code.BAD_PARAMETER, what)
            data = parameter.encode(text, self.server.order)
            start = address - self.image.address
            end = start + len(data)
            layout = self.image.layout
            if start < layout.code_bytes + layout.const_bytes or end > layout.size_bytes:
                what = f"{self.server.source}: {parameter.name} is no variable"
                raise LoaderError(Code.BAD_PARAMETER, what)
            image.extend(bytes(max(0, end - len(image))))  # it was among the zeroed ones
            image[start:end] = data
        return bytes(image)


def _check_name(name: str, source: str) -> None:
    if not name:
        raise LoaderError(Code.NEED_SERVER_NAME, source)
    if len(name) > NAME_MAXIMUM:
        what = f"{source}: '{name}' has {len(name)} characters, at most {NAME_MAXIMUM} are taken"
        raise LoaderError(Code.NAME_TOO_LONG, what)
    if not _NAME.fullmatch(name):
        what = f"{source}: name '{name}'"
        raise LoaderError(Code.BAD_RELOCATABLE, what, hint="valid: a to z, 0 to 9, _ and -")


def _text_of(elf: ElfObject, what: str, default: str | None = None) -> str:
    """The text of a metadata section.

    Raises:
        LoaderError: MISSING_SECTION, NEED_SERVER_NAME for the name; BAD_RELOCATABLE: no text.
    """
    section = elf.section(_SECTION + what)
    if section is None:
        if default is not None:
            return default
        code = Code.NEED_SERVER_NAME if what == "name" else Code.MISSING_SECTION
        raise LoaderError(code, f"{elf.source}: no section {_SECTION}{what}")
    if any(byte > 126 for byte in section.data):
        raise LoaderError(Code.BAD_RELOCATABLE, f"{elf.source}: {section.name} is no text")
    return section.data.decode("ascii")


def _line_of(elf: ElfObject, what: str, default: str | None = None) -> str:
    """The one line of a metadata section.

    Raises:
        LoaderError: as `_text_of`; SEVERAL_SERVERS: objects of several servers were joined.
    """
    lines = [line for line in re.split(r"[\n\0]", _text_of(elf, what, default)) if line]
    if len(lines) > 1:
        found = ", ".join(lines)
        raise LoaderError(
            Code.SEVERAL_SERVERS, f"{elf.source}: {what} {found}", hint="one server in one object"
        )
    return lines[0] if lines else ""


def _version(elf: ElfObject) -> int:
    text = _line_of(elf, "version").rpartition(",")[2].strip()
    if not text.isdigit() or int(text) < INTERFACE_VERSION:
        what = f"{elf.source}: version '{text}' of the kernel-server interface"
        raise LoaderError(
            Code.BAD_RELOCATABLE, what, hint=f"build it for version {INTERFACE_VERSION}"
        )
    return int(text)


def _loadable(elf: ElfObject) -> str:
    """Where the linked image goes: never out of the object's folder, and never over the object."""
    name = _line_of(elf, "loadable", "")
    if name and (name in (".", "..", elf.source) or "/" in name):
        what = f"{elf.source}: the linked image cannot be '{name}'"
        raise LoaderError(Code.BAD_RELOCATABLE, what, hint="valid: a name in the object's folder")
    return name


def _imports(elf: ElfObject) -> dict[str, int]:
    imports: dict[str, int] = {}
    for line in _text_of(elf, "imports").split("\n"):
        if not line.strip("\0"):
            continue
        match = _IMPORT.fullmatch(line)
        if match is None:
            raise LoaderError(Code.BAD_RELOCATABLE, f"{elf.source}: import '{line}'")
        imports[match[2]] = int(match[1], 16)
    return imports
