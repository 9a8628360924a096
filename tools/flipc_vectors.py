# SPDX-License-Identifier: MIT
"""Writes the C tables of the vectors that the unit tests of the core play.

    python tools/flipc_vectors.py            brings firmware/tests/unit/flipc_vectors.inc up to date
    python tools/flipc_vectors.py --check    exit status 1 if it is not

The vectors are the JSON files of tests/data/vectors/flipc, which the Python tests read themselves.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

REPOSITORY: Final = Path(__file__).parents[1]
VECTORS: Final = REPOSITORY / "tests" / "data" / "vectors" / "flipc"
TABLES: Final = REPOSITORY / "firmware" / "tests" / "unit" / "flipc_vectors.inc"

_HEAD: Final = """\
/* SPDX-License-Identifier: MIT
 *
 * Made by tools/flipc_vectors.py of tests/data/vectors/flipc; included by test_flipc_vectors.c.
 */
"""

Json = dict[str, Any]


def _told(entries: Sequence[Sequence[Any]] | None) -> str:
    """Return how many accounts have to be told, -1 for any, and which."""
    if entries is None:
        return "-1, {{0}}"
    rows = ", ".join(
        f"{{{name}ull, RIGHTS_{operation}, {value}u}}" for name, operation, value in entries
    )
    return f"{len(entries)}, {{{rows or '{0}'}}}"


def _complex(vector: Json) -> str:
    reason = f"FLIPC_NAK_{vector['refused']}" if "refused" in vector else "0"
    told = [] if "refused" in vector else vector.get("given_back")
    return f"{reason}, {_told(told)}"


def _rights(vector: Json) -> str:
    return f"{vector['dropped']}, {_told(vector['told'])}"


def _node(vector: Json) -> str:
    return f"{'NODE_' + vector['taken'] if vector['taken'] else '0'}, {_told([])}"


def _nak(vector: Json) -> str:
    outcome = vector["outcome"]
    return f"{'OUTCOME_' + outcome[0].upper() if outcome else 'OUTCOME_NONE'}, {_told([])}"


_FILES: Final[dict[str, Callable[[Json], str]]] = {
    "complex": _complex,
    "rights": _rights,
    "node": _node,
    "naks": _nak,
}


def tables() -> str:
    """Return the whole file."""
    text = _HEAD
    for name, row in _FILES.items():
        vectors = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))["messages"]
        text += f"\nstatic const struct flipc_vector {name}_vectors[] = {{\n"
        for vector in vectors:
            text += f'    {{"{name}: {vector["name"]}", "{vector["hex"]}", {row(vector)}}},\n'
        text += "};\n"
    return text


def main() -> int:
    """Write the tables, or compare them."""
    if sys.argv[1:] == ["--check"]:
        if TABLES.read_text(encoding="utf-8") == tables():
            return 0
        sys.stderr.write(f"{TABLES} is not up to date: run python tools/flipc_vectors.py\n")
        return 1
    TABLES.write_text(tables(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
