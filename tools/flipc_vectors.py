# SPDX-License-Identifier: MIT
"""Writes the C tables of the vectors that the unit tests of the core play.

    python tools/flipc_vectors.py            brings firmware/tests/unit/flipc_*.inc up to date
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
UNIT: Final = REPOSITORY / "firmware" / "tests" / "unit"
TABLES: Final = UNIT / "flipc_vectors.inc"
SEQUENCES: Final = UNIT / "flipc_sequences.inc"

_HEAD: Final = """\
/* SPDX-License-Identifier: MIT
 *
 * Made by tools/flipc_vectors.py of tests/data/vectors/flipc; included by test_{stem}.c.
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
    text = _HEAD.replace("{stem}", "flipc_vectors")
    for name, row in _FILES.items():
        vectors = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))["messages"]
        text += f"\nstatic const struct flipc_vector {name}_vectors[] = {{\n"
        for vector in vectors:
            text += f'    {{"{name}: {vector["name"]}", "{vector["hex"]}", {row(vector)}}},\n'
        text += "};\n"
    return text


def _step(step: Sequence[Any]) -> str:
    """Return one row: what, two numbers, how a right gets into a message, bytes."""
    numbers = [str(value) for value in step[1:] if isinstance(value, int)] + ["0", "0"]
    words = [value for value in step[1:] if isinstance(value, str)]
    is_bytes = step[0] in ("in", "out")
    transfer = f"PORT_{words[0]}" if words and not is_bytes else "0"
    data = f'"{words[0]}"' if is_bytes else "NULL"
    return f"STEP_{step[0].upper()}, {numbers[0]}, {numbers[1]}, {transfer}, {data}"


def sequences() -> str:
    """Return the whole file of sequences."""
    content = json.loads((VECTORS / "sequences.json").read_text(encoding="utf-8"))["sequences"]
    text = _HEAD.replace("{stem}", "flipc_sequences")
    for sequence in content:
        text += f"\nstatic const struct step {sequence['name']}_steps[] = {{\n"
        for step in sequence["steps"]:
            text += f"    {{{_step(step)}}},\n"
        text += "};\n"
    text += "\nstatic const struct sequence sequences[] = {\n"
    for sequence in content:
        name = sequence["name"]
        text += f'    {{"{name}", {name}_steps, COUNT({name}_steps)}},\n'
    return text + "};\n"


def main() -> int:
    """Write the tables, or compare them."""
    files = {TABLES: tables(), SEQUENCES: sequences()}
    if sys.argv[1:] != ["--check"]:
        for path, text in files.items():
            path.write_text(text, encoding="utf-8")
        return 0
    old = [path for path, text in files.items() if path.read_text(encoding="utf-8") != text]
    for path in old:
        sys.stderr.write(f"{path} is not up to date: run python tools/flipc_vectors.py\n")
    return 1 if old else 0


if __name__ == "__main__":
    sys.exit(main())
