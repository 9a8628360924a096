# SPDX-License-Identifier: MIT
"""The bare limits: a ring without our protocol, and a machine that does nothing but start.

`raw_ring` is a kernel server that moves the bytes of a message body through a cable's ring, polling,
and nothing else: no frames, no ports. A bare start is the same QEMU with the same image, without
links, until its console says the first byte.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import time
from collections.abc import Sequence

from emulator.bench.pair import RAW_LINK_INDEX
from emulator.errors import HostError
from emulator.machines.image import find_image
from emulator.machines.machine import MACHINES
from emulator.model import Arch
from emulator.protocol.services import take_status
from emulator.qemu.command import PARENT_DEATH_PREFIX
from emulator.runtime.node import Node

SERVER = "raw_ring"
PINGPONG = 2300  # docs/spec/flipc.md, section 4
STREAM = 2301
RAW_WITHIN_S = 60.0
START_WITHIN_S = 10.0

_REQUEST = struct.Struct("<IIIIQQ")
_REPLY = struct.Struct("<QQQ")
_NS_PER_S = 1_000_000_000


async def raw_round_trip_s(a: Node, b: Node, *, size_bytes: int, count: int) -> float:
    """The mean round trip of so many bytes through a bare ring, both ends polling."""
    total_ns = await _raw(PINGPONG, a, b, size_bytes=size_bytes, count=count)
    return total_ns / count / _NS_PER_S


async def raw_rate_hz(a: Node, b: Node, *, size_bytes: int, count: int) -> float:
    """Records of so many bytes a second through a bare ring, one way."""
    total_ns = await _raw(STREAM, a, b, size_bytes=size_bytes, count=count)
    return count * _NS_PER_S / total_ns


async def _raw(message_id: int, a: Node, b: Node, *, size_bytes: int, count: int) -> int:
    """Run one measurement at both ends at once; the total in ns by a's clock."""
    async with asyncio.TaskGroup() as tasks:
        first, _ = (
            tasks.create_task(_ask(node, message_id, role, size_bytes=size_bytes, count=count))
            for role, node in enumerate((a, b))
        )
    return first.result()


def raw_request(
    link_index: int, role: int, *, size_bytes: int, count: int, within_s: float
) -> bytes:
    """The body of a request to `raw_ring`.

    Args:
        link_index: of the raw link, in the boot page.
        role: 0 begins, 1 answers or takes.
        size_bytes: of each record.
        count: how many.
        within_s: the guest's bound for all of them.
    """
    timeout_ns = round(within_s * _NS_PER_S)
    return _REQUEST.pack(link_index, role, size_bytes, 0, count, timeout_ns)


async def _ask(node: Node, message_id: int, role: int, *, size_bytes: int, count: int) -> int:
    body = raw_request(
        RAW_LINK_INDEX, role, size_bytes=size_bytes, count=count, within_s=RAW_WITHIN_S
    )
    port = await node.port(SERVER)
    reply = await node.call(message_id, body, port=port, within_s=2 * RAW_WITHIN_S)
    total_ns, _, _ = _REPLY.unpack(take_status(reply))
    return int(total_ns)


async def bare_start_s(arches: Sequence[Arch]) -> float:
    """Start bare machines side by side.

    Returns:
        Seconds until the last of them said its first byte.

    Raises:
        HostError: one of them said nothing.
    """
    began_s = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        spoken = [tasks.create_task(_first_byte_s(arch)) for arch in arches]
    return max(task.result() for task in spoken) - began_s


async def _first_byte_s(arch: Arch) -> float:
    """Start one machine; the moment its console says something, by the monotonic clock."""
    process = await asyncio.create_subprocess_exec(
        *_bare_argv(arch),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_WITHIN_S):
            said = await process.stdout.read(1)
        spoke_s = time.monotonic()
    except TimeoutError:
        said = b""
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    if not said:
        raise HostError(
            f"a bare {arch.value} machine said nothing",
            hint="see what mnlab doctor says",
        )
    return spoke_s


def _bare_argv(arch: Arch) -> list[str]:
    """A machine without links, its console on standard output; no boot page, so it panics."""
    machine = MACHINES[arch]
    options = [
        ("-nodefaults", "-no-user-config"),
        ("-display", "none"),
        ("-machine", machine.machine_options),
        ("-accel", "tcg,thread=multi"),
        ("-cpu", machine.cpu),
        ("-smp", "1,maxcpus=2"),
        ("-m", "32M"),
        *machine.firmware_options,
        ("-kernel", str(find_image(machine))),
        ("-chardev", "stdio,id=console,signal=off"),
        ("-serial", "chardev:console"),
    ]
    return [*PARENT_DEATH_PREFIX, machine.qemu_binary, *(word for pair in options for word in pair)]
