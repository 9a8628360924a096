# SPDX-License-Identifier: MIT
"""`kern_loader.conf`: what is read, what is written, what is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator.loader.conf import Configuration, ServerConfig, format_conf, parse_conf, read_conf

FOLDER = Path("/etc")


def parse(text: str) -> Configuration:
    return parse_conf(text, folder=FOLDER, source="kern_loader.conf")


def test_paths_comments_and_words() -> None:
    text = "# servers\n\n  /a/one.kern_server\n\ttwo.kern_server load depth=3 name=x\n   # more\n/c lazy"
    assert parse(text).servers == (
        ServerConfig(path=Path("/a/one.kern_server")),
        ServerConfig(
            path=Path("/etc/two.kern_server"), load=True, parameters=("depth=3", "name=x")
        ),
        ServerConfig(path=Path("/c"), load=False),
    )
    assert parse("") == Configuration()


def test_what_is_written_is_read() -> None:
    servers = (
        ServerConfig(path=Path("/a")),
        ServerConfig(path=Path("/my work/it's here"), load=True, parameters=("x=two words", "y=")),
        ServerConfig(path=Path("/#c"), load=False),
    )
    assert parse(format_conf(servers)) == Configuration(servers=servers)


@pytest.mark.parametrize(
    ("line", "said"), [("/b later", "'later' means nothing"), ("'/b", "No closing quotation")]
)
def test_a_bad_line_is_named_and_stops_no_other(line: str, said: str) -> None:
    read = parse(f"/a\n{line}\n/c\n")
    assert [server.path for server in read.servers] == [Path("/a"), Path("/c")]
    (problem,) = read.problems
    assert problem.what == f"kern_loader.conf:2: {said}"


def test_no_file_means_no_servers(tmp_path: Path) -> None:
    assert read_conf(tmp_path / "kern_loader.conf") == Configuration()
    (tmp_path / "kern_loader.conf").write_bytes(b"one lazy\n\xff\xfe what\n")
    read = read_conf(tmp_path / "kern_loader.conf")
    assert read.servers == (ServerConfig(path=tmp_path / "one", load=False),)
    assert len(read.problems) == 1
