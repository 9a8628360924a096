# SPDX-License-Identifier: MIT
"""One launch of a node: its RAM, its process, its monitor, its console.

Knows nothing of states, links or other nodes: it is handed descriptors and tells its owner what
happens through `LaunchListener`.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from emulator.errors import HostError, LaunchError
from emulator.machines.boot_page import BootArguments, build_boot_page
from emulator.machines.machine import Machine
from emulator.machines.ram import Ram
from emulator.qemu.command import PARENT_DEATH_PREFIX, LinkDevice, MachineCommand, machine_argv
from emulator.qemu.console import Console
from emulator.qemu.monitor import Monitor
from emulator.qemu.process import MachineProcess
from emulator.runtime.run_folder import PROCESS, RunFolder, process_stamp, writing

STDERR_LOG: Final = "stderr.log"
CONSOLE_LOG: Final = "console.log"
COMMAND: Final = "command.txt"
VERSION: Final = "version.txt"  # of QEMU


class LaunchListener(Protocol):
    """Who is told what a machine does."""

    def machine_exited(self, launch: Launch, status: int) -> None:
        """The process is gone."""

    def machine_reset(self, launch: Launch) -> None:
        """The machine was reset, by its guest or by us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchPlan:
    """What to start.

    Args:
        machine: the machine.
        image: its firmware.
        ram_bytes: size of its RAM.
        arguments: what its firmware is told.
        devices: its links, with the descriptors they speak through.
    """

    machine: Machine
    image: Path
    ram_bytes: int
    arguments: BootArguments
    devices: Sequence[LinkDevice]


class Launch:
    """A started machine. Make it with `start`."""

    def __init__(
        self,
        *,
        number: int,
        name: str,
        ram: Ram,
        process: MachineProcess,
        monitor_socket: socket.socket,
        console: Console,
        folder: Path,
        pty_path: Path,
        listener: LaunchListener,
    ) -> None:
        self.number: Final = number
        self.ram: Final = ram
        self.process: Final = process
        self.console: Final = console
        self.pty: str | None = None
        self.end_was_requested = False
        self.resets = 0
        self._folder = folder
        self._pty_path = pty_path
        self._listener = listener
        self._monitor = Monitor(name, monitor_socket, self._event)
        self._monitor_ready: asyncio.Future[Monitor] = asyncio.get_running_loop().create_future()
        process.on_exit(self._exited)

    @classmethod
    def start(cls, plan: LaunchPlan, folder: RunFolder, listener: LaunchListener) -> Launch:
        """Power a machine up.

        Raises:
            LaunchError: the program is missing or cannot be run.
            HostError: no memory, descriptors or space for it.
        """
        name, number = plan.arguments.node_name, plan.arguments.launch
        path = folder.launch_folder(name, number)
        binary = find_binary(plan.machine)
        ram = Ram(
            name=name,
            size_bytes=plan.ram_bytes,
            launch=number,
            boot_page=build_boot_page(plan.arguments),
        )
        ours, theirs = socket.socketpair()
        with contextlib.ExitStack() as undo, theirs:
            undo.callback(ram.close)
            undo.callback(ours.close)
            command = MachineCommand(
                machine=plan.machine,
                binary=binary,
                name=name,
                image=plan.image,
                ram_bytes=plan.ram_bytes,
                ram_descriptor=ram.descriptor,
                monitor_descriptor=theirs.fileno(),
                console_log=path / CONSOLE_LOG,
                devices=tuple(plan.devices),
            )
            process = _spawn(command, path)
            undo.pop_all()
        return cls(
            number=number,
            name=name,
            ram=ram,
            process=process,
            monitor_socket=ours,
            console=Console(path / CONSOLE_LOG),
            folder=path,
            pty_path=folder.pty_path(name),
            listener=listener,
        )

    async def serve(self) -> None:
        """Connect the monitor and pass on its events until the machine ends or this is cancelled.

        A machine whose monitor does not come is not an error here: its process ends, or nobody
        needs it.
        """
        try:
            await self._monitor.connect()
            with writing(self._folder):
                (self._folder / VERSION).write_text(self._monitor.version + "\n", encoding="utf-8")
            self.pty = await self._monitor.console_pty()
            if self.pty is not None:
                with writing(self._pty_path):
                    self._pty_path.write_text(self.pty + "\n", encoding="ascii")
            self._monitor_ready.set_result(self._monitor)
            await self._monitor.pump_events()
        except HostError as error:
            if not self._monitor_ready.done():
                self._monitor_ready.set_exception(error)
                self._monitor_ready.exception()  # whoever needs the monitor gets it; nobody has to
        finally:
            if not self._monitor_ready.done():
                self._monitor_ready.cancel()
            await self._monitor.close()

    async def monitor(self) -> Monitor:
        """The monitor, as soon as it is there.

        Raises:
            HostError: it does not come.
        """
        return await asyncio.shield(self._monitor_ready)

    def close(self) -> None:
        """Give the memory back, after the process has ended and its black box was read."""
        self.ram.close()

    def _event(self, name: str, data: Mapping[str, object]) -> None:
        if name == "RESET":
            self._listener.machine_reset(self)

    def _exited(self, status: int) -> None:
        self.pty = None
        self._pty_path.unlink(missing_ok=True)
        self._listener.machine_exited(self, status)


def find_binary(machine: Machine) -> str:
    """Path of a machine's QEMU.

    Raises:
        LaunchError: it is not installed.
    """
    path = shutil.which(machine.qemu_binary)
    if path is None:
        raise LaunchError(
            f"{machine.qemu_binary} is not installed",
            argv=(machine.qemu_binary,),
            status=None,
            last_words=(),
            hint=f"install it: apt-get install {machine.debian_package}",
        )
    if shutil.which(PARENT_DEATH_PREFIX[0]) is None:
        raise LaunchError(
            f"{PARENT_DEATH_PREFIX[0]} is not installed",
            argv=PARENT_DEATH_PREFIX,
            status=None,
            last_words=(),
            hint="install it: apt-get install util-linux",
        )
    return path


def _spawn(command: MachineCommand, path: Path) -> MachineProcess:
    descriptors = [
        command.ram_descriptor,
        command.monitor_descriptor,
        *(device.descriptor for device in command.devices),
    ]
    process = MachineProcess.start(
        machine_argv(command), descriptors=descriptors, error_log=path / STDERR_LOG
    )
    try:
        with writing(path):
            (path / PROCESS).write_text(process_stamp(process.pid) + "\n", encoding="ascii")
            (path / COMMAND).write_text(process.command_line + "\n", encoding="utf-8")
    except (HostError, ProcessLookupError):
        process.kill()
        raise
    return process
