# SPDX-License-Identifier: MIT
"""`kern_loader.conf`: what is read, what is written, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator.errors import UsageError
from emulator.loader.conf import format_conf, parse_conf
from emulator.loader.daemon import ServerConfig

FOLDER = Path("/etc")


def parse(text: str) -> tuple[ServerConfig, ...]:
    return parse_conf(text, folder=FOLDER, source="kern_loader.conf")


def test_paths_comments_and_words() -> None:
    text = "# servers\n\n  /a/one.kern_server\n\ttwo.kern_server load depth=3 name=x\n   # more\n/c lazy"
    assert parse(text) == (
        ServerConfig(path=Path("/a/one.kern_server")),
        ServerConfig(
            path=Path("/etc/two.kern_server"), load=True, parameters=("depth=3", "name=x")
        ),
        ServerConfig(path=Path("/c"), load=False),
    )
    assert parse("") == ()


def test_what_is_written_is_read() -> None:
    servers = parse("/a\n/b load x=1\n/c lazy\n")
    assert parse(format_conf(servers)) == servers


def test_a_word_that_means_nothing_is_named() -> None:
    with pytest.raises(UsageError, match=r"kern_loader\.conf:2: 'later' means nothing"):
        parse("/a\n/b later\n")
