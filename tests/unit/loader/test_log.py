# SPDX-License-Identifier: MIT
"""Formatting a server's log: C's conversions, and arguments that mean nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.loader.log import format_entries, format_text
from emulator.loader.node_messages import FORMAT_UNKNOWN, LogEntry
from emulator.loader.object import LinkedServer, ServerObject
from emulator.machines.machine import MACHINES
from emulator.model import Arch
from emulator.testing.loader_bench import KERNEL
from emulator.testing.server_writer import ServerWriter

ADDRESS = 0x700000
TEXT = b"load %d%%\n\0eth0\0".ljust(64, b"\0")
NAME = ADDRESS + 11
MINUS = (1 << 64) - 5


def linked(arch: Arch = Arch.X86_64) -> LinkedServer:
    kind = MACHINES[arch].elf
    data = replace(ServerWriter(), kind=kind, code=TEXT).write()
    return ServerObject.read(data, kind=kind, source="tiny").link(ADDRESS, KERNEL)


@pytest.mark.parametrize(
    ("text", "arguments", "expected"),
    [
        ("plain", (), "plain"),
        ("%d and %i", (3, MINUS), "3 and -5"),
        ("%u", (MINUS,), "4294967291"),
        ("%lu", (MINUS,), "18446744073709551611"),
        ("%hhd %hd %lld", (0x180, 0x18000, MINUS), "-128 -32768 -5"),
        ("%x %X %#x %o", (255, 255, 255, 8), "ff FF 0xff 10"),
        ("[%5d][%-5d][%05d][%+d][% d]", (42, 42, 42, 42, 42), "[   42][42   ][00042][+42][ 42]"),
        ("[%*d][%-*d][%.*s]", (4, 7, 4, 7, 2), "[   7][7   ][(0]"),
        ("[%.3d][%8.3x]", (7, 7), "[007][     007]"),
        ("%s is up", (NAME,), "eth0 is up"),
        ("[%6s][%-6s][%.2s]", (NAME, NAME, NAME), "[  eth0][eth0  ][et]"),
        ("%s", (12,), "(0xc)"),
        ("%c%c", (0x68, 0x69), "hi"),
        ("%p", (0x700010,), "0x700010"),
        ("%%d %", (1,), "%d %"),
        ("%d %d", (1,), "1 0"),
        ("%n %f", (1,), "%n %f"),
        ("%999999d", (1,), "1".rjust(255)),
    ],
)
def test_conversions(text: str, arguments: tuple[int, ...], expected: str) -> None:
    assert format_text(text, arguments, linked()) == expected


def test_l_is_as_wide_as_the_node_s_long() -> None:
    assert format_text("%ld", (0xFFFFFFFF,), linked(Arch.X86_64)) == "4294967295"
    assert format_text("%ld", (0xFFFFFFFF,), linked(Arch.RISCV32)) == "-1"


def test_entries_are_stamped_in_ten_columns_and_end_as_the_format_does() -> None:
    entry = LogEntry(time_ns=1234567, format_offset=0, level=1, arguments=(7, 0, 0, 0, 0))
    wide = replace(entry, time_ns=123456789012345)
    unknown = replace(entry, format_offset=FORMAT_UNKNOWN)
    outside = replace(entry, format_offset=1 << 20)
    assert format_entries((entry, wide, unknown, outside), linked()) == (
        "   1234567:\tload 7%\n"
        "123456789012345:\tload 7%\n"
        "   1234567:\t(no format of the server's) 0x7 0x0 0x0 0x0 0x0"
        "   1234567:\t(format at 0x100000, outside the image)"
    )


@given(st.text(alphabet="%*.-+ #0123456789hlzjtdiouxXcspn"), st.lists(st.integers(0, 2**64 - 1)))
def test_no_format_does_harm(text: str, arguments: list[int]) -> None:
    assert len(format_text(text, tuple(arguments), linked())) <= 300 * (len(text) + 1)
