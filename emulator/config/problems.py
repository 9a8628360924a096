# SPDX-License-Identifier: MIT
"""Collects every mistake of a file, so that all are told at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from emulator.errors import TopologyError


class Problems:
    """The mistakes found in one file.

    Args:
        source: the file's name, as it is shown.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._found: list[tuple[int, str]] = []

    def add(self, line: int, what: str, valid: str) -> None:
        """Note a mistake.

        Args:
            line: where it is, from 1.
            what: what is wrong.
            valid: what would be right.
        """
        self._found.append((line, f"{self._source}:{line}: {what}; valid: {valid}"))

    def unknown(self, line: int, what: str, name: str, known: Iterable[str]) -> None:
        """Note a name that nobody knows, with the nearest one that somebody does."""
        choices = list(known)
        near = difflib.get_close_matches(name, choices, n=1)
        guess = f" (did you mean '{near[0]}'?)" if near else ""
        self.add(line, f"unknown {what} '{name}'{guess}", ", ".join(choices) or "none")

    def raise_if_any(self) -> None:
        """End here if there were any.

        Raises:
            TopologyError: all of them, in the order of the file.
        """
        if self._found:
            raise TopologyError(tuple(text for _, text in sorted(self._found, key=_line)))


def _line(item: tuple[int, str]) -> int:
    return item[0]
