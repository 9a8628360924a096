# SPDX-License-Identifier: MIT
"""The linked image of a server as a file for a debugger: the relocatable with each loaded section at
its address and with its linked bytes (docs/spec/server_object.md, section 1).

It stays a relocatable file, so a debugger relocates what it knows about types and lines itself; in
gdb, `add-symbol-file FILE` needs no address.
"""

from __future__ import annotations

import struct
from typing import Final

from emulator.loader.object import LinkedServer

__all__ = ["loadable_image"]

# Where in the ELF header and in a section's header: offset and entry size of the table, address.
_WIDE: Final = ("Q", 0x28, 0x3A, 0x10)
_NARROW: Final = ("I", 0x20, 0x2E, 0x0C)


def loadable_image(data: bytes, linked: LinkedServer) -> bytes:
    """The file's bytes.

    Args:
        data: of the relocatable that was linked.
        linked: the server at its address.
    """
    elf, image = linked.server.elf, linked.image
    word, table_at, size_at, address_at = _WIDE if elf.kind.bits == 64 else _NARROW
    order = ">" if elf.kind.big_endian else "<"
    (table,) = struct.unpack_from(order + word, data, table_at)
    (header_bytes,) = struct.unpack_from(order + "H", data, size_at)
    out = bytearray(data)
    for index, offset in image.layout.offsets.items():
        section = elf.sections[index]
        header = table + index * header_bytes
        struct.pack_into(order + word, out, header + address_at, image.address + offset)
        if section.has_bytes:
            start = section.file_offset
            out[start : start + section.size_bytes] = image.data[
                offset : offset + section.size_bytes
            ]
    return bytes(out)
