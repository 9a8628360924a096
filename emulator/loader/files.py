# SPDX-License-Identifier: MIT
"""Server objects from the disk, read once for each content and linked once for each address."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from emulator.loader.codes import Code, LoaderError
from emulator.loader.elf import FILE_BYTES_MAXIMUM
from emulator.loader.kernel import KernelImage
from emulator.loader.loadable import loadable_image
from emulator.loader.object import OBJECT_SUFFIX, LinkedServer, ServerObject
from emulator.machines.machine import ElfKind

__all__ = ["ObjectFiles", "find_object"]


@dataclass(slots=True)
class ObjectFiles:
    """All objects of a run; shared by its nodes, so that a restarted one links nothing again."""

    _objects: dict[tuple[bytes, ElfKind], ServerObject] = field(default_factory=dict)
    _linked: dict[tuple[bytes, ElfKind, int, bytes], LinkedServer] = field(default_factory=dict)

    def read(self, path: Path, kind: ElfKind) -> ServerObject:
        """Read and check an object as it is now.

        Args:
            path: the file.
            kind: what the node runs.

        Raises:
            LoaderError: CANT_OPEN_SERVER, or what is wrong with it.
        """
        data = _content(path)
        key = (hashlib.sha256(data).digest(), kind)
        if key not in self._objects:
            self._objects[key] = ServerObject.read(data, kind=kind, source=path.name)
        return self._objects[key]

    def link(self, server: ServerObject, address: int, kernel: KernelImage) -> LinkedServer:
        """Link an object at an address.

        Raises:
            LoaderError: as `ServerObject.link`.
        """
        key = (server.digest, server.elf.kind, address, kernel.build_id)
        if key not in self._linked:
            self._linked[key] = server.link(address, kernel)
        return self._linked[key]

    def write_loadable(self, linked: LinkedServer, relocatable: Path, path: Path) -> None:
        """Write a server's linked image for a debugger, over what may be there.

        Args:
            linked: the server.
            relocatable: its object's file.
            path: where to.

        Raises:
            LoaderError: CANT_OPEN_SERVER; BAD_HASH: the object's content is another by now.
        """
        data = _content(relocatable)
        if hashlib.sha256(data).digest() != linked.server.digest:
            raise LoaderError(Code.BAD_HASH, str(relocatable))
        made = path.with_name(f".{path.name}.{os.getpid()}")  # nobody sees half of it
        try:
            made.write_bytes(loadable_image(data, linked))
            made.replace(path)
        except OSError as error:
            made.unlink(missing_ok=True)
            raise LoaderError(Code.CANT_OPEN_SERVER, f"{path}: {error.strerror}") from error


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(FILE_BYTES_MAXIMUM + 1)
    except OSError as error:
        raise LoaderError(Code.CANT_OPEN_SERVER, f"{path}: {error.strerror}") from error


def find_object(name: str, folders: Sequence[Path]) -> Path | None:
    """The object of a server, by its name, in the first folder that has it."""
    for folder in folders:
        path = folder / f"{name}{OBJECT_SUFFIX}"
        if path.is_file():
            return path
    return None
