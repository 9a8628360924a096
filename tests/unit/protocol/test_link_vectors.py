# SPDX-License-Identifier: MIT
"""The scripted conversations of tests/data/vectors/link, played by every implementation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emulator.testing.link_script import Player, check_step
from emulator.testing.memory_link import MakeLink

SCRIPTS = sorted((Path(__file__).parents[2] / "data" / "vectors" / "link").glob("*.json"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_conversation(make_link: MakeLink, path: Path) -> None:
    script = json.loads(path.read_text())
    player = Player(make_link, script)
    for step in script["steps"]:
        check_step(player, step, player.play(step))


def test_there_are_scripts() -> None:
    assert len(SCRIPTS) >= 25
