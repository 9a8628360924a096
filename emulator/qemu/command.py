# SPDX-License-Identifier: MIT
"""QEMU's command line, as a pure function of a description.

Everything a machine talks through is a descriptor made before it starts and passed by number, so
there is no socket path, no race to connect, and nothing left behind. One option and its value per
item pair, in one fixed order: the golden tests and people read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from emulator.machines.machine import Machine
from emulator.model import LinkKind


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkDevice:
    """One link's device in a machine; `descriptor` is what its chardev speaks through."""

    index: int
    kind: LinkKind
    slot: int
    descriptor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineCommand:
    """Everything that decides a machine's command line.

    Args:
        machine: the machine.
        binary: path of the QEMU binary.
        name: shown as the process's name and in QEMU's messages.
        image: firmware image, an ELF file.
        ram_bytes: size of RAM.
        ram_descriptor: the memfd that is RAM.
        monitor_descriptor: socket for QMP.
        console_log: file to which QEMU itself writes the serial console.
        devices: one per link, in order of link index.
    """

    machine: Machine
    binary: str
    name: str
    image: Path
    ram_bytes: int
    ram_descriptor: int
    monitor_descriptor: int
    console_log: Path
    devices: tuple[LinkDevice, ...] = ()


# QEMU dies with us, whatever ends us: the parent-death signal is set between fork and exec, without
# running Python there. Debian has setpriv in util-linux, which is always installed.
PARENT_DEATH_PREFIX = ("setpriv", "--pdeathsig", "KILL", "--")


def machine_argv(command: MachineCommand) -> tuple[str, ...]:
    """Build the command line.

    Two virtual CPUs are announced and one is made: with a single one QEMU's TCG drops the guest's
    atomics and fences, and shared-memory rings break.

    Returns:
        The arguments, the program first; the descriptors it names must be passed to the child.
    """
    machine = command.machine
    options: list[tuple[str, ...]] = [
        ("-name", f"{command.name},process=mnlab-{command.name}"),
        ("-nodefaults",),
        ("-no-user-config",),
        ("-display", "none"),
        ("-machine", f"{machine.machine_options},memory-backend=ram"),
        ("-accel", "tcg,thread=multi"),
        ("-cpu", machine.cpu),
        ("-smp", "1,maxcpus=2"),
        ("-m", f"{command.ram_bytes >> 10}K"),
        (
            "-object",
            f"memory-backend-file,id=ram,size={command.ram_bytes},"
            f"mem-path=/proc/self/fd/{command.ram_descriptor},share=on",
        ),
        *machine.firmware_options,
        ("-kernel", str(command.image)),
        ("-chardev", f"socket,id=qmp,fd={command.monitor_descriptor}"),
        ("-mon", "chardev=qmp,mode=control"),
        ("-chardev", f"pty,id=console,logfile={_value(command.console_log)}"),
        ("-serial", "chardev:console"),
    ]
    for device in command.devices:
        options += _link_options(device, machine)
    return (
        *PARENT_DEATH_PREFIX,
        command.binary,
        *(item for option in options for item in option),
    )


def _link_options(device: LinkDevice, machine: Machine) -> list[tuple[str, str]]:
    chardev = f"link{device.index}"
    place = f"bus={machine.pci_bus},addr={device.slot:#x}"
    options = [("-chardev", f"socket,id={chardev},fd={device.descriptor}")]
    match device.kind:
        case LinkKind.IVSHMEM:
            options.append(("-device", f"ivshmem-doorbell,chardev={chardev},vectors=1,{place}"))
        case LinkKind.VIRTIO_SERIAL:
            bus = f"serial{device.index}"
            options += [
                ("-device", f"virtio-serial-pci,id={bus},disable-legacy=on,max_ports=2,{place}"),
                ("-device", f"virtserialport,bus={bus}.0,nr=1,chardev={chardev},id={chardev}p"),
            ]
    return options


def _value(path: Path) -> str:
    """A path inside an option: QEMU doubles commas."""
    return str(path).replace(",", ",,")
