# SPDX-License-Identifier: MIT
"""One test a row of docs/spec/gaps.md, named by the row and by what it says.

A row's C unit tests run in the unit test program, one call for all of a row; its vectors are played
by the Python and the C implementation of a link. Rows that are seen on machines or in the text have
functions of their names in the other files of this folder.
"""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from emulator.core import CLinkEnd
from emulator.protocol.link import LinkEnd
from emulator.testing.link_script import Player, check_step
from emulator.testing.memory_link import MakeLink

REPOSITORY: Final = Path(__file__).parents[2]
GAPS: Final = REPOSITORY / "docs" / "spec" / "gaps.md"
UNIT_TESTS: Final = REPOSITORY / "firmware" / "tests" / "unit"

_TABLE_ROW = re.compile(r"\| ([A-O])(\d+)(?: - \1(\d+))? \|(.*)\|")
_TEST_NAME = re.compile(r"def test_([A-O]\d+)(?:_to_([A-O]\d+))?_")
_SUITE = re.compile(r'UNIT_SUITE\("([^"]+)", (\w+)\)')
_TITLE = re.compile(r'\{\s*"([^"]+)",\s*\w+\s*\}')


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row that is closed, and the tests that show it.

    Args:
        name: as in the page.
        says: one sentence.
        unit: titles in the C unit tests.
        vectors: conversations of tests/data/vectors/link.
    """

    name: str
    says: str
    unit: tuple[str, ...]
    vectors: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name}_{re.sub(r'[^a-z0-9]+', '_', self.says.lower()).strip('_')}"


def load_rows() -> tuple[Row, ...]:
    """The rows of rows.toml."""
    table = tomllib.loads((Path(__file__).parent / "rows.toml").read_text(encoding="utf-8"))
    return tuple(
        Row(
            name=name,
            says=fields["says"],
            unit=tuple(fields.get("unit", ())),
            vectors=tuple(fields.get("vectors", ())),
        )
        for name, fields in table.items()
    )


def page_rows() -> dict[str, str]:
    """The last cell of every row of the page, by the row's name; ranges are taken apart."""
    found: dict[str, str] = {}
    for line in GAPS.read_text(encoding="utf-8").splitlines():
        match = _TABLE_ROW.match(line)
        if match is not None:
            first, last = int(match[2]), int(match[3] or match[2])
            for number in range(first, last + 1):
                found[f"{match[1]}{number}"] = match[4].split("|")[-1].strip()
    return found


def is_closed(status: str) -> bool:
    """Whether a cell says that the row is done, or part of it."""
    return status.startswith("done")


def rows_with_functions() -> set[str]:
    """Rows that have a test function of their own in this folder, by its name."""
    found: set[str] = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        for first, last in _TEST_NAME.findall(path.read_text(encoding="utf-8")):
            end = int((last or first)[1:])
            found |= {f"{first[0]}{number}" for number in range(int(first[1:]), end + 1)}
    return found


def unit_titles() -> set[str]:
    """Titles of all C unit tests, as the runner prints them."""
    titles: set[str] = set()
    for path in UNIT_TESTS.glob("*.c"):
        text = re.sub(r'"\s*\n\s*"', "", path.read_text(encoding="utf-8"))
        for suite, table in _SUITE.findall(text):
            start = text.index(f" {table}[]")
            body = text[start : text.index("};", start)]
            titles |= {f"{suite}: {title}" for title in _TITLE.findall(body)}
    return titles


ROWS = load_rows()
PROGRAM = REPOSITORY / "firmware" / "build" / "host" / "plain" / "unit"
VECTORS = REPOSITORY / "tests" / "data" / "vectors" / "link"
MAKERS: Final[tuple[MakeLink, ...]] = (LinkEnd, CLinkEnd)  # both implementations


@pytest.fixture(scope="session")
def program() -> Path:
    """The unit tests' program, built if it is not up to date."""
    made = subprocess.run(
        ["make", "-C", str(REPOSITORY / "firmware"), str(PROGRAM.relative_to(PROGRAM.parents[3]))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    return PROGRAM


@pytest.mark.parametrize("row", [row for row in ROWS if row.unit], ids=str)
def test_row(row: Row, program: Path) -> None:
    """The row's unit tests pass."""
    ran = subprocess.run(
        [str(program), "--only", *row.unit], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("row", [row for row in ROWS if row.vectors], ids=str)
def test_row_by_vectors(row: Row) -> None:
    """The row's conversations go as they are written, in both implementations."""
    for name in row.vectors:
        script = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
        for make in MAKERS:
            player = Player(make, script)
            for step in script["steps"]:
                check_step(player, step, player.play(step))


def test_every_closed_row_has_a_test() -> None:
    """A row that the page calls done is tested, and no row is that the page does not call done."""
    closed = {name for name, status in page_rows().items() if is_closed(status)}
    tested = {row.name for row in ROWS} | rows_with_functions()
    assert tested == closed


def test_every_row_names_tests_that_exist() -> None:
    """What rows.toml names is there, and every row names something."""
    titles = unit_titles()
    for row in ROWS:
        assert row.unit or row.vectors, row.name
        assert row.says.endswith("."), row.name
        assert set(row.unit) <= titles, row.name
        for name in row.vectors:
            assert (VECTORS / f"{name}.json").is_file(), row.name
