# SPDX-License-Identifier: MIT
"""Load parameters: typed variables of a server whose values are set before it runs
(docs/spec/server_object.md, section 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from emulator.loader.codes import Code, LoaderError

__all__ = ["Parameter", "parse_parameters", "parse_values"]

_INTEGERS: Final = {"i32": (4, True), "u32": (4, False), "i64": (8, True), "u64": (8, False)}
_TRUE: Final = ("1", "true", "yes", "on")
_FALSE: Final = ("0", "false", "no", "off")
_STRING_BYTES_MAXIMUM: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter that a server declares.

    Args:
        name: of its variable.
        kind: bool, i32, u32, i64, u64 or string.
        size_bytes: of the variable.
        description: for people.
    """

    name: str
    kind: str
    size_bytes: int
    description: str

    def encode(self, text: str, order: Literal["little", "big"]) -> bytes:
        """The bytes of a value.

        Args:
            text: the value as it was written.
            order: of the node.

        Raises:
            LoaderError: BAD_PARAMETER: the text is no value of this type.
        """
        if self.kind == "string":
            data = text.encode()
            if len(data) >= self.size_bytes or 0 in data:
                raise self._error(text, f"at most {self.size_bytes - 1} bytes of text")
            return data.ljust(self.size_bytes, b"\0")
        if self.kind == "bool":
            if text.lower() not in _TRUE + _FALSE:
                raise self._error(text, "true or false")
            return bytes([text.lower() in _TRUE])
        size, signed = _INTEGERS[self.kind]
        try:
            return int(text, 0).to_bytes(size, order, signed=signed)
        except (ValueError, OverflowError):
            raise self._error(text, f"an integer that fits {self.kind}") from None

    def _error(self, text: str, valid: str) -> LoaderError:
        return LoaderError(Code.BAD_PARAMETER, f"{self.name}={text}", hint=f"valid: {valid}")


def parse_parameters(data: bytes, *, source: str) -> tuple[Parameter, ...]:
    """Read the section that declares parameters.

    Raises:
        LoaderError: BAD_RELOCATABLE.
    """
    found = []
    for text in data.decode("ascii", errors="replace").split("\0"):
        if not text:
            continue
        kind, _, rest = text.partition(" ")
        name, _, description = rest.partition(" ")
        size = _size_of(kind)
        if size is None or not name:
            raise LoaderError(Code.BAD_RELOCATABLE, f"{source}: parameter '{text}'")
        found.append(
            Parameter(
                name=name,
                kind=kind.partition(":")[0],
                size_bytes=size,
                description=description,
            )
        )
    return tuple(found)


def parse_values(words: Sequence[str], known: Sequence[Parameter]) -> Mapping[Parameter, str]:
    """Take `name=value` words apart.

    Args:
        words: as they were written; a later one wins.
        known: what the server declares.

    Raises:
        LoaderError: BAD_PARAMETER: no such parameter, or no value.
    """
    by_name = {parameter.name: parameter for parameter in known}
    values: dict[Parameter, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name not in by_name:
            valid = ", ".join(f"{item.name} ({item.kind})" for item in known) or "none"
            raise LoaderError(Code.BAD_PARAMETER, f"'{word}'", hint=f"name=value of: {valid}")
        values[by_name[name]] = value
    return values


def _size_of(kind: str) -> int | None:
    if kind == "bool":
        return 1
    if kind in _INTEGERS:
        return _INTEGERS[kind][0]
    base, _, size = kind.partition(":")
    if base == "string" and size.isdigit() and 1 < int(size) <= _STRING_BYTES_MAXIMUM:
        return int(size)
    return None
