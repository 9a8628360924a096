# SPDX-License-Identifier: MIT
"""QEMU's command line of each machine, whole, as people read it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from emulator.machines.machine import MACHINES
from emulator.model import LINKS_PER_NODE_MAX, Arch, LinkKind
from emulator.qemu.command import LinkDevice, MachineCommand, machine_argv

DATA = Path(__file__).parents[2] / "data" / "commands"


def command(arch: Arch) -> MachineCommand:
    return MachineCommand(
        machine=MACHINES[arch],
        binary=f"/usr/bin/{MACHINES[arch].qemu_binary}",
        name="a",
        image=Path("/fw/kernel, final.elf"),
        ram_bytes=32 << 20,
        ram_descriptor=10,
        monitor_descriptor=11,
        console_log=Path("/runs/a,b/console.log"),
        devices=(
            LinkDevice(index=0, kind=LinkKind.VIRTIO_SERIAL, slot=1, descriptor=12),
            LinkDevice(index=1, kind=LinkKind.IVSHMEM, slot=2, descriptor=13),
        ),
    )


@pytest.mark.parametrize("arch", list(Arch))
def test_whole_command_line(arch: Arch) -> None:
    expected = (DATA / f"{arch.value}.txt").read_text(encoding="ascii").splitlines()
    assert [shlex.quote(item) for item in machine_argv(command(arch))] == expected


@pytest.mark.parametrize("arch", list(Arch))
def test_every_link_has_a_slot(arch: Arch) -> None:
    slots = MACHINES[arch].pci_slots
    assert len(slots) == LINKS_PER_NODE_MAX + 1
    assert 0 not in slots  # the host bridge
