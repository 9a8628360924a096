# SPDX-License-Identifier: MIT
"""A loader beside a fake node, with tiny servers on the disk: what tests of the loader start from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emulator.loader.conf import Configuration, ServerConfig
from emulator.loader.daemon import LoaderSetup, NodeLoader
from emulator.loader.files import ObjectFiles
from emulator.loader.half import KernelHalf
from emulator.loader.kernel import Export, KernelImage
from emulator.loader.messages import parse_log, parse_string
from emulator.loader.status import StatusLines
from emulator.machines.machine import MACHINES
from emulator.model import Arch
from emulator.testing.fake_server_node import FakeServerNode
from emulator.testing.server_writer import BUILD_ID, ServerWriter

__all__ = ["INIT", "STOP", "LoaderBench", "Mailbox"]

KIND = MACHINES[Arch.X86_64].elf
KERNEL = KernelImage(build_id=BUILD_ID, exports={"kmsg_free": Export(0x201000, 0x11111111)})
INIT, STOP = 0, 16  # offsets of tiny_init and tiny_stop


@dataclass(slots=True, eq=False)
class Mailbox:
    """A client that takes `room` messages and no more.

    Args:
        room: how many it takes.
        has_ended: whether it was told that the loader has.
        messages: port, id and body of each.
    """

    room: int = 1000
    has_ended: bool = False
    messages: list[tuple[int, int, bytes]] = field(default_factory=list)

    def post(self, port: int, message_id: int, body: bytes) -> bool:
        """As `Client.post`."""
        if len(self.messages) >= self.room:
            return False
        self.messages.append((port, message_id, body))
        return True

    def end(self) -> None:
        """As `Client.end`."""
        self.has_ended = True

    def lines(self) -> list[str]:
        """The texts of the status lines it got."""
        return [parse_string(body)[1] for _, number, body in self.messages if number == 300]

    def pings(self) -> list[int]:
        """The ids of the pings it got back."""
        return [
            int.from_bytes(body[:4], "little") for _, number, body in self.messages if number == 301
        ]

    def logs(self) -> list[str]:
        """The log texts it got."""
        return [parse_log(body) for _, number, body in self.messages if number == 302]


class LoaderBench:
    """A loader, its fake node, and a folder of objects."""

    def __init__(
        self,
        folder: Path,
        *,
        config: Sequence[ServerConfig] = (),
        turns: Callable[[], int] = lambda: 1,
    ) -> None:
        """Begin before the node boots.

        Args:
            folder: for objects; also where the loader looks for them by name.
            config: of the node.
            turns: of the event loop before the node answers.
        """
        self.folder = folder
        self.node = FakeServerNode(turns=turns)
        self.tasks: set[asyncio.Task[None]] = set()
        self.lines: list[str] = []
        self.loader = NodeLoader(
            LoaderSetup(
                node="a",
                kind=KIND,
                half=KernelHalf(self.node, within_s=1.0),
                find_kernel=lambda: KERNEL,
                files=ObjectFiles(),
                folders=(folder,),
                config=lambda: Configuration(servers=tuple(config)),
                lines=StatusLines("a", lambda priority, server, text: self.lines.append(text)),
                spawn=self._spawn,
            )
        )
        self.node.told = self.loader.message

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def settle(self) -> None:
        """Until the loader has nothing more to do by itself."""
        while self.tasks:
            await asyncio.gather(*self.tasks)

    def write(
        self,
        name: str = "tiny",
        writer: ServerWriter | None = None,
        *,
        depends: Sequence[str] = (),
        load: str | None = None,
    ) -> Path:
        """A server's object on the disk.

        Args:
            name: the server's.
            writer: makes it; None: a plain one.
            depends, load: as of `ServerWriter.with_name`.
        """
        server = (writer or ServerWriter()).with_name(name, depends=depends, load=load)
        path = self.folder / f"{name}.kern_server"
        path.write_bytes(server.write())
        return path

    def state(self, name: str = "tiny") -> int:
        """A server's state, as the loader has it."""
        return self.loader.info(name, privileged=True).state
