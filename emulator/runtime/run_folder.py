# SPDX-License-Identifier: MIT
"""The folder of a run: everything that is known of it afterwards.

It also holds what the next start needs to clean up after a killed tool.

    runs/20261122-051800-pair-4711/
        run.json             seed, versions, command line of the tool, when
        topology.toml        the topology as it was given
        events.jsonl         the event stream
        owner                process id and start time of the tool; gone after an orderly end
        kern_loader          the socket of the loaders, while the run goes on
        nodes/a/kern_loader.conf  which kernel servers its loader brings up
        nodes/a/console.pty  the terminal to attach at, while the machine runs
        nodes/a/launch-1/    command.txt, version.txt, console.log, stderr.log, process
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import TextIO

from emulator.errors import HostError
from emulator.model import Topology

OWNER = "owner"
PROCESS = "process"
PTY = "console.pty"


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failed write into an error with a hint.

    Raises:
        HostError: the disk is full, the place is not writable, ...
    """
    try:
        yield
    except OSError as error:
        raise HostError(
            f"{path}: cannot be written: {error.strerror}", hint=place_hint(error)
        ) from error


def place_hint(error: OSError) -> str:
    """What to do when a file of a run folder cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free space there, or choose another place with --runs"
    return "choose another place with --runs"


def process_stamp(pid: int) -> str:
    """What tells a process from a later one of the same number: `pid starttime`.

    Raises:
        ProcessLookupError: there is no such process, or it has ended and nobody has asked how.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError as error:
        raise ProcessLookupError(pid) from error
    fields = stat.rpartition(")")[2].split()  # of proc(5), from field 3 on: a name may have blanks
    state, start_time = fields[0], fields[19]
    if state in "ZX":
        raise ProcessLookupError(pid)
    return f"{pid} {start_time}"


class RunFolder:
    """The folder of one run. Make it with `create`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events_path = path / "events.jsonl"

    @classmethod
    def create(cls, runs_path: Path, name: str) -> RunFolder:
        """Make a folder that no other run has.

        Raises:
            HostError: it cannot be made.
        """
        moment = datetime.datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
        base = f"{moment}-{name}-{os.getpid()}"
        path = runs_path.absolute() / base
        with writing(runs_path.absolute()):
            runs_path.mkdir(parents=True, exist_ok=True)
        with writing(path):
            count = 1
            while True:
                try:
                    path.mkdir()
                    break
                except FileExistsError:
                    count += 1
                    path = path.with_name(f"{base}.{count}")
            try:
                (path / OWNER).write_text(process_stamp(os.getpid()) + "\n", encoding="ascii")
            except OSError:
                shutil.rmtree(path, ignore_errors=True)
                raise
        return cls(path)

    def open_events(self) -> TextIO:
        """The file of the event stream.

        Raises:
            HostError: it cannot be made.
        """
        with writing(self.events_path):
            return self.events_path.open("w", encoding="utf-8")

    def write(self, name: str, text: str) -> Path:
        """Write a file of the folder, whole.

        Raises:
            HostError: it cannot be written.
        """
        path = self.path / name
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return path

    def write_start(self, topology: Topology, *, seed: int) -> None:
        """Write what is known before anything runs.

        Raises:
            HostError: it cannot be written.
        """
        source = Path(topology.source)
        if topology.source and source.is_file():
            self.write("topology.toml", source.read_text(encoding="utf-8"))
        record: Mapping[str, object] = {
            "name": topology.name,
            "seed": seed,
            "topology": topology.source or repr(topology),
            "command": sys.argv,
            "started": datetime.datetime.now().astimezone().isoformat(timespec="milliseconds"),
            "pid": os.getpid(),
            "versions": {
                "mnlab": _version("mnlab"),
                "python": platform.python_version(),
                "kernel": platform.release(),
            },
            "cores": os.cpu_count(),
        }
        self.write("run.json", json.dumps(record, indent=2) + "\n")

    def launch_folder(self, node: str, launch: int) -> Path:
        """The folder of one launch of a node, made if need be.

        Raises:
            HostError: it cannot be made.
        """
        path = self.path / "nodes" / node / f"launch-{launch}"
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
        return path

    def pty_path(self, node: str) -> Path:
        """The file that names the terminal of a node's console."""
        return self.path / "nodes" / node / PTY

    def finish(self) -> None:
        """Mark the run as ended in order: nothing of it is left to sweep."""
        with contextlib.suppress(OSError):
            (self.path / OWNER).unlink(missing_ok=True)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
