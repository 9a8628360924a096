# SPDX-License-Identifier: MIT
"""A machine without QEMU: a program that takes QEMU's command line and behaves like one with our firmware in it.

It maps the RAM it is given, raises the boot count, keeps a black box, speaks QMP, trains its
management link, and follows the carrier of its cables: a link end is up as soon as it has carrier.
Nothing travels between two fakes, so there is no traffic. What it does wrong on purpose is chosen
by `Behaviour`.

`python -m emulator.testing.fake_machine BEHAVIOUR QEMU-ARGUMENTS...`; `fake_machines` makes machine
records that run it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import mmap
import os
import re
import shlex
import socket
import struct
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from emulator.links.cable_page import PAGE_BYTES
from emulator.machines.blackbox import BoxEventKind, BoxState
from emulator.machines.boot_page import BOOT_PAGE_OFFSET, BOOT_TEXT_OFFSET
from emulator.machines.machine import MACHINES, Machine
from emulator.model import Arch, Incarnation, incarnation_of
from emulator.protocol.constants import ClusterConstants, FrameType, LinkReason, NodeDeathCause
from emulator.protocol.flipc_types import Arrival, DeathTold
from emulator.protocol.frames import CableRecord, FrameHeader, FrameStream
from emulator.protocol.mnl import MachMessage, NakReason
from emulator.protocol.services import ErrorCode, Service
from emulator.testing.box_writer import BoxWriter, raise_boot_count
from emulator.testing.fake_guest import FakeGuest, Handler

_END = struct.Struct("<2I6I6I2I")


class Behaviour(Enum):
    """What a fake machine does."""

    NORMAL = "normal"
    DIES_AT_START = "dies-at-start"  # last words on standard error, status 1
    NEVER_READY = "never-ready"  # says so on its console
    PANICS_AT_BOOT = "panics-at-boot"


def fake_machines(
    folder: Path, behaviours: Mapping[Arch, Behaviour] | None = None
) -> dict[Arch, Machine]:
    """Machine records that start fakes.

    Args:
        folder: where the small start programs are put.
        behaviours: what differs from `NORMAL`.
    """
    machines = {}
    for arch, machine in MACHINES.items():
        behaviour = (behaviours or {}).get(arch, Behaviour.NORMAL)
        program = folder / f"fake-{arch.value}-{behaviour.value}"
        line = shlex.join([sys.executable, "-m", __name__, behaviour.value])
        root = Path(__file__).resolve().parents[2]
        program.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(root))} exec {line} "$@"\n')
        program.chmod(0o755)
        machines[arch] = replace(machine, qemu_binary=str(program))
    return machines


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arguments:
    """What a fake takes from QEMU's command line."""

    ram: int
    monitor: int
    console: Path
    links: tuple[int, ...]

    @classmethod
    def parse(cls, argv: list[str]) -> _Arguments:
        text = "\n".join(argv)

        def number(pattern: str) -> int:
            match = re.search(pattern, text)
            assert match is not None, pattern
            return int(match[1])

        console = re.search(r"^pty,id=console,logfile=(.*)$", text, re.MULTILINE)
        assert console is not None
        return cls(
            ram=number(r"mem-path=/proc/self/fd/(\d+)"),
            monitor=number(r"id=qmp,fd=(\d+)"),
            console=Path(console[1].replace(",,", ",")),
            links=tuple(int(item) for item in re.findall(r"id=link\d+,fd=(\d+)", text)),
        )


