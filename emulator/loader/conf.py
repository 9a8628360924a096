# SPDX-License-Identifier: MIT
"""`kern_loader.conf`: which servers a node brings up, one relocatable's path a line.

Leading blanks are skipped; empty lines and lines that begin with `#` are ignored. After the path may
stand `load` (at once, whatever the script says), `lazy` (at its first message) and load parameters
(`name=value`). A path that is not absolute is looked for beside the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emulator.errors import UsageError
from emulator.loader.daemon import ServerConfig

__all__ = ["CONF_NAME", "format_conf", "parse_conf"]

CONF_NAME = "kern_loader.conf"
_WORDS = {"load": True, "lazy": False}


def parse_conf(text: str, *, folder: Path, source: str) -> tuple[ServerConfig, ...]:
    """Read a configuration.

    Args:
        text: the file's.
        folder: where paths that are not absolute begin.
        source: the file's name, for messages.

    Raises:
        UsageError: a line has a word that means nothing; names file, line and word.
    """
    servers = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        load: bool | None = None
        parameters = []
        for word in words[1:]:
            if word in _WORDS:
                load = _WORDS[word]
            elif "=" in word:
                parameters.append(word)
            else:
                raise UsageError(
                    f"{source}:{number}: '{word}' means nothing",
                    hint=f"valid after the path: {', '.join(_WORDS)}, name=value",
                )
        path = folder / words[0]
        servers.append(ServerConfig(path=path, load=load, parameters=tuple(parameters)))
    return tuple(servers)


def format_conf(servers: Sequence[ServerConfig]) -> str:
    """A configuration as its file says it."""
    lines = []
    for item in servers:
        how = [word for word, load in _WORDS.items() if load is item.load]
        lines.append(" ".join((str(item.path), *how, *item.parameters)) + "\n")
    return "".join(lines)
