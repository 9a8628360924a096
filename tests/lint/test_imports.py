# SPDX-License-Identifier: MIT
"""Imports go one way only: what people touch knows the runtime, and the protocols know nobody."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "emulator"

# A package may import itself and what stands in a line above its own.
LAYERS = (
    {"errors"},
    {"protocol"},
    {"model"},
    {"events", "machines"},
    {"config", "core", "sim"},
    {"qemu", "links", "loader"},
    {"runtime"},
    {"testing", "checkers"},
)


def modules(package: str) -> list[Path]:
    single = PACKAGE / f"{package}.py"
    return [single] if single.exists() else sorted((PACKAGE / package).rglob("*.py"))


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and name of every package of ours that a module imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "emulator" and len(parts) > 1:
                yield node.lineno, parts[1]


@pytest.mark.parametrize(
    ("package", "below"),
    [
        (package, set().union(*LAYERS[:index]))
        for index, layer in enumerate(LAYERS)
        for package in sorted(layer)
    ],
)
def test_only_what_is_below(package: str, below: set[str]) -> None:
    wrong = [
        f"{path.relative_to(PACKAGE.parent)}:{line}: {package} must not import {name}"
        for path in modules(package)
        for line, name in imported(path)
        if name not in below | {package}
    ]
    assert wrong == []
