# SPDX-License-Identifier: MIT
"""Scripts of a linked server as the commands that its node executes."""

from __future__ import annotations

from emulator.loader.node_messages import CommandId, NodeCommand, PortRequest
from emulator.loader.object import LinkedServer, ServerObject
from emulator.loader.script import Argument, Call, Entry, PortDeath, PortMap

__all__ = ["load_commands", "port_requests", "unload_commands", "words_of"]


def port_requests(server: ServerObject) -> tuple[PortRequest, ...]:
    """The ports that a server's load script declares, in its order."""
    script = server.load_script
    return tuple(
        PortRequest(name=port.port, advertised=port.port in script.advertised)
        for port in script.ports
    )


def load_commands(linked: LinkedServer) -> tuple[NodeCommand, ...]:
    """What brings a server up: instance and version, WIRE first, then its script in order.

    Raises:
        LoaderError: SERVER_WONT_LINK: a symbol is unresolved.
    """
    server = linked.server
    first = [
        NodeCommand(id=CommandId.INSTANCE, function=linked.address_of(server.instance)),
        NodeCommand(id=CommandId.VERSION, argument=server.version),
    ]
    if server.load_script.wire:
        first.append(NodeCommand(id=CommandId.WIRE))
    ports = {port.port: index for index, port in enumerate(server.load_script.ports)}
    return (
        *first,
        *(_command(linked, entry, ports) for entry in server.load_script.entries),
    )


def unload_commands(linked: LinkedServer) -> tuple[NodeCommand, ...]:
    """What brings a server down.

    Raises:
        LoaderError: SERVER_WONT_LINK: a symbol is unresolved.
    """
    return tuple(_command(linked, entry, {}) for entry in linked.server.unload_script.entries)


def words_of(server: ServerObject, index: int) -> str:
    """A load command as its script has it, for messages; by its index in `load_commands`."""
    first = 3 if server.load_script.wire else 2
    if index < first:
        return ("the instance variable", "the version", "WIRE")[index]
    entries = server.load_script.entries
    if index - first >= len(entries):
        return "the end of the script"
    return _words(entries[index - first])


def _words(entry: Entry) -> str:
    match entry:
        case Call():
            return f"CALL {entry.function} {entry.argument}"
        case PortMap():
            verb = "SMAP" if entry.server_style else "HMAP"
            return f"{verb} {entry.port} {entry.function} {entry.argument}"
        case PortDeath():
            return f"PORT_DEATH {entry.function}"


def _command(linked: LinkedServer, entry: Entry, ports: dict[str, int]) -> NodeCommand:
    function = linked.address_of(entry.function)
    match entry:
        case Call():
            argument = _argument(linked, entry.argument)
            return NodeCommand(id=CommandId.CALL, function=function, argument=argument)
        case PortMap():
            return NodeCommand(
                id=CommandId.SMAP if entry.server_style else CommandId.HMAP,
                port=ports[entry.port],
                function=function,
                argument=_argument(linked, entry.argument),
            )
        case PortDeath():
            return NodeCommand(id=CommandId.PORT_DEATH, function=function)


def _argument(linked: LinkedServer, argument: Argument) -> int:
    return linked.address_of(argument) if isinstance(argument, str) else argument
