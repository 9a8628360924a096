# SPDX-License-Identifier: MIT
"""Ports, messages and rights of one node, and its accounts with others: as home and as holder.

`space.IpcSpace` is what others use, `records` what it is made of, `core` what holds it together.
Between them: `accounts` keeps the counts, `outgoing` and `incoming` the rights in messages,
`migration` moves ports, `told` speaks with other nodes, `notices` with programs. No I/O, no clock.
Specified in docs/spec/flipc.md, section 3.
"""

from emulator.protocol.ipc.core import Observer
from emulator.protocol.ipc.records import (
    Kind,
    Message,
    Neighbour,
    Port,
    PortItem,
    PortsItem,
    Slot,
    Transfer,
)
from emulator.protocol.ipc.space import IpcSpace, Item, SendResult

__all__ = [
    "IpcSpace",
    "Item",
    "Kind",
    "Message",
    "Neighbour",
    "Observer",
    "Port",
    "PortItem",
    "PortsItem",
    "SendResult",
    "Slot",
    "Transfer",
]
