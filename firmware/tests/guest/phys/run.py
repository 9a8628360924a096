# SPDX-License-Identifier: MIT
"""Boot the PHY test image in pairs joined by our own cables, and judge what the guests print.

Usage: run.py [--build DIR] [--case NAME] ARCH...

Needs QEMU, the images ``<build>/<arch>/phystest.elf`` and the Python packages of the project. Exit
status 0: every case passed; 1: one failed; 2: wrong usage. No guest outlives it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[4]))

import crc32c

from emulator.links.cable import SharedMemoryCable
from emulator.machines.machine import MACHINES, Machine
from emulator.model import Arch
from emulator.qemu.command import PARENT_DEATH_PREFIX

RAM_BYTES = 32 << 20
BOOT_PAGE_OFFSET = 0x800000
SLOT = 2
GUEST_TIMEOUT_S = 100.0
FRAME_HEADER = struct.Struct("<HBBHHQQIIBBHIIIIII")
FRAME_DATA, FRAME_STOP = 2, 0xFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """A guest that runs; its console goes to a file, so that nothing of it is lost."""

    process: subprocess.Popen[bytes]
    console: Path

    async def finish(self) -> str:
        """Wait for its end; its console. Killed when the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GUEST_TIMEOUT_S):
                await asyncio.to_thread(self.process.wait)
        return self.kill()

    def kill(self) -> str:
        """End it if it still runs; its console."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        # A guest that was killed early has not got as far as making the file.
        return self.console.read_text(errors="replace") if self.console.exists() else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where images are and where consoles go."""

    build: Path
    folder: Path

    def start(self, arch: Arch, node: int, test: str, kind: str, sock: socket.socket) -> Guest:
        """Start a guest with one device on ``sock``, which is closed here."""
        machine = MACHINES[arch]
        text = (
            f"node.id={node}\nnode.name=n{node}\nlaunch={time.monotonic_ns() >> 27 & 0x7FFFFFFF}\n"
            f"seed=1\nservers={test}\nlink=name:l kind:{kind} slot:{SLOT} peer:{3 - node} "
            f"payload_crc:0 replay:0 use:{'raw' if test.startswith('raw') else 'link'}\n"
        ).encode()
        page = b"MNLBOOT1" + struct.pack("<III44x", 1, len(text), crc32c.crc32c(text)) + text
        ram = os.memfd_create("ram")
        os.ftruncate(ram, RAM_BYTES)
        os.pwrite(ram, page, BOOT_PAGE_OFFSET)
        console = self.folder / f"{test}-{node}-{time.monotonic_ns()}.log"
        argv = [*machine_argv(machine, self.build / arch.value, ram, console)]
        argv += device_argv(machine, kind, sock.fileno())
        process = subprocess.Popen(
            argv, pass_fds=(ram, sock.fileno()), stdin=subprocess.DEVNULL, start_new_session=True
        )
        os.close(ram)
        sock.close()
        return Guest(process=process, console=console)


def machine_argv(machine: Machine, images: Path, ram: int, console: Path) -> list[str]:
    """The command line of a machine without its device."""
    return [
        *PARENT_DEATH_PREFIX,
        machine.qemu_binary,
        *("-nodefaults", "-no-user-config", "-display", "none"),
        *("-machine", f"{machine.machine_options},memory-backend=ram", "-cpu", machine.cpu),
        *("-accel", "tcg,thread=multi", "-smp", "1,maxcpus=2", "-m", f"{RAM_BYTES >> 20}M"),
        "-object",
        f"memory-backend-file,id=ram,size={RAM_BYTES},mem-path=/proc/self/fd/{ram},share=on",
        *(word for option in machine.firmware_options for word in option),
        *("-kernel", str(images / "phystest.elf"), "-serial", f"file:{console}"),
    ]


def device_argv(machine: Machine, kind: str, descriptor: int) -> list[str]:
    """The device under test."""
    place = f"bus={machine.pci_bus},addr={SLOT:#x}"
    chardev = ["-chardev", f"socket,id=link,fd={descriptor}"]
    if kind == "ivshmem":
        return [*chardev, "-device", f"ivshmem-doorbell,chardev=link,vectors=1,{place}"]
    return [
        *(*chardev, "-device", f"virtio-serial-pci,id=vs,disable-legacy=on,max_ports=2,{place}"),
        *("-device", "virtserialport,bus=vs.0,nr=1,chardev=link"),
    ]


@contextlib.asynccontextmanager
async def shared_memory(name: str) -> AsyncIterator[SharedMemoryCable]:
    """A cable, closed at the end."""
    cable = SharedMemoryCable(name, lambda _direction: None)
    try:
        yield cable
    finally:
        cable.close()


def judge(console: str) -> str | None:
    """What is wrong with a guest by its console; None: nothing."""
    verdicts = re.findall(r"^VERDICT (.*?)\r?$", console, re.MULTILINE)
    if verdicts == ["pass"]:
        return None
    return f"verdict {verdicts}: " + " | ".join(console.splitlines()[-4:])


async def pair_case(bench: Bench, archs: tuple[Arch, Arch], tests: tuple[str, str]) -> list[str]:
    """Two guests on one cable, each to its own end."""
    async with shared_memory(tests[0]) as cable:
        guests = [
            bench.start(archs[end], end + 1, tests[end], "ivshmem", cable.plug(end))
            for end in range(2)
        ]
        try:
            consoles = await asyncio.gather(*(guest.finish() for guest in guests))
        finally:
            for guest in guests:
                guest.kill()
    for line in consoles[0].splitlines():
        if line.startswith("RESULT"):
            print(f"     {line}")
    return [problem for console in consoles if (problem := judge(console))]


