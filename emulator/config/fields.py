# SPDX-License-Identifier: MIT
"""One table of a file, read field by field.

Each getter checks type and range, notes a mistake, and goes on with the default.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Final, TypeVar

from emulator.config.locate import Locator
from emulator.config.problems import Problems

EnumT = TypeVar("EnumT", bound=Enum)
_NS_PER_S: Final = 1_000_000_000
_SIZE = re.compile(r"([1-9][0-9]*)([KMG])")
_SIZE_SHIFT: Final = {"K": 10, "M": 20, "G": 30}
NAME_PATTERN: Final = re.compile(r"[a-z0-9_-]{1,31}")
NAME_VALID: Final = "1 to 31 of a-z 0-9 _ -"
LINK_NAME_PATTERN: Final = re.compile(r"[a-z0-9_.-]{1,31}")
LINK_NAME_VALID: Final = "1 to 31 of a-z 0-9 _ - ."


class Fields:
    """Reader of one table.

    Args:
        table: what `tomllib` made of it.
        name: the table's name, e.g. `node`.
        index: which of the tables of that name, from 0.
        locator: where things stand.
        problems: where mistakes go.
    """

    def __init__(
        self,
        table: Mapping[str, object],
        *,
        name: str,
        index: int,
        locator: Locator,
        problems: Problems,
    ) -> None:
        self._table = table
        self._name = name
        self._index = index
        self._locator = locator
        self._problems = problems
        self.line = locator.table(name, index)

    def __contains__(self, key: str) -> bool:
        return key in self._table

    def line_of(self, key: str) -> int:
        """Line of a key, or of the table when it is not there."""
        return self._locator.key(self._name, self._index, key)

    def refuse_unknown(self, known: Iterable[str]) -> None:
        """Note every key that is not in `known`."""
        choices = list(known)
        for key in self._table:
            if key not in choices:
                self._problems.unknown(self.line_of(key), f"key in [{self._name}]", key, choices)

    def missing(self, key: str, valid: str) -> None:
        """Note that a key must be there."""
        self._problems.add(self.line, f"[[{self._name}]] has no '{key}'", valid)

    def bad(self, key: str, valid: str) -> None:
        """Note that a key's value cannot be."""
        shown = _shown(self._table.get(key))
        self._problems.add(self.line_of(key), f"bad value {shown} for '{key}'", valid)

    def text(self, key: str, pattern: re.Pattern[str], valid: str, default: str) -> str:
        """A string of a given form."""
        value = self._table.get(key, default)
        if isinstance(value, str) and (key not in self._table or pattern.fullmatch(value)):
            return value
        self.bad(key, valid)
        return default

    def integer(self, key: str, low: int, high: int, default: int) -> int:
        """An integer, `low` to `high`."""
        value = self._table.get(key, default)
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        self.bad(key, f"an integer from {low} to {high}")
        return default

    def flag(self, key: str, *, default: bool) -> bool:
        """true or false."""
        value = self._table.get(key, default)
        if isinstance(value, bool):
            return value
        self.bad(key, "true, false")
        return default

    def duration_ns(self, key: str, low_s: float, high_s: float, default_ns: int) -> int:
        """A time in seconds, given back in nanoseconds."""
        if key not in self._table:
            return default_ns
        value = self._table[key]
        seconds = math.nan if isinstance(value, bool) else value
        if isinstance(seconds, (int, float)) and low_s <= seconds <= high_s:
            return round(seconds * _NS_PER_S)
        self.bad(key, f"seconds, from {low_s:g} to {high_s:g}")
        return default_ns

    def size_bytes(self, key: str, low: int, high: int, default: int) -> int:
        """A size such as `32M`."""
        if key not in self._table:
            return default
        value = self._table[key]
        if isinstance(value, str) and (match := _SIZE.fullmatch(value)):
            size = int(match[1]) << _SIZE_SHIFT[match[2]]
            if low <= size <= high:
                return size
        self.bad(key, f'a size from "{low >> 20}M" to "{high >> 20}M"')
        return default

    def choice(self, key: str, kind: type[EnumT], default: EnumT) -> EnumT:
        """A member of an enumeration, by its value."""
        if key not in self._table:
            return default
        value = self._table[key]
        for member in kind:
            if member.value == value:
                return member
        names = [str(member.value) for member in kind]
        if isinstance(value, str):
            self._problems.unknown(self.line_of(key), f"{key}", value, names)
        else:
            self.bad(key, ", ".join(f'"{name}"' for name in names))
        return default

    def texts(self, key: str, valid: str) -> tuple[str, ...]:
        """A list of strings."""
        value = self._table.get(key, [])
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        self.bad(key, valid)
        return ()


def _shown(value: object) -> str:
    """A value as TOML writes it; JSON is the same for what can stand there."""
    return json.dumps(value, ensure_ascii=False, default=str)
