# SPDX-License-Identifier: MIT
"""What kernel servers are built with: public headers, sources that drivers stand on, the compiler's
flags and the exports of the kernel that they are built against.

A checkout has it in its firmware folder; an installed package brings a copy of the same shape, made
by `setup.py`. Include paths in the flags begin in the kit's folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from emulator.errors import HostError
from emulator.machines.built import built_candidates
from emulator.model import Arch

__all__ = ["ServerKit", "find_kit"]

FIRMWARE: Final = Path(__file__).resolve().parents[2] / "firmware"
SHIPPED: Final = Path(__file__).resolve().parents[1] / "_images" / "kit"
_EXPORTS: Final = "exports.list"
_FLAGS: Final = "server.flags"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerKit:
    """What servers for one architecture are built with.

    Args:
        folder: where include paths and the paths below begin.
        exports: the symbols that the kernel exports, with their checksums.
        flags: of the compiler.
    """

    folder: Path
    exports: Path
    flags: tuple[str, ...]

    @property
    def metadata_source(self) -> Path:
        """What makes the sections that say what a server is."""
        return self.folder / "arch" / "generic" / "server_object.S"

    @property
    def imports_tool(self) -> Path:
        """The program that lists what an object takes from the kernel."""
        return self.folder / "tools" / "imports.py"

    def find(self, path: Path) -> Path:
        """A source as it was named; if there is none, the kit's of that name."""
        shipped = self.folder / path
        return shipped if not path.exists() and shipped.is_file() else path


def find_kit(arch: Arch) -> ServerKit:
    """The kit of the firmware that runs: this checkout's if it is built, else the package's.

    Raises:
        HostError: neither is there.
    """
    exports = built_candidates(arch.value, _EXPORTS)
    for folder, path in zip((FIRMWARE, SHIPPED), exports, strict=True):
        flags = path.with_name(_FLAGS)
        if path.is_file() and flags.is_file():
            words = flags.read_text(encoding="ascii").split()
            return ServerKit(
                folder=folder,
                exports=path,
                flags=(*words, f"-ffile-prefix-map={folder}=."),
            )
    raise HostError(
        f"nothing to build servers for {arch.value} with",
        hint="build the firmware: make firmware",
        details=tuple(f"looked for {path}" for path in exports),
    )
