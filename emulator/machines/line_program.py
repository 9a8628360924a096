# SPDX-License-Identifier: MIT
"""Runs the line programs of DWARF: which line of which file each address comes from.

pyelftools reads the header of a program and runs it, too, but makes an object of every row: seconds
for a firmware image, whose rows are some 50,000. This runs the opcodes only (DWARF 5, section 6.2.5;
those of versions 2 to 4 are the same).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Literal

__all__ = ["Row", "run_line_program"]

Row = tuple[int, int, int]
"""Address, line, and number of the file in the program's header."""

_COPY, _ADVANCE_PC, _ADVANCE_LINE, _SET_FILE = 1, 2, 3, 4
_CONST_ADD_PC, _FIXED_ADVANCE_PC = 8, 9
_NO_OPERANDS: Final = (6, 7, 10, 11)  # NEGATE_STMT, BASIC_BLOCK, PROLOGUE_END, EPILOGUE_BEGIN
_EXTENDED_END_SEQUENCE, _EXTENDED_SET_ADDRESS = 1, 2


def run_line_program(
    code: bytes, header: Mapping[str, int], order: Literal["little", "big"]
) -> Iterator[Row]:
    """The rows of a program that stand for instructions; those that end a sequence are left out.

    Args:
        code: the opcodes.
        header: of the program, by DWARF's names.
        order: of its words.

    Raises:
        IndexError: it ends within an instruction.
    """
    step, base, span = (
        header["minimum_instruction_length"],
        header["line_base"],
        header["line_range"],
    )
    special = header["opcode_base"]
    const_add = (255 - special) // span * step
    address, line, file = 0, 1, 1
    at, end = 0, len(code)
    while at < end:
        opcode = code[at]
        at += 1
        if opcode >= special:
            opcode -= special
            address += opcode // span * step
            line += base + opcode % span
            yield address, line, file
        elif opcode == _COPY:
            yield address, line, file
        elif opcode == 0:
            size, at = _uleb(code, at)
            if code[at] == _EXTENDED_END_SEQUENCE:
                address, line, file = 0, 1, 1
            elif code[at] == _EXTENDED_SET_ADDRESS:
                address = int.from_bytes(code[at + 1 : at + size], order)
            at += size
        elif opcode == _ADVANCE_PC:
            advance, at = _uleb(code, at)
            address += advance * step
        elif opcode == _ADVANCE_LINE:
            advance, at = _sleb(code, at)
            line += advance
        elif opcode == _SET_FILE:
            file, at = _uleb(code, at)
        elif opcode == _CONST_ADD_PC:
            address += const_add
        elif opcode == _FIXED_ADVANCE_PC:
            address += int.from_bytes(code[at : at + 2], order)
            at += 2
        elif opcode not in _NO_OPERANDS:  # SET_COLUMN, SET_ISA
            _, at = _uleb(code, at)


def _uleb(code: bytes, at: int) -> tuple[int, int]:
    """A number without a sign, and where the next one is."""
    number = shift = 0
    while code[at] & 0x80:
        number |= (code[at] & 0x7F) << shift
        shift += 7
        at += 1
    return number | code[at] << shift, at + 1


def _sleb(code: bytes, at: int) -> tuple[int, int]:
    """A number with a sign, and where the next one is."""
    start = at
    number, at = _uleb(code, at)
    bits = 7 * (at - start)
    return number - (1 << bits) if number >> bits - 1 else number, at
