# SPDX-License-Identifier: MIT
"""A machine as an operating system process: started, watched through a pidfd, killed, reaped.

The child gets its own process group, so a Ctrl-C at the terminal reaches us and not it, and a
parent-death signal (see `command.PARENT_DEATH_PREFIX`), so it cannot outlive us. Its standard error
goes to a file, which needs no reader and loses nothing.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from emulator.errors import HostError, LaunchError
from emulator.qemu.command import PARENT_DEATH_PREFIX

LAST_WORDS_LINES = 12


class MachineProcess:
    """A running child process. Make it with `start`.

    `exited` is done as soon as the process has ended and holds its status, negative for a signal.
    """

    def __init__(
        self, child: subprocess.Popen[bytes], argv: tuple[str, ...], error_log: Path
    ) -> None:
        self.argv = argv
        self._child = child
        self.error_log = error_log
        self._loop = asyncio.get_running_loop()
        self._listeners: list[Callable[[int], None]] = []
        self.exited: asyncio.Future[int] = self._loop.create_future()
        self._pidfd = os.pidfd_open(child.pid)
        self._loop.add_reader(self._pidfd, self._reap)

    @classmethod
    def start(
        cls, argv: Sequence[str], *, descriptors: Sequence[int], error_log: Path
    ) -> MachineProcess:
        """Start a machine.

        Args:
            argv: the command line, the program first.
            descriptors: what the child inherits, under the same numbers.
            error_log: file for its standard output and error; made anew.

        Raises:
            LaunchError: the program is missing or cannot be run.
            HostError: the log cannot be made.
        """
        try:
            log = error_log.open("wb")
        except OSError as error:
            raise HostError(
                f"{error_log}: cannot be written: {error.strerror}",
                hint="free space there, or choose another place with --runs",
            ) from error
        with log:
            try:
                child = subprocess.Popen(
                    list(argv),
                    pass_fds=tuple(descriptors),
                    process_group=0,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            except OSError as error:
                raise LaunchError(
                    f"{argv[0]}: cannot be run: {error.strerror}",
                    argv=tuple(argv),
                    status=None,
                    last_words=(),
                    hint=f"install what provides {argv[0]}; mnlab doctor says which package",
                ) from error
        return cls(child, tuple(argv), error_log)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    @property
    def status(self) -> int | None:
        """Its exit status, negative for a signal, None while it runs."""
        return self.exited.result() if self.exited.done() else None

    @property
    def program(self) -> str:
        """Name of the program, without the prefix that ties its life to ours."""
        return Path(next(item for item in self.argv if item not in PARENT_DEATH_PREFIX)).name

    @property
    def command_line(self) -> str:
        """Its command line as a shell would read it."""
        return shlex.join(self.argv)

    def on_exit(self, listener: Callable[[int], None]) -> None:
        """Call `listener` with the exit status, in the very step in which the end is noticed."""
        self._listeners.append(listener)

    def kill(self) -> None:
        """Send SIGKILL, if it still runs."""
        if not self.exited.done():
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    async def end(self) -> int:
        """Kill it and wait until it is gone.

        Cancelling this leaves a process that has been killed and will be reaped.

        Returns:
            Its exit status.
        """
        self.kill()
        return await asyncio.shield(self.exited)

    def last_words(self, lines: int = LAST_WORDS_LINES) -> tuple[str, ...]:
        """The tail of what it wrote to standard output and error."""
        try:
            text = self.error_log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ()
        return tuple(line for line in text.splitlines() if line.strip())[-lines:]

    def launch_error(self, message: str, hint: str) -> LaunchError:
        """An error about this launch, with command line, status and last words."""
        return LaunchError(
            message,
            argv=self.argv,
            status=self.status,
            last_words=self.last_words(),
            hint=hint,
        )

    def _reap(self) -> None:
        status = self._child.poll()
        if status is None:
            return
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        if not self.exited.done():
            self.exited.set_result(status)
        for listener in self._listeners:
            listener(status)
