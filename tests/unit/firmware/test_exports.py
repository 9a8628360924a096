# SPDX-License-Identifier: MIT
"""The build's export table: checksums follow types, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from crc32c import crc32c

TOOLS = Path(__file__).resolve().parents[3] / "firmware" / "tools"
HEADERS = """
typedef unsigned int uint32_t;
struct hidden;
struct inner { uint32_t a; };
enum colour { RED, GREEN = 4 };
typedef int (*callback)(void *context, enum colour colour);
struct outer { struct inner inner; callback call; } __attribute__((aligned(8)));
static inline int unused(int x) { return x + 1; }
int use(struct outer *outer, struct hidden *hidden);
uint32_t count(void) __attribute__((warn_unused_result));
EXPORT(use)
EXPORT(count)
"""


def checksums(tmp_path: Path, headers: str) -> dict[str, str]:
    listed, table = tmp_path / "exports.list", tmp_path / "exports.S"
    subprocess.run(
        [sys.executable, TOOLS / "exports.py", "--assembly", table, "--list", listed],
        input=headers,
        text=True,
        check=True,
        capture_output=True,
    )
    assert table.read_text().count(".asciz") == headers.count("EXPORT(")
    return {name: checksum for checksum, name in map(str.split, listed.read_text().splitlines())}


def test_the_checksum_is_of_the_declaration_and_its_types(tmp_path: Path) -> None:
    found = checksums(tmp_path, HEADERS)
    text = "typedef unsigned int uint32_t;uint32_t count ( void )"
    assert found["count"] == f"{crc32c(text.encode()):08x}"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("uint32_t a;", "uint32_t a; uint32_t b;"),  # a struct inside a struct that is pointed to
        ("GREEN = 4", "GREEN = 5"),
        ("void *context, enum", "enum"),
        ("struct hidden *hidden)", "struct hidden *hidden, int more)"),
        ("aligned(8)", "aligned(16)"),
        ("typedef unsigned int", "typedef unsigned long"),
    ],
)
def test_what_a_server_relies_on_changes_it(tmp_path: Path, before: str, after: str) -> None:
    assert before in HEADERS
    changed = checksums(tmp_path, HEADERS.replace(before, after))
    assert changed["use"] != checksums(tmp_path, HEADERS)["use"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("struct hidden;", "struct hidden;\nint another(void);"),
        ("return x + 1;", "return x + 2;"),
        ("int use(", "int\n    use("),
        ("struct hidden;", '_Static_assert(1, "one");\nstruct hidden;'),
        ("__attribute__((warn_unused_result))", ""),
    ],
)
def test_the_rest_does_not(tmp_path: Path, before: str, after: str) -> None:
    assert before in HEADERS
    assert checksums(tmp_path, HEADERS.replace(before, after)) == checksums(tmp_path, HEADERS)


@pytest.mark.parametrize("line", ["EXPORT(use)", "EXPORT(nothing)"])
def test_a_wrong_list_ends_the_build(tmp_path: Path, line: str) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        checksums(tmp_path, f"{HEADERS}{line}\n")
