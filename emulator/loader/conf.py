# SPDX-License-Identifier: MIT
"""`kern_loader.conf`: which servers a node brings up, one relocatable's path a line.

Leading blanks are skipped; empty lines and lines that begin with `#` are ignored. After the path may
stand `load` (at once, whatever the script says), `lazy` (at its first message) and load parameters
(`name=value`). Words are separated by blanks and quoted as for a shell. A path that is not absolute
is looked for beside the file. A line that means nothing does not stop the others, and a file that is
not there means no servers.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emulator.loader.codes import Code, LoaderError

__all__ = ["CONF_NAME", "Configuration", "ServerConfig", "format_conf", "parse_conf", "read_conf"]

CONF_NAME = "kern_loader.conf"
_WORDS = {"load": True, "lazy": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """A line of a node's configuration: a server to allocate when the node comes up.

    Args:
        path: of the relocatable.
        load: load it at once, whatever its script says (True), wait for its first message (False),
            or do what the script says: at once if START is in it (None).
        parameters: `name=value` words.
    """

    path: Path
    load: bool | None = None
    parameters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What a file says.

    Args:
        servers: in its order.
        problems: what is wrong with its other lines; each names file, line and word.
    """

    servers: tuple[ServerConfig, ...] = ()
    problems: tuple[LoaderError, ...] = ()


def read_conf(path: Path) -> Configuration:
    """Read a node's configuration as it is now.

    Args:
        path: the file; if there is none, there are no servers.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return Configuration()
    except OSError as error:
        what = f"{path}: {error.strerror}"
        return Configuration(problems=(LoaderError(Code.CANT_OPEN_SERVER, what),))
    return parse_conf(text, folder=path.parent, source=str(path))


def parse_conf(text: str, *, folder: Path, source: str) -> Configuration:
    """Take a configuration apart.

    Args:
        text: the file's.
        folder: where paths that are not absolute begin.
        source: the file's name, for messages.
    """
    servers, problems = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            servers.append(_server_of(line, folder))
        except ValueError as error:
            problems.append(
                LoaderError(
                    Code.INVALID_ARGUMENT,
                    f"{source}:{number}: {error}",
                    hint=f"valid after the path: {', '.join(_WORDS)}, name=value",
                )
            )
    return Configuration(servers=tuple(servers), problems=tuple(problems))


def _server_of(line: str, folder: Path) -> ServerConfig:
    """The server of a line.

    Raises:
        ValueError: a word means nothing, or a quote is not closed.
    """
    path, *words = shlex.split(line)
    load: bool | None = None
    parameters = []
    for word in words:
        if word in _WORDS:
            load = _WORDS[word]
        elif "=" in word:
            parameters.append(word)
        else:
            raise ValueError(f"'{word}' means nothing")
    return ServerConfig(path=folder / path, load=load, parameters=tuple(parameters))


def format_conf(servers: Sequence[ServerConfig]) -> str:
    """A configuration as its file says it."""
    lines = []
    for item in servers:
        how = [word for word, load in _WORDS.items() if load is item.load]
        lines.append(shlex.join((str(item.path), *how, *item.parameters)) + "\n")
    return "".join(lines)
