# SPDX-License-Identifier: MIT
"""What a relocation writes: the types of each architecture, with their ranges.

Pure functions of numbers and bytes; `link.py` decides about addresses. Formulas are those of the
psABI documents: S the symbol's address, A the addend, P the place. A type that is not here is
refused: code built as ours is (not position independent, no linker relaxation) has no other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from emulator.loader.codes import Code, LoaderError
from emulator.machines.machine import ElfKind

__all__ = ["Place", "Relocator", "relocator_for"]

_Order: TypeAlias = Literal["little", "big"]
_MASK_64: Final = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Place:
    """Where and what to write.

    Args:
        image: the bytes of the section.
        offset: of the place in it.
        address: of the place, P.
        value: S + A.
        order: byte order of data.
        pcrel_hi: RISC-V: S + A - P of the upper half that a PCREL_LO12 belongs to.
    """

    image: bytearray
    offset: int
    address: int
    value: int
    order: _Order
    pcrel_hi: int = 0

    def read(self, size: int, order: _Order | None = None) -> int:
        """The number at the place."""
        field = self.image[self.offset : self.offset + size]
        if len(field) != size:
            raise LoaderError(Code.RELOCATION_RANGE, "a place across the end of its section")
        return int.from_bytes(field, order or self.order)

    def write(self, size: int, number: int, order: _Order | None = None) -> None:
        """Put a number there, cut to `size` bytes."""
        self.read(size)
        field = (number & ((1 << 8 * size) - 1)).to_bytes(size, order or self.order)
        self.image[self.offset : self.offset + size] = field

    def patch(self, size: int, mask: int, bits: int) -> None:
        """Replace the bits of `mask` in a little-endian instruction."""
        self.write(size, self.read(size, "little") & ~mask | bits & mask, "little")


Apply: TypeAlias = Callable[[Place], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Relocator:
    """The relocation types of one architecture.

    Args:
        types: what each number does, with its name.
        ignored: numbers that change nothing.
        refused: names of numbers that one could expect here.
        pcrel_hi, pcrel_lo: RISC-V's pairs.
    """

    types: Mapping[int, tuple[str, Apply]]
    ignored: frozenset[int]
    refused: Mapping[int, str]
    pcrel_hi: frozenset[int] = frozenset()
    pcrel_lo: frozenset[int] = frozenset()

    def apply(self, kind: int, place: Place) -> None:
        """Write what a relocation says.

        Raises:
            LoaderError: UNSUPPORTED_RELOCATION; RELOCATION_RANGE: the value does not fit.
        """
        if kind in self.ignored:
            return
        if kind not in self.types:
            name = self.refused.get(kind, f"type {kind}")
            raise LoaderError(Code.UNSUPPORTED_RELOCATION, name)
        name, write = self.types[kind]
        try:
            write(place)
        except _OutOfRange as error:
            raise LoaderError(
                Code.RELOCATION_RANGE, f"{name} at {place.address:#x}: {error}"
            ) from None


class _OutOfRange(Exception):
    """A value does not fit its field."""


def _fit_signed(value: int, bits: int) -> int:
    if not -(1 << bits - 1) <= value < 1 << bits - 1:
        raise _OutOfRange(f"{value:#x} does not fit {bits} bits, signed")
    return value


def _fit_unsigned(value: int, bits: int) -> int:
    if not 0 <= value < 1 << bits:
        raise _OutOfRange(f"{value:#x} does not fit {bits} bits")
    return value


def _fit_either(value: int, bits: int) -> int:
    if not -(1 << bits - 1) <= value < 1 << bits:
        raise _OutOfRange(f"{value:#x} does not fit {bits} bits")
    return value


def _aligned(value: int, align: int) -> int:
    if value % align:
        raise _OutOfRange(f"{value:#x} is no multiple of {align}")
    return value


# --- plain numbers ---------------------------------------------------------------------------------


def _absolute(size: int, fit: Callable[[int, int], int] = _fit_either) -> Apply:
    def apply(place: Place) -> None:
        value = place.value if size == 8 else fit(place.value, 8 * size)
        place.write(size, value)

    return apply


def _relative(size: int, fit: Callable[[int, int], int] = _fit_signed) -> Apply:
    def apply(place: Place) -> None:
        value = place.value - place.address
        place.write(size, value if size == 8 else fit(value, 8 * size))

    return apply


# --- x86-64 ----------------------------------------------------------------------------------------

_X86_64 = Relocator(
    types={
        1: ("R_X86_64_64", _absolute(8)),
        2: ("R_X86_64_PC32", _relative(4)),
        4: ("R_X86_64_PLT32", _relative(4)),
        10: ("R_X86_64_32", _absolute(4, _fit_unsigned)),
        11: ("R_X86_64_32S", _absolute(4, _fit_signed)),
        24: ("R_X86_64_PC64", _relative(8)),
    },
    ignored=frozenset({0}),
    refused={
        9: "R_X86_64_GOTPCREL",
        41: "R_X86_64_GOTPCRELX",
        42: "R_X86_64_REX_GOTPCRELX",
    },
)


# --- aarch64: instructions are little-endian, whatever data are ----------------------------------


def _page(address: int) -> int:
    return address & ~0xFFF


def _branch(bits: int, shift: int) -> Apply:
    """A word offset of `bits` bits, at bit `shift`."""
    mask = ((1 << bits) - 1) << shift

    def apply(place: Place) -> None:
        distance = _aligned(_fit_signed(place.value - place.address, bits + 2), 4)
        place.patch(4, mask, (distance >> 2) << shift)

    return apply


def _adr_immediate(place: Place, value: int) -> None:
    place.patch(4, 0x60FFFFE0, (value & 3) << 29 | (value >> 2 & 0x7FFFF) << 5)


def _adr_page(*, check: bool) -> Apply:
    def apply(place: Place) -> None:
        distance = _page(place.value) - _page(place.address)
        _adr_immediate(place, (_fit_signed(distance, 33) if check else distance) >> 12)

    return apply


def _adr(place: Place) -> None:
    _adr_immediate(place, _fit_signed(place.value - place.address, 21))


def _low_12(shift: int) -> Apply:
    """The low 12 bits of the address, in units of 2^shift."""

    def apply(place: Place) -> None:
        low = _aligned(place.value & 0xFFF, 1 << shift)
        place.patch(4, 0x3FFC00, low >> shift << 10)

    return apply


def _movw(group: int, *, check: bool) -> Apply:
    def apply(place: Place) -> None:
        value = place.value & _MASK_64
        if check:
            _fit_unsigned(value, 16 * (group + 1))
        place.patch(4, 0x1FFFE0, (value >> 16 * group & 0xFFFF) << 5)

    return apply


_AARCH64 = Relocator(
    types={
        257: ("R_AARCH64_ABS64", _absolute(8)),
        258: ("R_AARCH64_ABS32", _absolute(4)),
        259: ("R_AARCH64_ABS16", _absolute(2)),
        260: ("R_AARCH64_PREL64", _relative(8)),
        261: ("R_AARCH64_PREL32", _relative(4, _fit_either)),
        262: ("R_AARCH64_PREL16", _relative(2, _fit_either)),
        263: ("R_AARCH64_MOVW_UABS_G0", _movw(0, check=True)),
        264: ("R_AARCH64_MOVW_UABS_G0_NC", _movw(0, check=False)),
        265: ("R_AARCH64_MOVW_UABS_G1", _movw(1, check=True)),
        266: ("R_AARCH64_MOVW_UABS_G1_NC", _movw(1, check=False)),
        267: ("R_AARCH64_MOVW_UABS_G2", _movw(2, check=True)),
        268: ("R_AARCH64_MOVW_UABS_G2_NC", _movw(2, check=False)),
        269: ("R_AARCH64_MOVW_UABS_G3", _movw(3, check=True)),
        273: ("R_AARCH64_LD_PREL_LO19", _branch(19, 5)),
        274: ("R_AARCH64_ADR_PREL_LO21", _adr),
        275: ("R_AARCH64_ADR_PREL_PG_HI21", _adr_page(check=True)),
        276: ("R_AARCH64_ADR_PREL_PG_HI21_NC", _adr_page(check=False)),
        277: ("R_AARCH64_ADD_ABS_LO12_NC", _low_12(0)),
        278: ("R_AARCH64_LDST8_ABS_LO12_NC", _low_12(0)),
        279: ("R_AARCH64_TSTBR14", _branch(14, 5)),
        280: ("R_AARCH64_CONDBR19", _branch(19, 5)),
        282: ("R_AARCH64_JUMP26", _branch(26, 0)),
        283: ("R_AARCH64_CALL26", _branch(26, 0)),
        284: ("R_AARCH64_LDST16_ABS_LO12_NC", _low_12(1)),
        285: ("R_AARCH64_LDST32_ABS_LO12_NC", _low_12(2)),
        286: ("R_AARCH64_LDST64_ABS_LO12_NC", _low_12(3)),
        299: ("R_AARCH64_LDST128_ABS_LO12_NC", _low_12(4)),
    },
    ignored=frozenset({0, 256}),
    refused={311: "R_AARCH64_ADR_GOT_PAGE", 312: "R_AARCH64_LD64_GOT_LO12_NC"},
)


# --- RISC-V ----------------------------------------------------------------------------------------


def _riscv(bits: int) -> Relocator:
    """The types for registers of 32 or 64 bits; with 32, addresses wrap and reach everywhere."""

    def signed(value: int) -> int:
        value &= (1 << bits) - 1
        return value - (1 << bits) if value >> bits - 1 else value

    def high_20(value: int) -> int:
        """What lui or auipc gets, so that the low 12 bits can be added as a signed number."""
        value = signed(value)
        if bits == 64:
            _fit_signed(value + 0x800, 32)
        return value + 0x800 & 0xFFFFF000

    def u_type(place: Place, value: int) -> None:
        place.patch(4, 0xFFFFF000, high_20(value))

    def i_type(place: Place, value: int) -> None:
        place.patch(4, 0xFFF00000, (value & 0xFFF) << 20)

    def s_type(place: Place, value: int) -> None:
        place.patch(4, 0xFE000F80, (value >> 5 & 0x7F) << 25 | (value & 0x1F) << 7)

    def call(place: Place) -> None:
        """auipc and jalr, one after the other."""
        distance = place.value - place.address
        u_type(place, distance)
        after = Place(place.image, place.offset + 4, place.address, place.value, place.order)
        i_type(after, distance)

    def branch(place: Place) -> None:
        distance = _aligned(_fit_signed(signed(place.value - place.address), 13), 2)
        place.patch(
            4,
            0xFE000F80,
            (distance >> 12 & 1) << 31
            | (distance >> 5 & 0x3F) << 25
            | (distance >> 1 & 0xF) << 8
            | (distance >> 11 & 1) << 7,
        )

    def jump(place: Place) -> None:
        distance = _aligned(_fit_signed(signed(place.value - place.address), 21), 2)
        place.patch(
            4,
            0xFFFFF000,
            (distance >> 20 & 1) << 31
            | (distance >> 1 & 0x3FF) << 21
            | (distance >> 11 & 1) << 20
            | (distance >> 12 & 0xFF) << 12,
        )

    def short_branch(place: Place) -> None:
        d = _aligned(_fit_signed(signed(place.value - place.address), 9), 2)
        place.patch(
            2,
            0x1C7C,
            (d >> 8 & 1) << 12
            | (d >> 3 & 3) << 10
            | (d >> 6 & 3) << 5
            | (d >> 1 & 3) << 3
            | (d >> 5 & 1) << 2,
        )

    def short_jump(place: Place) -> None:
        d = _aligned(_fit_signed(signed(place.value - place.address), 12), 2)
        place.patch(
            2,
            0x1FFC,
            (d >> 11 & 1) << 12
            | (d >> 4 & 1) << 11
            | (d >> 8 & 3) << 9
            | (d >> 10 & 1) << 8
            | (d >> 6 & 1) << 7
            | (d >> 7 & 1) << 6
            | (d >> 1 & 7) << 3
            | (d >> 5 & 1) << 2,
        )

    def word(place: Place) -> None:
        place.write(4, place.value if bits == 32 else _fit_either(place.value, 32))

    def add(size: int, sign: int) -> Apply:
        return lambda place: place.write(size, place.read(size) + sign * place.value)

    def store(size: int) -> Apply:
        return lambda place: place.write(size, place.value)

    def set_6(place: Place) -> None:
        place.write(1, place.read(1) & 0xC0 | place.value & 0x3F)

    def sub_6(place: Place) -> None:
        place.write(1, place.read(1) & 0xC0 | place.read(1) - place.value & 0x3F)

    return Relocator(
        types={
            1: ("R_RISCV_32", word),
            2: ("R_RISCV_64", _absolute(8)),
            16: ("R_RISCV_BRANCH", branch),
            17: ("R_RISCV_JAL", jump),
            18: ("R_RISCV_CALL", call),
            19: ("R_RISCV_CALL_PLT", call),
            23: ("R_RISCV_PCREL_HI20", lambda place: u_type(place, place.value - place.address)),
            24: ("R_RISCV_PCREL_LO12_I", lambda place: i_type(place, place.pcrel_hi)),
            25: ("R_RISCV_PCREL_LO12_S", lambda place: s_type(place, place.pcrel_hi)),
            26: ("R_RISCV_HI20", lambda place: u_type(place, place.value)),
            27: ("R_RISCV_LO12_I", lambda place: i_type(place, place.value)),
            28: ("R_RISCV_LO12_S", lambda place: s_type(place, place.value)),
            33: ("R_RISCV_ADD8", add(1, 1)),
            34: ("R_RISCV_ADD16", add(2, 1)),
            35: ("R_RISCV_ADD32", add(4, 1)),
            36: ("R_RISCV_ADD64", add(8, 1)),
            37: ("R_RISCV_SUB8", add(1, -1)),
            38: ("R_RISCV_SUB16", add(2, -1)),
            39: ("R_RISCV_SUB32", add(4, -1)),
            40: ("R_RISCV_SUB64", add(8, -1)),
            44: ("R_RISCV_RVC_BRANCH", short_branch),
            45: ("R_RISCV_RVC_JUMP", short_jump),
            52: ("R_RISCV_SUB6", sub_6),
            53: ("R_RISCV_SET6", set_6),
            54: ("R_RISCV_SET8", store(1)),
            55: ("R_RISCV_SET16", store(2)),
            56: ("R_RISCV_SET32", store(4)),
            57: ("R_RISCV_32_PCREL", _relative(4)),
        },
        ignored=frozenset({0, 51}),  # NONE, RELAX: a permission that is not used
        refused={20: "R_RISCV_GOT_HI20", 43: "R_RISCV_ALIGN"},
        pcrel_hi=frozenset({23}),
        pcrel_lo=frozenset({24, 25}),
    )


_RISCV_64: Final = _riscv(64)
_RISCV_32: Final = _riscv(32)


def relocator_for(kind: ElfKind) -> Relocator:
    """The relocation types of an architecture.

    Raises:
        LoaderError: WRONG_ARCHITECTURE: there are none for it.
    """
    match kind.machine, kind.bits:
        case "EM_X86_64", 64:
            return _X86_64
        case "EM_AARCH64", 64:
            return _AARCH64
        case "EM_RISCV", 64:
            return _RISCV_64
        case "EM_RISCV", 32:
            return _RISCV_32
    raise LoaderError(Code.WRONG_ARCHITECTURE, f"nothing links for {kind}")
