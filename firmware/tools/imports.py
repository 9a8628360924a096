# SPDX-License-Identifier: MIT
"""List what a relocatable object leaves undefined, with the checksums it is built against.

The lines of section `.kern_server.imports` (docs/spec/server_object.md). A symbol that the kernel
does not export ends the build: better here than when the server is loaded. Standard library only.

    python3 tools/imports.py --exports exports.list object.o > imports
"""

import argparse
import struct
from collections.abc import Iterator
from pathlib import Path

SHT_SYMTAB = 2
SHN_UNDEF = 0


def undefined_symbols(data: bytes) -> Iterator[str]:
    """Names of the undefined symbols of an ELF object of either class and byte order."""
    if data[:4] != b"\x7fELF":
        raise SystemExit("imports: not an ELF object")
    is_64 = data[4] == 2
    order = "<" if data[5] == 1 else ">"
    section = struct.Struct(order + ("IIQQQQIIQQ" if is_64 else "10I"))
    symbol = struct.Struct(order + ("IBBHQQ" if is_64 else "IIIBBH"))
    (table,) = struct.unpack_from(order + ("Q" if is_64 else "I"), data, 40 if is_64 else 32)
    size, count = struct.unpack_from(order + "HH", data, 58 if is_64 else 46)
    headers = [section.unpack_from(data, table + i * size) for i in range(count)]
    for header in headers:
        if header[1] != SHT_SYMTAB:
            continue
        names = headers[header[6]][4]
        for offset in range(header[4] + symbol.size, header[4] + header[5], symbol.size):
            fields = symbol.unpack_from(data, offset)
            place = fields[3] if is_64 else fields[5]
            if place == SHN_UNDEF and fields[0] != 0:
                start = names + fields[0]
                yield data[start : data.index(b"\0", start)].decode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--exports", type=Path, required=True)
    parser.add_argument("object", type=Path)
    arguments = parser.parse_args()
    lines = (line.split() for line in arguments.exports.read_text().splitlines())
    checksums = {name: checksum for checksum, name in lines}
    names = sorted(set(undefined_symbols(arguments.object.read_bytes())))
    missing = [name for name in names if name not in checksums]
    if missing:
        raise SystemExit(f"{arguments.object}: the kernel does not export {', '.join(missing)}")
    for name in names:
        print(checksums[name], name)


if __name__ == "__main__":
    main()
