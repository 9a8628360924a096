# SPDX-License-Identifier: MIT
"""Logs of servers in words: an entry says where its format is, the text comes from our copy of the
image (docs/spec/server_object.md, section 6).

Conversions are C's. Nothing a server sends can do more than look strange: an address outside the
image is shown as a number, a conversion that C does not have as it was written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from emulator.loader.node_messages import FORMAT_UNKNOWN, LogEntry
from emulator.loader.object import LinkedServer

__all__ = ["format_entries", "format_text"]

_STAMP_COLUMNS: Final = 10
_TEXT_BYTES_MAXIMUM: Final = 1024
_WIDTH_MAXIMUM: Final = 255
_CONVERSION: Final = re.compile(
    r"%(?P<flags>[-+ #0]*)(?P<width>\*|\d+)?(?:\.(?P<precision>\*|\d*))?"
    r"(?P<length>hh|h|ll|l|z|j|t)?(?P<what>[diouxXcsp%])"
)
_INTEGER_BITS: Final = {"hh": 8, "h": 16, "": 32, "ll": 64, "j": 64}


def format_entries(entries: tuple[LogEntry, ...], linked: LinkedServer, *, lost: int = 0) -> str:
    """Entries as kl_log prints them: time stamp in ns of the node's clock, right-aligned in 10
    columns, colon, tab, text. A newline comes from the format, if at all.

    Args:
        entries: oldest first.
        linked: the server as it was loaded.
        lost: how many came after them and found no room; told on a line of its own.
    """
    texts = [
        f"{entry.time_ns:>{_STAMP_COLUMNS}}:\t{_entry_text(entry, linked)}" for entry in entries
    ]
    if lost:
        texts.append(f"{'':>{_STAMP_COLUMNS}}:\t({lost} entries were lost)\n")
    return "".join(texts)


def _entry_text(entry: LogEntry, linked: LinkedServer) -> str:
    if entry.format_offset == FORMAT_UNKNOWN:
        return "(no format of the server's) " + " ".join(hex(item) for item in entry.arguments)
    text = _string_at(linked, entry.format_offset)
    if text is None:
        return f"(format at {entry.format_offset:#x}, outside the image)"
    return format_text(text, entry.arguments, linked)


def format_text(text: str, arguments: tuple[int, ...], linked: LinkedServer) -> str:
    """A format with its arguments, of 64 bits each.

    Args:
        text: C's.
        arguments: those that are missing count as 0.
        linked: where texts of %s are.
    """
    rest = iter(arguments)

    def star(field: str | None) -> int | None:
        """A width or precision; `*` takes the next argument."""
        if field is None:
            return None
        number = _signed(next(rest, 0), 32) if field == "*" else int(field or 0)
        return max(-_WIDTH_MAXIMUM, min(number, _WIDTH_MAXIMUM))

    def convert(match: re.Match[str]) -> str:
        if match["what"] == "%":
            return "%"
        width, precision = star(match["width"]), star(match["precision"])
        flags = match["flags"]
        if width is not None and width < 0:
            flags, width = flags + "-", -width
        spec = _Spec(
            what=match["what"],
            length=match["length"] or "",
            flags=flags,
            width=width or 0,
            precision=precision,
        )
        said = _convert(spec, next(rest, 0), linked)
        return said.ljust(width or 0) if "-" in flags else said.rjust(width or 0)

    return _CONVERSION.sub(convert, text)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spec:
    """A conversion, its stars filled in."""

    what: str
    length: str
    flags: str
    width: int
    precision: int | None


def _convert(spec: _Spec, value: int, linked: LinkedServer) -> str:
    """One argument in words, not yet as wide as asked for but for leading zeros."""
    bits = _bits(spec.length, linked)
    match spec.what:
        case "s":
            string = _string_at(linked, value - linked.image.address)
            text = f"({value:#x})" if string is None else string
            return text if spec.precision is None or spec.precision < 0 else text[: spec.precision]
        case "c":
            return chr(value & 0xFF)
        case "p":
            return f"{value & ((1 << 8 * _pointer_bytes(linked)) - 1):#x}"
        case "d" | "i":
            number = _signed(value, bits)
            sign = "-" if number < 0 else "+" if "+" in spec.flags else " " * (" " in spec.flags)
            digits = str(abs(number))
        case what:
            number = value & ((1 << bits) - 1)
            prefix = {"x": "0x", "X": "0X", "o": "0"}.get(what, "")
            sign = prefix if "#" in spec.flags and number else ""
            digits = f"{number:{what.replace('u', 'd')}}"
    if spec.precision is not None and spec.precision >= 0:
        digits = digits.rjust(spec.precision, "0")
    elif "0" in spec.flags and "-" not in spec.flags:
        digits = digits.rjust(spec.width - len(sign), "0")
    return sign + digits


def _bits(length: str, linked: LinkedServer) -> int:
    """How many bits of an argument a length modifier means; l, z and t are a pointer's."""
    return _INTEGER_BITS.get(length, 8 * _pointer_bytes(linked))


def _pointer_bytes(linked: LinkedServer) -> int:
    return linked.server.elf.kind.bits // 8


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value


def _string_at(linked: LinkedServer, offset: int) -> str | None:
    """The NUL-ended text at an offset of the image as it was loaded; None: there is none."""
    data = linked.image.data
    if not 0 <= offset < len(data):
        return None
    return data[offset : offset + _TEXT_BYTES_MAXIMUM].partition(b"\0")[0].decode(errors="replace")