async def flap_case(bench: Bench, archs: tuple[Arch, Arch]) -> list[str]:
    """Cut and splice both directions and restart one end under traffic, until both are content."""
    async with shared_memory("flaps") as cable:
        guests = [
            bench.start(archs[end], end + 1, "phy_flaps", "ivshmem", cable.plug(end))
            for end in range(2)
        ]
        try:
            deadline_s = time.monotonic() + GUEST_TIMEOUT_S
            turn = 0
            while guests[0].process.poll() is None and time.monotonic() < deadline_s:
                await asyncio.sleep(0.03)
                if turn == 5:
                    guests[1].kill()
                    cable.unplug(1)
                    guests[1] = bench.start(archs[1], 2, "phy_flaps", "ivshmem", cable.plug(1))
                    await asyncio.sleep(0.5)
                else:
                    for direction in range(2):
                        cable.cut(direction)
                    await asyncio.sleep(0.005)
                    for direction in range(2):
                        cable.splice(direction)
                turn += 1
            consoles = await asyncio.gather(*(guest.finish() for guest in guests))
        finally:
            for guest in guests:
                guest.kill()
    return [problem for console in consoles if (problem := judge(console))]


def frame(number: int, payload: bytes, kind: int = FRAME_DATA) -> bytes:
    """A frame with a valid header."""
    head = FRAME_HEADER.pack(
        0x4E4D, 1, 0, 0, 1, number, 0, 1, 1, kind, 3, 0, len(payload), 0, 0, 0, 0, 0
    )
    return head + struct.pack("<I", crc32c.crc32c(head)) + payload


async def serial_case(bench: Bench, arch: Arch) -> list[str]:
    """Frames and garbage down a byte stream: every frame comes back, every other byte is counted."""
    ours, theirs = socket.socketpair()
    guest = bench.start(arch, 1, "phy_echo", "virtio-serial", theirs)
    try:
        reader, writer = await asyncio.open_connection(sock=ours)
        async with asyncio.timeout(GUEST_TIMEOUT_S):
            await round_trips(reader, writer)
            garbage_bytes = await noisy_exchange(reader, writer)
            writer.write(frame(1 << 40, b"", FRAME_STOP))
            console = await guest.finish()
        writer.close()
    finally:
        guest.kill()
    problems = [problem for problem in [judge(console)] if problem]
    if f"RESULT skipped={garbage_bytes}\n" not in console.replace("\r", ""):
        problems.append(f"{garbage_bytes} bytes of garbage were sent: {console.splitlines()[-4:]}")
    return problems


async def round_trips(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The first 1000 frames, one after another."""
    times_s = []
    for number in range(1000):
        sent = frame(number, b"")
        start_s = time.perf_counter()
        writer.write(sent)
        if await reader.readexactly(len(sent)) != sent:
            raise AssertionError(f"frame {number} came back changed")
        times_s.append(time.perf_counter() - start_s)
    print(f"     RESULT round_trip.64B_median_us={sorted(times_s)[500] * 1e6:.1f}")


async def noisy_exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    """Frames of many sizes with garbage between them; returns the bytes of garbage."""
    rng = random.Random(1)
    garbage_bytes = 0
    for number in range(1000, 2500):
        garbage = b""
        if rng.random() < 0.2:
            garbage = bytes(rng.choice(b"MN\x01zz") for _ in range(rng.randrange(1, 200)))
        sent = frame(number, rng.randbytes(rng.choice((0, 1, 7, 64, 1000, 4096))))
        blob = garbage + sent
        cut = rng.randrange(len(blob))
        writer.write(blob[:cut])
        await writer.drain()
        writer.write(blob[cut:])
        garbage_bytes += len(garbage)
        if await reader.readexactly(len(sent)) != sent:
            raise AssertionError(f"frame {number} came back changed")
    return garbage_bytes


def cases(bench: Bench, archs: list[Arch]) -> dict[str, Callable[[], Awaitable[list[str]]]]:
    """All cases by name: each architecture with itself and with the next."""
    table: dict[str, Callable[[], Awaitable[list[str]]]] = {}
    for index, arch in enumerate(archs):
        other = archs[(index + 1) % len(archs)]
        for both in {(arch, arch), (arch, other)}:
            name = f"{both[0].value}-{both[1].value}"
            table[f"phy {name}"] = partial(pair_case, bench, both, ("phy_active", "phy_passive"))
            table[f"raw {name}"] = partial(pair_case, bench, both, ("raw_active", "raw_passive"))
            table[f"flaps {name}"] = partial(flap_case, bench, both)
        table[f"serial {arch.value}"] = partial(serial_case, bench, arch)
    return table


async def run(arguments: argparse.Namespace) -> int:
    """Run the cases asked for; the exit status."""
    failed = 0
    with tempfile.TemporaryDirectory(prefix="phystest-") as folder:
        bench = Bench(build=arguments.build, folder=Path(folder))
        for name, case in cases(bench, arguments.arch).items():
            if arguments.case and arguments.case not in name:
                continue
            try:
                problems = await case()
            except (AssertionError, EOFError, OSError, TimeoutError) as error:
                problems = [repr(error)]
            failed += bool(problems)
            print(f"{'FAIL' if problems else 'ok  '} {name} {' / '.join(problems)}".rstrip())
    return 1 if failed else 0


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("arch", nargs="+", type=Arch)
    parser.add_argument("--build", type=Path, default=Path(__file__).parents[3] / "build")
    parser.add_argument("--case", help="only cases whose name contains this")
    return asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
