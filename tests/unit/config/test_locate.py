# SPDX-License-Identifier: MIT
"""Lines of tables and keys, where strings, comments and arrays try to look like them."""

from __future__ import annotations

import pytest

from emulator.config.locate import Locator

TEXT = '''# [cluster]
[cluster]
name = "x" # seed = 1
seed = 2
text = """
[[node]]
name = "no"
"""

[[node]]
"name" = "[[link]]"
servers = [
  "echo", # ]
  "id = 3",
]
id = 4
[[ node ]]
name = 'b\\'
id = 5
'''


@pytest.mark.parametrize(
    ("table", "index", "key", "line"),
    [
        ("cluster", 0, "name", 3),
        ("cluster", 0, "seed", 4),
        ("cluster", 0, "text", 5),
        ("node", 0, "name", 11),
        ("node", 0, "servers", 12),
        ("node", 0, "id", 16),
        ("node", 1, "name", 18),
        ("node", 1, "id", 19),
        ("node", 1, "arch", 17),  # not there: its table
        ("link", 0, "kind", 1),  # no such table: the file
    ],
)
def test_key(table: str, index: int, key: str, line: int) -> None:
    assert Locator(TEXT).key(table, index, key) == line


def test_table() -> None:
    locator = Locator(TEXT)
    assert [locator.table("node", index) for index in range(3)] == [10, 17, 1]


def test_inline_tables_get_the_line_of_their_key() -> None:
    locator = Locator('\nnode = [\n  { name = "a" },\n  { name = "b" },\n]\nlink = []\n')
    assert locator.key("node", 1, "name") == 2
    assert locator.root_key("link") == 6
