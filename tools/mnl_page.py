# SPDX-License-Identifier: MIT
"""Writes the generated parts of docs/mach-node-link.md from the code and from the conformance rows.

    python tools/mnl_page.py            brings the page up to date
    python tools/mnl_page.py --check    exit status 1 if it is not

A part stands between `<!-- NAME -->` and `<!-- end -->`; everything else of the page is written by
hand. Sources: the tables NODE_LIFE and NODE_GATES of firmware/core/node.h, the declarations and
comments of firmware/include/kernel/mach_node_link.h, docs/spec/gaps.md and
tests/conformance/rows.toml.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).parents[1]
PAGE: Final = REPOSITORY / "docs" / "mach-node-link.md"
TABLES: Final = REPOSITORY / "firmware" / "core" / "node.h"
HEADER: Final = REPOSITORY / "firmware" / "include" / "kernel" / "mach_node_link.h"
CODES: Final = REPOSITORY / "firmware" / "include" / "kernel" / "kern_return.h"
GAPS: Final = REPOSITORY / "docs" / "spec" / "gaps.md"
ROWS: Final = REPOSITORY / "tests" / "conformance" / "rows.toml"

STATES: Final = ("INSTANTIATED", "REGISTERED", "DEAD")
_PART = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_GAP = re.compile(r"\| ([A-O]\d+(?: - [A-O]\d+)?) \|(.*)\|")
# A comment, or a function with what is said behind it on its line.
_DECLARED = re.compile(
    r"/\*(?P<comment>(?:[^*]|\*(?!/))*)\*/"
    r"|^(?P<function>[\w ]+[ *]mnl_\w+\([^;]*\);)(?:[ \t]*/\*(?P<after>[^\n]*?)\*/)?",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Call:
    """A line of NODE_LIFE."""

    name: str
    answers: tuple[str, str, str]  # by state
    leads_to: str

    @property
    def function(self) -> str:
        """The function that it is about."""
        return f"mnl_{self.name.lower()}()"


def x_macro(name: str) -> Iterator[tuple[str, ...]]:
    """The arguments of each line of an X-macro of node.h."""
    text = TABLES.read_text(encoding="utf-8").replace("\\\n", " ")
    match = re.search(rf"#define {name}\(\w+\)(.*)", text)
    if match is None:
        raise SystemExit(f"{TABLES}: no table {name}")
    for line in re.findall(r"\w+\(([^)]*)\)", match[1]):
        yield tuple(word.strip() for word in line.split(","))


def calls() -> list[Call]:
    """The table NODE_LIFE."""
    return [Call(row[0], (row[1], row[2], row[3]), row[4]) for row in x_macro("NODE_LIFE")]


def code_numbers() -> Mapping[str, str]:
    """Number of each return code."""
    text = CODES.read_text(encoding="utf-8")
    return dict(re.findall(r"#define KERN_(\w+) (\d+)", text))


def lifecycle() -> str:
    """The life of a handle, as a state diagram."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> INSTANTIATED: mnl_instantiate()"]
    for call in calls():
        for state, answer in zip(STATES, call.answers, strict=True):
            to = state if call.leads_to == "SAME" else call.leads_to
            if answer == "SUCCESS" and to != state:
                lines.append(f"    {state} --> {to}: {call.function}")
    lines += [
        "    REGISTERED --> DEAD: node 0's word, a larger incarnation, silence",
        "    INSTANTIATED --> [*]: mnl_node_release()",
        "    REGISTERED --> [*]: mnl_node_release()",
        "    DEAD --> [*]: mnl_node_release()",
        "```",
    ]
    return "\n".join(lines)


def answers() -> str:
    """What each call answers in each state."""
    numbers = code_numbers()
    lines = [
        "| call | " + " | ".join(state.lower() for state in STATES) + " | leads to |",
        "|---|---|---|---|---|",
    ]
    for call in calls():
        codes = " | ".join(numbers[answer] for answer in call.answers)
        to = "-" if call.leads_to == "SAME" else call.leads_to.lower()
        lines.append(f"| `{call.function}` | {codes} | {to} |")
    return "\n".join(lines)


def gates() -> str:
    """What happens only while which direction works."""
    words = {"TX": "transmit", "RX": "receive", "UP": "both"}
    what = {
        "MSG_TO_NODE": "messages are fetched",
        "MSG_FROM_NODE": "messages are delivered",
        "PUBLISH": "the node is published",
    }
    lines = ["| only while this direction works | |", "|---|---|"]
    lines += [f"| {words[bits]} | {what[name]} |" for name, bits in x_macro("NODE_GATES")]
    return "\n".join(lines)


def interface() -> str:
    """Every function of the header, with its comment."""
    text = HEADER.read_text(encoding="utf-8")
    lines: list[str] = []
    comment = ""
    published, _, beyond = text.partition("/* --- Beyond")
    for title, part in (
        ("Published", published.split("/* --- The published")[1]),
        ("Beyond", beyond),
    ):
        lines += [f"**{title}**", ""]
        for piece in _DECLARED.finditer(part):
            if piece["comment"] is not None:
                comment = _plain(piece["comment"])
                continue
            declared = f"`{' '.join(piece['function'].split())}`"
            if piece["after"] is not None:
                declared += f": {_plain(piece['after'])}"
            lines += [declared, *([f"  {comment}"] if comment else []), ""]
            comment = ""
    return "\n".join(lines).rstrip()


def _plain(comment: str) -> str:
    """The words of a comment."""
    return " ".join(comment.replace("\n *", "\n").split())


def closed_rows() -> str:
    """The gaps that are closed, and what shows it."""
    rows = tomllib.loads(ROWS.read_text(encoding="utf-8"))
    lines = ["| row | what holds | C tests | vectors |", "|---|---|---|---|"]
    for name, row in rows.items():
        unit, vectors = len(row.get("unit", ())), len(row.get("vectors", ()))
        lines.append(f"| {name} | {row['says']} | {unit or '-'} | {vectors or '-'} |")
    return "\n".join(lines)


def open_rows() -> str:
    """The rows that are not closed, or not wholly."""
    lines = ["| row | what is missing |", "|---|---|"]
    for name, cells in _GAP.findall(GAPS.read_text(encoding="utf-8")):
        parts = [cell.strip() for cell in cells.split("|")]
        if "next" in parts[-1]:
            lines.append(f"| {name} | {parts[0]} |")
    return "\n".join(lines) if len(lines) > 2 else "None."


PARTS: Final[Mapping[str, Callable[[], str]]] = {
    "lifecycle": lifecycle,
    "answers": answers,
    "gates": gates,
    "interface": interface,
    "closed": closed_rows,
    "open": open_rows,
}


def rendered(page: str) -> str:
    """The page with every generated part as the sources have it now."""

    def part(match: re.Match[str]) -> str:
        return f"{match[1]}{PARTS[match[2]]()}\n{match[3]}"

    return _PART.sub(part, page)


def main(arguments: list[str]) -> int:
    """Write the page, or check it."""
    page = PAGE.read_text(encoding="utf-8")
    wanted = rendered(page)
    if arguments == ["--check"]:
        if page != wanted:
            sys.stderr.write(f"{PAGE} is not up to date: run python tools/mnl_page.py\n")
        return int(page != wanted)
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
