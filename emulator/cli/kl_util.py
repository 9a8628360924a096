# SPDX-License-Identifier: MIT
"""`kl_util`: loads, unloads and shows the kernel servers of a node that runs.

The options and what is printed are the original's, after the node's name. Words of ours are long:
they stand before the action, as -L does.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from emulator.cli.kl_connect import (
    Place,
    UsageMistake,
    connect,
    end_on_termination,
    run_tool,
    take_place,
)
from emulator.loader import (
    Loader,
    ReplyCallbacks,
    ReplyPort,
    ServerInfo,
    State,
    Taint,
    reply_handler,
    state_string,
)

LABEL = "kl_util"
USAGE = """\
usage: kl_util [--run DIR] [--runs DIR] NODE [-L] ACTION
  -a file ...            allocate servers
  -d server ...          delete servers
  -l server [p=v] ...    load servers, with parameters
  -u server ...          unload servers
  -s [server ...]        show servers
  -r                     restart: unload all, bring up kern_loader.conf again
  -A                     abort: unload all, the loader ends
before the action:
  -L                     go on printing the loader's lines until killed
  --quiesce, --force     -u: close links over a driver first; never mind who uses it
  --json                 -s: as JSON
instead of an action:
  --replace server file [p=v] ...  put another build in a server's place"""
_NEEDS_NAMES = ("-a", "-d", "-l", "-u")
_TAKES_NONE = ("-r", "-A")
_ACTIONS = (*_NEEDS_NAMES, *_TAKES_NONE, "-s")
_FLAGS = {"--quiesce": "-u", "--force": "-u", "--json": "-s"}  # each with the action that it is for
_NO_PLACE = (State.ALLOCATING, State.DEALLOCATED, State.FAILED)


@dataclass(slots=True, kw_only=True)
class _Command:
    """A command line, taken apart."""

    place: Place
    action: str = ""
    words: list[str] = field(default_factory=list)
    flags: set[str] = field(default_factory=set)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool.

    Args:
        argv: the words after its name; None: those of the process.

    Returns:
        0; 1 for a mistake in the words and for what the loader refuses.
    """
    words = sys.argv[1:] if argv is None else list(argv)

    async def work() -> int:
        command = _parse(words)
        async with connect(command.place) as loader:
            if command.action == "-s":
                await _show(loader, command)
            else:
                await _wait_active(loader, command.place.node)
                await _act(loader, command)
        return 0

    end_on_termination()
    return run_tool(LABEL, USAGE, work)


def _parse(words: list[str]) -> _Command:
    place, rest = take_place(words)
    command = _Command(place=place)
    while rest and rest[0] in ("-L", *_FLAGS):
        command.flags.add(rest.pop(0))
    if rest and rest[0] in (*_ACTIONS, "--replace"):
        command.action, command.words = rest[0], rest[1:]
    elif rest or "-L" not in command.flags:
        raise UsageMistake
    if any(word.startswith("-") for word in command.words):
        raise UsageMistake
    if any(_FLAGS.get(flag, command.action) != command.action for flag in command.flags):
        raise UsageMistake
    count = len(command.words)
    if (
        (command.action in _NEEDS_NAMES and not count)
        or (command.action in _TAKES_NONE and count)
        or (command.action == "--replace" and count < 2)
    ):
        raise UsageMistake
    return command


async def _wait_active(loader: Loader, node: str) -> None:
    """A loader that is not active may be one soon: its node is booting, or was restarted."""
    if not await loader.is_active():
        print(f"the loader of node {node} is inactive", flush=True)
        await loader.wait_active()


async def _act(loader: Loader, command: _Command) -> None:
    """Do it, printing the loader's lines meanwhile."""
    port = loader.port()
    loader.status_port(port)
    try:
        await _ask(loader, command)
    finally:
        if "-L" not in command.flags:
            loader.ping(port, 1)
            await _print_lines(port)  # all that were told before the answer
    if "-L" in command.flags:
        await _print_lines(port)


async def _ask(loader: Loader, command: _Command) -> None:
    """Ask for each of the names; the first that is refused ends it."""
    match command.action:
        case "-r" | "-A":
            await loader.abort(restart=command.action == "-r")
        case "--replace":
            name, path, *parameters = command.words
            await loader.replace_server(name, path, parameters)
        case "-l":
            for name, parameters in _with_parameters(command.words):
                await loader.load_server(name, parameters)
        case "-a":
            for path in command.words:
                await loader.add_server(path)
        case "-d":
            for name in command.words:
                await loader.delete_server(name)
        case "-u":
            for name in command.words:
                quiesce, force = "--quiesce" in command.flags, "--force" in command.flags
                await loader.unload_server(name, quiesce=quiesce, force=force)


def _with_parameters(words: list[str]) -> list[tuple[str, list[str]]]:
    """Names, each with the `name=value` words that follow it."""
    found: list[tuple[str, list[str]]] = []
    for word in words:
        if "=" not in word:
            found.append((word, []))
        elif found:
            found[-1][1].append(word)
        else:
            raise UsageMistake
    return found


async def _print_lines(port: ReplyPort) -> None:
    """Print lines until a ping comes back, or the run ends."""
    is_over = False

    def ping(_: None, number: int) -> None:
        nonlocal is_over
        is_over = True

    callbacks = ReplyCallbacks(argument=None, string=_print_line, ping=ping)
    while not is_over and (message := await port.receive()) is not None:
        reply_handler(message, callbacks)


def _print_line(_: None, text: str, length: int, level: int) -> None:
    print(text, flush=True)


async def _show(loader: Loader, command: _Command) -> None:
    names = command.words or list(await loader.server_list())
    infos = [(name, await loader.server_info(name)) for name in names]
    if "--json" in command.flags:
        print(json.dumps([_as_data(name, info) for name, info in infos], indent=2))
    elif not infos:
        print("no servers are active")
    else:
        for name, info in infos:
            print("\n".join(_long(name, info)) if command.words else _short(name, info))


def _short(name: str, info: ServerInfo) -> str:
    return f"SERVER: {name} {state_string(info.state)}"


def _long(name: str, info: ServerInfo) -> list[str]:
    lines = [f"SERVER: {name}"]
    if info.state != State.ALLOCATING:
        lines.append(f"RELOCATABLE: {info.relocatable}")
    if info.loadable:
        lines.append(f"LOADABLE: {info.loadable}")
    status = f"STATUS: {state_string(info.state)}"
    if info.state not in _NO_PLACE:
        status += f" at address {info.address:#x} for {info.size_bytes:#x} bytes"
    lines.append(status)
    if info.state not in _NO_PLACE:
        ports = (f" {port.name}{'(advertised)' * port.advertised}" for port in info.ports)
        lines.append("PORTS:" + "".join(ports))
    if info.reason:
        lines.append(f"REASON: {info.reason}")
    if info.taint:
        lines.append(f"TAINT: {_taint_words(info.taint)}")
    return lines


def _taint_words(taint: int) -> str:
    return " ".join(item.name.lower() for item in Taint if item.name and item & taint)


def _as_data(name: str, info: ServerInfo) -> dict[str, object]:
    return {
        "server": name,
        "state": state_string(info.state),
        "address": info.address,
        "size_bytes": info.size_bytes,
        "relocatable": info.relocatable,
        "loadable": info.loadable,
        "reason": info.reason,
        "taint": _taint_words(info.taint).split(),
        "ports": [
            {"name": port.name, "port": port.port, "advertised": port.advertised}
            for port in info.ports
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
