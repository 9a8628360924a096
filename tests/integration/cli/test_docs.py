# SPDX-License-Identifier: MIT
"""What the documents show works: scenarios run, topologies parse, commands and files exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from emulator.config import parse_topology
from emulator.runtime.cluster import RunOptions
from emulator.scenario import load_scenario, run_scenario

ROOT = Path(__file__).parents[3]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *ROOT.glob("scenarios/*/*.md")])
TOPOLOGY = (ROOT / "scenarios" / "pair" / "topology.toml").read_text()


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a language in a page."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


SCENARIOS = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in PAGES
    for number, block in enumerate(blocks(page, "python"))
    if "async def scenario(" in block
]


@pytest.mark.qemu
@pytest.mark.timeout(240)
@pytest.mark.parametrize("script", SCENARIOS)
async def test_scenario_of_a_page_passes(script: str, tmp_path: Path) -> None:
    (tmp_path / "scenario.py").write_text(script)
    (tmp_path / "topology.toml").write_text(TOPOLOGY)
    options = RunOptions(runs_path=tmp_path / "runs")
    result = await run_scenario(load_scenario(tmp_path), options=options)
    assert result.passed, result.summary


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_of_a_page_compiles(page: Path) -> None:
    for number, block in enumerate(blocks(page, "python")):
        compile(block, f"{page.name}-{number}", "exec")
    for block in blocks(page, "toml"):
        parse_topology(block, source=page.name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_names_exist(page: Path) -> None:
    named = re.findall(
        r"`((?:docs|emulator|firmware|scenarios|tests|tools)/[\w./-]+)`", page.read_text()
    )
    missing = [name for name in named if "<" not in name and not (ROOT / name).exists()]
    assert missing == []


def test_documents_were_found() -> None:
    assert len(SCENARIOS) >= 2
    assert len(PAGES) >= 10
