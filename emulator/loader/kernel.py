# SPDX-License-Identifier: MIT
"""What a firmware image exports to servers, and how it is told from another build
(docs/spec/server_object.md, section 3)."""

from __future__ import annotations

import functools
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from emulator.errors import HostError
from emulator.loader.codes import Code, LoaderError

__all__ = ["Export", "KernelImage"]

BUILD_ID_BYTES: Final = 20
_EXPORTS: Final = "kern_exports"
_BUILD_ID: Final = ".note.gnu.build-id"
_NOTE_HEADER_BYTES: Final = 16  # sizes, type, "GNU"


@dataclass(frozen=True, slots=True)
class Export:
    """A symbol that servers may use.

    Args:
        address: in the running kernel.
        checksum: of its declaration and all that this needs.
    """

    address: int
    checksum: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelImage:
    """The part of an image that servers are linked against.

    Args:
        build_id: 20 bytes that no other build has.
        exports: by name.
    """

    build_id: bytes
    exports: Mapping[str, Export]

    def address_of(self, name: str) -> int | None:
        """The address of an exported symbol, as written or with a leading underscore."""
        export = self.exports.get(name) or self.exports.get(f"_{name}")
        return None if export is None else export.address

    @classmethod
    def read(cls, path: Path) -> KernelImage:
        """Read an image's export table; the same file is read once.

        Raises:
            HostError: it cannot be read.
            LoaderError: WRONG_IMAGE: it has no export table or no build id.
        """
        try:
            stat = path.stat()
        except OSError as error:
            raise _unreadable(path, error) from error
        return _read(path, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=16)
def _read(path: Path, _changed_ns: int, _size_bytes: int) -> KernelImage:
    try:
        with path.open("rb") as file:
            elf = ELFFile(file)
            exports = elf.get_section_by_name(_EXPORTS)
            build_id = elf.get_section_by_name(_BUILD_ID)
            if exports is None or build_id is None:
                missing = _EXPORTS if exports is None else _BUILD_ID
                raise LoaderError(Code.WRONG_IMAGE, f"{path}: no section {missing}")
            layout = struct.Struct(
                ("<" if elf.little_endian else ">") + ("QII" if elf.elfclass == 64 else "III")
            )
            return KernelImage(
                build_id=build_id.data()[_NOTE_HEADER_BYTES:][:BUILD_ID_BYTES],
                exports=_exports(exports.data(), layout, path),
            )
    except OSError as error:
        raise _unreadable(path, error) from error
    except ELFError as error:
        raise LoaderError(Code.WRONG_IMAGE, f"{path}: no ELF image ({error})") from error


def _exports(data: bytes, layout: struct.Struct, path: Path) -> dict[str, Export]:
    exports: dict[str, Export] = {}
    try:
        offset = 0
        while True:
            address, checksum, name_at = layout.unpack_from(data, offset)
            if not name_at:
                return exports
            name = data[name_at : data.index(0, name_at)].decode("ascii")
            exports[name] = Export(address, checksum)
            offset += layout.size
    except (struct.error, ValueError) as error:
        what = f"{path}: its export table is malformed"
        raise LoaderError(Code.WRONG_IMAGE, what) from error


def _unreadable(path: Path, error: OSError) -> HostError:
    return HostError(
        f"{path}: cannot be read: {error.strerror}", hint="build the firmware: make firmware"
    )
