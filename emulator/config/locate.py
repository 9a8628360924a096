# SPDX-License-Identifier: MIT
"""Which line of a TOML file a table or a key stands on; `tomllib` does not say.

A scanner, not a parser: it runs only on text that `tomllib` has accepted, so it needs to know no
more than where strings and comments end. What it does not find (inline tables, dotted keys) it
gives the line of the nearest enclosing thing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_HEADER = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_-]+)\s*\]\]?")
_KEY = re.compile(r"\s*(?:([A-Za-z0-9_-]+)|\"([^\"]*)\"|'([^']*)')\s*=")


@dataclass(slots=True)
class _Table:
    line: int
    keys: dict[str, int] = field(default_factory=dict)


class Locator:
    """Lines of the tables and keys of one TOML text."""

    def __init__(self, text: str) -> None:
        self._root = _Table(line=1)
        self._tables: dict[str, list[_Table]] = {}
        self._scan(text)

    def table(self, name: str, index: int = 0) -> int:
        """Line of the `index`-th `[name]` or `[[name]]`."""
        tables = self._tables.get(name, [])
        if index < len(tables):
            return tables[index].line
        return self._root.keys.get(name, self._root.line)

    def key(self, table: str, index: int, key: str) -> int:
        """Line of a key in the `index`-th table of that name."""
        tables = self._tables.get(table, [])
        if index < len(tables):
            return tables[index].keys.get(key, tables[index].line)
        return self.table(table, index)

    def root_key(self, key: str) -> int:
        """Line of a key, or of the first table, of that name at the top of the file."""
        return self._root.keys.get(key) or self.table(key)

    def _scan(self, text: str) -> None:
        current = self._root
        depth = 0  # of brackets: a value may go on over several lines
        fence = ""  # the quotes that end a string of several lines
        for number, line in enumerate(text.splitlines(), start=1):
            if depth == 0 and not fence:
                if header := _HEADER.match(line):
                    current = _Table(line=number)
                    self._tables.setdefault(header[2], []).append(current)
                    continue
                if key := _KEY.match(line):
                    current.keys.setdefault(key[1] or key[2] or key[3] or "", number)
            depth, fence = _after_line(line, depth, fence)


def _after_line(line: str, depth: int, fence: str) -> tuple[int, str]:
    """Bracket depth and open string at the end of a line."""
    at = 0
    while at < len(line):
        if fence:
            end = _end_of_string(line, at, fence)
            if end < 0:
                return depth, fence if len(fence) == 3 else ""
            at, fence = end, ""
            continue
        char = line[at]
        if char == "#":
            break
        if char in "\"'":
            fence = char * 3 if line.startswith(char * 3, at) else char
            at += len(fence)
            continue
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(char, 0)
        at += 1
    return depth, fence if len(fence) == 3 else ""


def _end_of_string(line: str, at: int, fence: str) -> int:
    """Offset behind the quotes that end a string, -1 if it goes on."""
    while at < len(line):
        if line[at] == "\\" and fence[0] == '"':
            at += 2
        elif line.startswith(fence, at):
            return at + len(fence)
        else:
            at += 1
    return -1
