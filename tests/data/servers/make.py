# SPDX-License-Identifier: MIT
"""Makes the server objects of this folder: each has the one fault that it is named after.

Beside each stands what the loader says about it (`.txt`: the code's name, then the message).
Run it in the checkout's folder: python -m tests.data.servers.make
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from emulator.machines.machine import MACHINES
from emulator.model import Arch
from emulator.testing.server_writer import Reference, ServerWriter

FOLDER = Path(__file__).resolve().parent
PC32 = 2  # R_X86_64_PC32
GOTPCREL = 9
SHOFF = 0x28  # e_shoff of a 64-bit file
SECTION_HEADER_BYTES = 64
SH_OFFSET = 0x18


def faulty_objects() -> Mapping[str, bytes]:
    """Every object by the name of its fault."""
    good = ServerWriter()
    whole = good.write()
    return {
        "good": whole,
        "not_elf": b"#!/bin/sh\necho this is no object\n",
        "wrong_architecture": replace(good, kind=MACHINES[Arch.AARCH64].elf).write(),
        "wrong_width": replace(good, kind=MACHINES[Arch.RISCV32].elf).write(),
        "wrong_byte_order": replace(good, kind=MACHINES[Arch.AARCH64_BE].elf).write(),
        "truncated": whole[: len(whole) // 2],
        "truncated_header": whole[:40],
        "unresolved_symbol": replace(
            good,
            imports={"nobody_has_this": 0},
            references=(Reference(16, "nobody_has_this"),),
        ).write(),
        "unresolved_script_symbol": replace(good, load="CALL tiny_start 0\nSTART\n").write(),
        "unresolved_instance": replace(good, instance="no_instance").write(),
        "symbol_version": replace(good, imports={"kmsg_free": 0x22222222}).write(),
        "import_without_checksum": replace(good, imports={}).write(),
        "missing_section": replace(good, load=None).write(),
        "missing_name": replace(good, name=None).write(),
        "unknown_keyword": replace(good, load="CALL tiny_init 0\nBEGIN\nSTART\n").write(),
        "missing_argument": replace(good, load="CALL tiny_init\nSTART\n").write(),
        "duplicate_port": replace(
            good, load="HMAP tiny tiny_handler 7\nSMAP tiny tiny_handler 8\n"
        ).write(),
        "never_loaded": replace(good, load="CALL tiny_init 0\n").write(),
        "too_large": replace(good, zeroed_bytes=1 << 20).write(),
        "relocation_out_of_range": replace(
            good,
            imports={"far_away": 0x33333333},
            references=(Reference(16, "far_away", PC32),),
        ).write(),
        "relocation_outside": replace(good, references=(Reference(4096, "tiny_init"),)).write(),
        "unsupported_relocation": replace(
            good, references=(Reference(16, "kmsg_free", GOTPCREL),)
        ).write(),
        "section_overlap": overlapping(whole),
        "name_too_long": replace(good, name="a" * 32).write(),
        "name_invalid": replace(good, name="Tiny/..").write(),
        "several_servers": replace(good, name="tiny\nother").write(),
        "old_version": replace(good, version="1").write(),
        "bad_parameter": replace(good, parameters="float tiny_pi no such type\0").write(),
        "loadable_outside": replace(good, loadable="../linked").write(),
        "cyclic_dependency": good.with_name("tiny", depends=("tiny",)).write(),
        "cyclic_dependency_a": good.with_name("a", depends=("b",)).write(),
        "cyclic_dependency_b": good.with_name("b", depends=("c",)).write(),
        "cyclic_dependency_c": good.with_name("c", depends=("a",)).write(),
    }


def overlapping(whole: bytes) -> bytes:
    """The data section is said to begin in the middle of the code."""
    table = int.from_bytes(whole[SHOFF : SHOFF + 8], "little")
    code, data = (table + index * SECTION_HEADER_BYTES + SH_OFFSET for index in (1, 2))
    start = int.from_bytes(whole[code : code + 8], "little") + 8
    return whole[:data] + start.to_bytes(8, "little") + whole[data + 8 :]


if __name__ == "__main__":
    for fault, content in faulty_objects().items():
        (FOLDER / f"{fault}.kern_server").write_bytes(content)
