# SPDX-License-Identifier: MIT
"""docs/mach-node-link.md says what the code's tables say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def test_the_page_is_up_to_date() -> None:
    """The generated parts are as the generator would write them now."""
    command = [sys.executable, str(REPOSITORY / "tools" / "mnl_page.py"), "--check"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_the_page_has_every_part() -> None:
    """Diagram, answers, gates, functions and rows are there, and none is empty."""
    page = (REPOSITORY / "docs" / "mach-node-link.md").read_text(encoding="utf-8")
    for part in ("lifecycle", "answers", "gates", "interface", "closed", "open"):
        body = page.split(f"<!-- {part} -->\n")[1].split("<!-- end -->")[0]
        assert body.strip(), part
    assert "INSTANTIATED --> REGISTERED: mnl_register()" in page
    assert page.count("`kern_return_t mnl_") >= 9


def test_what_is_said_behind_a_function_is_said_of_it() -> None:
    """A comment on the line of a declaration belongs to it, not to the next one."""
    page = (REPOSITORY / "docs" / "mach-node-link.md").read_text(encoding="utf-8")
    for function, said in (
        ("uint32_t mnl_flow_ack(mnl_node_info_t node);", "lowest unsettled sequence number"),
        (
            "uint32_t mnl_flow_credit(mnl_node_info_t node);",
            "first sequence number the peer may not use",
        ),
        ("bool mnl_is_suspended(mnl_node_info_t node);", "false for null"),
    ):
        assert f"`{function}`: {said}\n" in page