class FakeMachine:
    """The machine: memory, monitor, and the life in it."""

    def __init__(self, arguments: _Arguments, behaviour: Behaviour) -> None:
        self._arguments = arguments
        self._behaviour = behaviour
        size = os.fstat(arguments.ram).st_size
        self.ram = memoryview(mmap.mmap(arguments.ram, size))
        self._sockets = [socket.socket(fileno=number) for number in arguments.links]
        self._console = arguments.console.open("a", encoding="ascii", buffering=1)
        self._cables: list[_CableEnd] = []
        self._life: _Life | None = None
        self._monitor: asyncio.StreamWriter | None = None

    async def run(self) -> None:
        """Run until the monitor's other end is gone."""
        sock = socket.socket(fileno=self._arguments.monitor)
        reader, self._monitor = await asyncio.open_connection(sock=sock)
        version = {"qemu": {"major": 0, "minor": 0, "micro": 0}, "package": "fake"}
        self._tell({"QMP": {"version": version, "capabilities": []}})
        lines = _boot_text(self.ram)
        kinds = [dict(item.split(":") for item in line.split())["kind"] for line in lines["link"]]
        for index, kind in enumerate(kinds[1:], start=1):
            end = _SharedMemoryEnd if kind == "ivshmem" else _StreamEnd
            self._cables.append(end(self._sockets[index], index, self._carrier))
        self._boot()
        text = ""
        while data := await reader.read(65536):
            text = self._execute_all(text + data.decode())

    def say(self, text: str) -> None:
        """Write a line to the console."""
        self._console.write(text + "\n")

    def power_off(self, status: int) -> None:
        """End the process."""
        self._console.flush()
        os._exit(status)

    def _boot(self) -> None:
        self.say(f"fake firmware, {self._behaviour.value}")
        if self._life is not None:
            self._life.end()
        self._life = _Life(self, self._sockets[0], self._behaviour)
        for cable in self._cables:
            self._life.carrier(cable)

    def _carrier(self, cable: _CableEnd) -> None:
        if self._life is not None:
            self._life.carrier(cable)

    def _execute_all(self, text: str) -> str:
        """Execute every whole request in a text; requests are ended by nothing but their braces.

        Returns:
            What is left.
        """
        decoder = json.JSONDecoder()
        while text := text.lstrip():
            try:
                request, end = decoder.raw_decode(text)
            except json.JSONDecodeError:
                break
            self._execute(request)
            text = text[end:]
        return text

    def _execute(self, request: dict[str, object]) -> None:
        result: object = {}
        after: Callable[[], None] | None = None
        match request["execute"]:
            case "stop":
                assert self._life is not None
                self._life.guest.hang()
            case "cont":
                assert self._life is not None
                self._life.guest.resume()
            case "system_reset":
                after = self._reset
            case "query-chardev":
                result = [{"label": "console", "filename": "pty:/dev/null", "frontend-open": True}]
            case _:
                pass
        answer = {"return": result}
        if "id" in request:
            answer["id"] = request["id"]
        self._tell(answer)
        if after is not None:
            after()

    def _reset(self) -> None:
        stamp = {"seconds": 0, "microseconds": 0}
        self._tell({"event": "RESET", "data": {"guest": False}, "timestamp": stamp})
        self._boot()

    def _tell(self, message: dict[str, object]) -> None:
        assert self._monitor is not None
        self._monitor.write(json.dumps(message).encode() + b"\r\n")


class _Life:
    """One life of the firmware."""

    def __init__(
        self, machine: FakeMachine, management: socket.socket, behaviour: Behaviour
    ) -> None:
        self._machine = machine
        lines = _boot_text(machine.ram)
        self._behaviour = behaviour
        count = raise_boot_count(machine.ram)
        self.incarnation: Incarnation = incarnation_of(int(lines["launch"][0]), count)
        self.node_id = int(lines["node.id"][0])
        self._peers = [
            int(dict(item.split(":") for item in line.split())["peer"]) for line in lines["link"]
        ]
        self.box = BoxWriter(machine.ram, node_id=self.node_id, incarnation=self.incarnation)
        self._guest: _MachineGuest | None = None
        self.event(BoxEventKind.BOOT, count)
        self._guest = self.guest = _MachineGuest(self, management, _constants(lines), self._answer)
        if behaviour is Behaviour.PANICS_AT_BOOT:
            self.panic("told to")
        if behaviour is Behaviour.NEVER_READY:
            machine.say("waiting for a server that never starts")

    def end(self) -> None:
        """Forget it, as a reset does."""
        self.guest.hang()
        self.box.release()

    def event(self, kind: BoxEventKind, *args: int, link: int = 0xFFFF, peer: int = 0) -> None:
        """Append an event to the black box, with the clock that the protocol stack uses, too."""
        time_ns = time.monotonic_ns()
        self.box.event(kind, *args, time_ns=time_ns, link=link, peer=peer)
        if self._guest is not None:
            self._guest.nudge()

    def trained(self) -> None:
        """The management link is up."""
        if self._behaviour is Behaviour.NORMAL:
            self.event(BoxEventKind.READY)
            self.box.state(BoxState.READY)

    def told_of_death(self, node_id: int, incarnation: int, cause: NodeDeathCause) -> None:
        """Node 0 says that somebody died."""
        self.event(BoxEventKind.NODE_DEAD, incarnation, cause, peer=node_id)

    def carrier(self, cable: _CableEnd) -> None:
        """A cable's carrier is this now."""
        bits = cable.rx_carrier | cable.tx_carrier << 1
        link, peer = cable.index, self._peers[cable.index]
        self.event(BoxEventKind.CARRIER, bits, cable.tx_generation, link=link, peer=peer)
        epochs = cable.tx_generation | cable.rx_generation << 32
        reason = LinkReason.TRAINED if bits else LinkReason.CARRIER
        self.event(BoxEventKind.LINK_STATE, bits, epochs, reason, link=link, peer=peer)

    def panic(self, reason: str) -> None:
        """Say so, and power off."""
        text = f"PANIC node={self.node_id} at=fake_machine.py:1 reason={reason}"
        self._machine.say(text)
        self.event(BoxEventKind.PANIC, 0xDEAD)
        self.box.panic(text)
        self._machine.power_off(0)

    def _answer(self, message: MachMessage) -> bytes | NakReason | None:
        done = bytes(8)
        match message.id:
            case Service.ECHO:
                return message.body
            case Service.PING:
                count = struct.unpack_from("<I", message.body, 4)[0]
                return done + struct.pack("<IIQQQ", count, 0, count * 1500, 1000, 2000)
            case Service.STATISTICS:
                return done + bytes(128)
            case Service.PANIC:
                self.panic("asked to")
                return None
            case _:
                return ErrorCode.UNSUPPORTED.to_bytes(4, "little", signed=True) + bytes(4)


