# SPDX-License-Identifier: MIT
"""Make the export table of an image, and the list that servers are built against.

Reads core/exports.h after the preprocessor: declarations, and `EXPORT(name)` for each name to
export. The checksum of a name covers its declaration and every type that the declaration needs
(docs/spec/server_object.md, section 3). Standard library only: the firmware builds without any
package installed.

    clang -E -P core/exports.h | python3 tools/exports.py --assembly exports.S --list exports.list
"""

import argparse
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

TOKEN = re.compile(
    r"""[A-Za-z_]\w* | "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | \.?\d(?:[eEpP][+-]|[\w.])* | \S""",
    re.VERBOSE,
)
IDENTIFIER = re.compile(r"[A-Za-z_]\w*\Z")
OPEN, CLOSE = "([{", ")]}"

Declaration = tuple[str, ...]


def skip_group(tokens: list[str], start: int) -> int:
    """Index after the bracketed group that begins at `start`."""
    depth = 0
    for index in range(start, len(tokens)):
        depth += (tokens[index] in OPEN) - (tokens[index] in CLOSE)
        if depth == 0:
            return index + 1
    raise SystemExit("exports: brackets do not match")


def without_attributes(tokens: list[str]) -> Iterator[str]:
    """The tokens without attributes and assertions; alignment stays, since it changes layouts."""
    index = 0
    while index < len(tokens):
        if tokens[index] in ("__attribute__", "_Static_assert"):
            end = skip_group(tokens, index + 1)
            words = tokens[index:end]
            if "aligned" in words or "packed" in words:
                yield from words
            index = end
        else:
            yield tokens[index]
            index += 1


def ends_in_parameters(tokens: list[str]) -> bool:
    """Is this the head of a function, so that a body follows?"""
    if tokens[-1] != ")":
        return False
    depth = 0
    for index in range(len(tokens) - 1, 0, -1):
        depth += (tokens[index] in CLOSE) - (tokens[index] in OPEN)
        if depth == 0:
            return tokens[index - 1] != "__attribute__"
    return False


def split(tokens: list[str]) -> Iterator[Declaration]:
    """Top-level declarations; bodies of functions are left out."""
    current: list[str] = []
    index = 0
    while index < len(tokens):
        token = tokens[index]
        if token == ";":
            if current:
                yield tuple(current)
            current = []
            index += 1
        elif token == "{" and current and ends_in_parameters(current):
            yield tuple(current)
            current = []
            index = skip_group(tokens, index)
        elif token in OPEN:
            end = skip_group(tokens, index)
            current += tokens[index:end]
            index = end
        else:
            current.append(token)
            index += 1


def outside_groups(declaration: Declaration) -> Iterator[tuple[int, str]]:
    """The tokens of a declaration that stand in no bracket, with their places."""
    depth = 0
    for index, token in enumerate(declaration):
        depth -= token in CLOSE
        if depth == 0 and token not in CLOSE:
            yield index, token
        depth += token in OPEN


def defined_names(declaration: Declaration) -> Iterator[str]:
    """Tags that a declaration defines, and the name that a typedef gives."""
    for index, token in enumerate(declaration[:-2]):
        if token in ("struct", "union", "enum") and declaration[index + 2] == "{":
            yield declaration[index + 1]
    if declaration[0] == "typedef":
        yield declared_name(declaration)


def declared_name(declaration: Declaration) -> str:
    """The name that a prototype, an object or a typedef declares; empty if it declares none."""
    pointer = re.search(r"\( \* (?:const |volatile )?(\w+) ", " ".join(declaration) + " ")
    name = ""
    for index, token in outside_groups(declaration):
        if token == "(" and name:
            break
        if IDENTIFIER.match(token):
            name = token
        following = declaration[index + 1] if index + 1 < len(declaration) else ""
        if token in ("struct", "union", "enum") and following:
            name = ""
    if pointer and declaration[0] == "typedef":
        return pointer[1]
    return name


class Declarations:
    """What the headers declare, and the checksums of it."""

    def __init__(self, declarations: Iterable[Declaration]) -> None:
        self._all = list(declarations)
        self._types: dict[str, list[int]] = {}
        self._values: dict[str, int] = {}
        for index, declaration in enumerate(self._all):
            names = list(defined_names(declaration))
            for name in names:
                self._types.setdefault(name, []).append(index)
            if not names:
                self._values.setdefault(declared_name(declaration), index)

    def closure(self, name: str) -> str:
        """The declaration of `name` and the definitions it needs, as text."""
        if name not in self._values:
            raise SystemExit(f"exports: {name} is not declared in the headers of core/exports.h")
        found: set[int] = set()
        waiting = [self._values[name]]
        while waiting:
            index = waiting.pop()
            if index in found:
                continue
            found.add(index)
            for token in self._all[index]:
                waiting += self._types.get(token, ())
        return ";".join(" ".join(self._all[index]) for index in sorted(found))


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli), as everywhere in this project."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def table_of(text: str) -> list[tuple[str, int]]:
    """Name and checksum of every export, sorted by name."""
    names = re.findall(r"\bEXPORT\((\w+)\)", text)
    if len(set(names)) != len(names):
        raise SystemExit("exports: a name is exported twice")
    tokens = list(without_attributes(TOKEN.findall(re.sub(r"\bEXPORT\(\w+\)", "", text))))
    declarations = Declarations(split(tokens))
    return [(name, crc32c(declarations.closure(name).encode())) for name in sorted(names)]


def assembly(table: list[tuple[str, int]]) -> str:
    """The table as an assembly file for the preprocessor, which knows the size of a pointer."""
    lines = [
        "/* Made by tools/exports.py. */",
        "#if __SIZEOF_POINTER__ == 8",
        "#define ADDRESS .quad",
        "#else",
        "#define ADDRESS .long",
        "#endif",
        '    .section kern_exports, "", @progbits',
        "exports_start:",
    ]
    for index, (name, checksum) in enumerate(table):
        lines.append(f"    ADDRESS {name}")
        lines.append(f"    .long {checksum:#010x}, name_{index} - exports_start")
    lines.append("    ADDRESS 0")
    lines.append("    .long 0, 0")
    lines += [f'name_{index}: .asciz "{name}"' for index, (name, _) in enumerate(table)]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--assembly", type=Path, required=True)
    parser.add_argument("--list", type=Path, required=True)
    arguments = parser.parse_args()
    table = table_of(sys.stdin.read())
    arguments.assembly.write_text(assembly(table))
    arguments.list.write_text("".join(f"{checksum:08x} {name}\n" for name, checksum in table))


if __name__ == "__main__":
    main()
