# SPDX-License-Identifier: MIT
"""Rows of docs/spec/gaps.md that are about builds and texts: what is promised is there, under the name it is given."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from emulator.model import Arch

REPOSITORY: Final = Path(__file__).parents[2]
FIRMWARE: Final = REPOSITORY / "firmware"
HEADER: Final = (FIRMWARE / "include" / "kernel" / "mach_node_link.h").read_text(encoding="utf-8")
CHECKED_HEADERS: Final = ("host.h", "ipc.h", "link.h", "link_manager.h")
PUBLISHED: Final = (
    "mnl_msg_alloc",
    "mnl_msg_free",
    "mnl_instantiate",
    "mnl_register",
    "mnl_set_link_state",
    "mnl_terminate",
    "mnl_msg_from_node",
    "mnl_msg_to_node",
    "mnl_msg_complete",
)


def comment_of(function: str) -> str:
    """The comment in front of a function's declaration."""
    match = re.search(rf"/\*((?:[^*]|\*(?!/))*)\*/\s*[\w ]+[ *]{function}\(", HEADER)
    assert match is not None, f"{function} is not documented"
    return " ".join(match[1].replace("*", " ").split())


def sources() -> list[Path]:
    """Every file of the portable core."""
    return sorted((FIRMWARE / "core").glob("*.[ch]"))


def test_C10_no_result_is_ignored() -> None:
    """What makes a host, a port or a link reports errors that the compiler makes its caller look at."""
    headers = [FIRMWARE / "include" / "kernel" / name for name in CHECKED_HEADERS]
    declared = re.compile(r"^int (\w+)\(([^;]*)\)([^;]*);", re.MULTILINE)
    unchecked = {
        match[1]
        for path in headers
        for match in declared.finditer(path.read_text(encoding="utf-8"))
        if "MUST_CHECK" not in match[3]
    }
    assert not unchecked


def test_N1_to_N7_every_part_is_built_for_every_architecture() -> None:
    """Some board comes in each architecture, and its image holds everything in core/."""
    boards = (FIRMWARE / "boards").glob("*/board.mk")
    lines = [line for path in boards for line in path.read_text("utf-8").splitlines()]
    built = {arch for line in lines if line.startswith("ARCHES") for arch in line.split()[2:]}
    assert built >= {arch.value for arch in Arch}
    makefile = (FIRMWARE / "Makefile").read_text(encoding="utf-8")
    assert "CORE := $(sort $(wildcard core/*.c))" in makefile


def test_N8_the_published_interface_is_in_the_image() -> None:
    """The nine functions are defined in files that every image is linked from, and their users are, too."""
    text = "".join(path.read_text(encoding="utf-8") for path in sources())
    for function in PUBLISHED:
        assert re.search(rf"^[\w ]+[ *]{function}\([^;]*?\)\n{{", text, re.MULTILINE), function
    assert text.count("mnl_msg_try_to_node(") >= 2


def test_O1_a_null_result_has_the_name_of_a_constant() -> None:
    """Null results are named by constants that exist."""
    assert "#define MNL_MSG_NULL ((mnl_msg_t)0)" in HEADER
    assert "#define MNL_NODE_NULL ((mnl_node_info_t)0)" in HEADER


def test_O2_a_null_object_is_an_object() -> None:
    """The name table returns null pointers, never null names."""
    text = (FIRMWARE / "core" / "name_table.h").read_text(encoding="utf-8")
    assert "struct port *name_lookup(" in text
    assert "null: unknown" in text


def test_O3_a_driver_swaps_nothing() -> None:
    """The header says in one place what order the fields of a message have."""
    assert "Little-endian in memory" in HEADER
    assert "swap" not in HEADER


def test_O4_every_constant_has_the_prefix_of_its_header() -> None:
    """No constant is mentioned under a prefix that does not exist."""
    mentioned = set(re.findall(r"\b(MNL_[A-Z0-9_]+)\b", HEADER))
    defined = set(re.findall(r"#define (MNL_[A-Z0-9_]+)", HEADER))
    abi = (FIRMWARE / "include" / "abi" / "flipc.h").read_text(encoding="utf-8")
    defined |= set(re.findall(r"#define (MNL_[A-Z0-9_]+)", abi))
    stems = {name for name in mentioned if name.endswith("_")}
    assert mentioned - stems <= defined
    for stem in stems:
        assert any(name.startswith(stem) for name in defined), stem


def test_O5_every_function_is_described_as_itself() -> None:
    """Each of the nine functions has a comment of its own, unlike the others."""
    comments = [comment_of(function) for function in PUBLISHED]
    assert len(set(comments)) == len(PUBLISHED)


def test_O6_the_order_of_initialisation_is_the_one_that_is_followed() -> None:
    """There is one initialisation, and the kernel calls it."""
    assert "mach_host_initialize(" in (FIRMWARE / "core" / "kernel_main.c").read_text("utf-8")
    assert "mnl_init" not in HEADER


def test_O7_every_return_code_is_listed() -> None:
    """Functions that return a code say which."""
    for function in ("mnl_register", "mnl_set_link_state", "mnl_terminate", "mnl_set_link_down"):
        comment = comment_of(function)
        assert re.search(r"\b0; 4:", comment), function
        assert "47" in comment, function


def test_O8_every_file_says_what_it_is() -> None:
    """A file of the core begins with its licence and says what it is, under no other file's name."""
    for path in sources():
        head = path.read_text(encoding="utf-8")[:600]
        assert head.startswith("/* SPDX-License-Identifier: MIT"), path.name
        named = re.findall(r"^ \* ([a-z_]+\.[ch])\b", head, re.MULTILINE)
        assert not [name for name in named if not (path.parent / name).is_file()], path.name