class _MachineGuest(FakeGuest):
    """The protocol stack, which tells the life what it learns."""

    def __init__(
        self, life: _Life, sock: socket.socket, constants: ClusterConstants, handler: Handler
    ) -> None:
        super().__init__(
            sock,
            node_id=life.node_id,
            incarnation=life.incarnation,
            constants=constants,
            handler=handler,
        )
        self._life = life
        self._was_up = False

    def _service(self) -> None:
        super()._service()
        if not self._was_up and self.changes and self.changes[-1].tx_up and self.changes[-1].rx_up:
            self._was_up = True
            self._life.trained()

    def _take(self, arrival: Arrival, now_ns: int) -> None:
        super()._take(arrival, now_ns)
        if isinstance(arrival, DeathTold):
            death = arrival.death
            self._life.told_of_death(death.node_id, death.incarnation, NodeDeathCause(death.cause))


class _CableEnd:
    """One end of a cable, as the driver in a guest sees it."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.tx_carrier = self.rx_carrier = False
        self.tx_generation = self.rx_generation = 0


class _SharedMemoryEnd(_CableEnd):
    """Reads the cable page whenever its doorbell rings."""

    def __init__(
        self, sock: socket.socket, index: int, on_carrier: Callable[[_CableEnd], None]
    ) -> None:
        super().__init__(index)
        self._sock = sock
        self._on_carrier = on_carrier
        self._region: mmap.mmap | None = None
        self._id = -1
        sock.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self._read)
        self._read()

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                data, descriptors, _, _ = socket.recv_fds(self._sock, 8, 1)
                if not data:
                    self._loop.remove_reader(self._sock)
                    return
                self._take(struct.unpack("<q", data)[0], descriptors)

    def _take(self, value: int, descriptors: list[int]) -> None:
        if value == -1:
            self._region = mmap.mmap(descriptors[0], os.fstat(descriptors[0]).st_size)
        elif not descriptors:
            self._id = value if value and self._id < 0 else self._id
        elif value == self._id:
            self._loop.add_reader(descriptors[0], self._rung, descriptors[0])
            self._look()

    def _rung(self, doorbell: int) -> None:
        os.eventfd_read(doorbell)
        self._look()

    def _look(self) -> None:
        assert self._region is not None
        page = self._region[:PAGE_BYTES]
        record = _END.unpack_from(page, 64 * self._id)
        generation, carrier = 2, 3
        self.tx_generation, self.tx_carrier = record[generation], bool(record[carrier])
        self.rx_generation, self.rx_carrier = record[generation + 6], bool(record[carrier + 6])
        self._on_carrier(self)


class _StreamEnd(_CableEnd):
    """Reads CABLE frames from its stream."""

    def __init__(
        self, sock: socket.socket, index: int, on_carrier: Callable[[_CableEnd], None]
    ) -> None:
        super().__init__(index)
        self._sock = sock
        self._on_carrier = on_carrier
        self._frames = FrameStream(65536)
        sock.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self._read)

    def _read(self) -> None:
        data = self._sock.recv(65536)
        if not data:
            self._loop.remove_reader(self._sock)
        for frame in self._frames.feed(data):
            if FrameHeader.parse(frame).type == FrameType.CABLE:
                record = CableRecord.parse(frame[64:])
                assert record is not None
                self._take(record)
        self._on_carrier(self)

    def _take(self, record: CableRecord) -> None:
        if record.direction == 1:
            self.tx_carrier, self.tx_generation = bool(record.carrier), record.generation
        else:
            self.rx_carrier, self.rx_generation = bool(record.carrier), record.generation


def _boot_text(ram: memoryview) -> dict[str, list[str]]:
    length = struct.unpack_from("<I", ram, BOOT_PAGE_OFFSET + 12)[0]
    start = BOOT_PAGE_OFFSET + BOOT_TEXT_OFFSET
    lines: dict[str, list[str]] = {}
    for line in bytes(ram[start : start + length]).decode("ascii").splitlines():
        key, _, value = line.partition("=")
        lines.setdefault(key, []).append(value)
    return lines


def _constants(lines: dict[str, list[str]]) -> ClusterConstants:
    def number(key: str) -> int:
        return int(lines[key][0])

    return ClusterConstants(
        nodes_max=number("nodes_max"),
        window=number("window"),
        keepalive_ns=number("keepalive_ns"),
        link_down_after_ns=number("link_down_after_ns"),
        dead_after_ns=number("dead_after_ns"),
        ack_delay_ns=number("ack_delay_ns"),
        ack_count=number("ack_count"),
    )


def main() -> int:
    """Be a machine."""
    behaviour = Behaviour(sys.argv[1])
    if behaviour is Behaviour.DIES_AT_START:
        sys.stderr.write("fake: could not open the lid: it is nailed down\n")
        return 1
    with contextlib.suppress(ConnectionError):
        asyncio.run(FakeMachine(_Arguments.parse(sys.argv[2:]), behaviour).run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
