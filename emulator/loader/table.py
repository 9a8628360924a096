# SPDX-License-Identifier: MIT
"""The servers of one node: their states, what may happen in which, and who needs whom.

A pure state machine: it decides and remembers, `daemon.py` does. Nothing is changed by an event that
is not allowed. A server whose initialisation failed is never LOADED: it is FAILED, with the reason.

    server: loaded by START, by a request, or by the first message to one of its ports; it may
            depend on others, which are loaded before it and not unloaded while it is loaded.
    taint:  what was done to the node that its author did not foresee; stays until the node reboots.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum, IntFlag, auto, unique
from pathlib import Path
from typing import Final

from emulator.loader.codes import Code, LoaderError
from emulator.loader.node_messages import Reserved
from emulator.loader.object import LinkedServer, ServerObject

__all__ = ["TRANSITIONS", "Event", "Server", "State", "Table", "Taint", "state_string"]


@unique
class State(IntEnum):
    """kern_loader's numbers; FAILED is ours, in the place of ones that were lies."""

    ALLOCATING = 1
    ALLOCATED = 2
    LOADING = 3
    LOADED = 4
    UNLOADING = 5
    DEALLOCATED = 6
    DETACHED = 7
    FAILED = 8

    @property
    def is_running(self) -> bool:
        """Whether its code may run."""
        return self in (State.LOADING, State.LOADED, State.UNLOADING, State.DETACHED)


@unique
class Event(Enum):
    """What happens to a server."""

    ALLOCATED = auto()
    LOAD = auto()
    LOADED = auto()
    LOADED_FOR_EVER = auto()
    UNLOAD = auto()
    UNLOADED = auto()
    UNLOAD_REFUSED = auto()
    FAILED = auto()
    ALLOCATE_AGAIN = auto()
    DELETED = auto()
    NODE_DIED = auto()


TRANSITIONS: Final[Mapping[tuple[State, Event], State]] = {
    (State.ALLOCATING, Event.ALLOCATED): State.ALLOCATED,
    (State.ALLOCATING, Event.FAILED): State.DEALLOCATED,
    (State.ALLOCATING, Event.DELETED): State.DEALLOCATED,
    (State.ALLOCATED, Event.LOAD): State.LOADING,
    (State.ALLOCATED, Event.ALLOCATE_AGAIN): State.ALLOCATING,
    (State.ALLOCATED, Event.FAILED): State.FAILED,
    (State.ALLOCATED, Event.DELETED): State.DEALLOCATED,
    (State.LOADING, Event.LOADED): State.LOADED,
    (State.LOADING, Event.LOADED_FOR_EVER): State.DETACHED,
    (State.LOADING, Event.FAILED): State.FAILED,
    (State.LOADED, Event.UNLOAD): State.UNLOADING,
    (State.UNLOADING, Event.UNLOADED): State.ALLOCATED,
    (State.UNLOADING, Event.UNLOAD_REFUSED): State.LOADED,
    (State.UNLOADING, Event.FAILED): State.DEALLOCATED,
    (State.DETACHED, Event.DELETED): State.DEALLOCATED,
    (State.FAILED, Event.ALLOCATE_AGAIN): State.ALLOCATING,
    (State.FAILED, Event.DELETED): State.DEALLOCATED,
    **{
        (state, Event.NODE_DIED): State.DEALLOCATED
        for state in State
        if state is not State.DEALLOCATED
    },
}


class Taint(IntFlag):
    """What was done to a node; sticky."""

    NONE = 0
    FORCED_UNLOAD = 1
    UNLOADED_WITH_ERRORS = 2
    FAILED_LOAD = 4
    PANICKED = 8
    THREADS_ENDED = 16


@dataclass(slots=True, kw_only=True, eq=False)
class Server:
    """One entry of the table.

    Args:
        name: embedded in the object.
        path: of the relocatable.
        object: as it was read last.
        state: see `State`; changed by `Table.move` only.
        reason: why it is FAILED or DEALLOCATED.
        reserved: its memory and ports on the node; None: it has none.
        linked: at the address of `reserved`.
        com_port: its communication port while loaded; 0: none.
        parameters: `name=value` words for the next load.
        log_lost_before: log entries that its node had lost when it told last.
        log_unread: log entries that came when nobody waited for them.
        dying: somebody deletes it while it is being allocated.
    """

    name: str
    path: Path
    object: ServerObject
    state: State = State.ALLOCATING
    reason: str = ""
    reserved: Reserved | None = None
    linked: LinkedServer | None = None
    com_port: int = 0
    parameters: tuple[str, ...] = ()
    log_lost_before: int = 0
    log_unread: int = 0
    dying: bool = False

    def log_lost(self, total: int) -> int:
        """How many log entries were lost since this was asked last.

        Args:
            total: what its node has counted; it begins anew with each log.
        """
        before = self.log_lost_before if total >= self.log_lost_before else 0
        unread, self.log_unread = self.log_unread, 0
        self.log_lost_before = total
        return total - before + unread

    @property
    def loadable(self) -> Path | None:
        """Where its linked image is for a debugger; None: nowhere."""
        name = self.object.loadable
        return self.path.parent / name if name else None

    @property
    def address(self) -> int:
        """Where it is linked to; 0: nowhere."""
        return 0 if self.reserved is None else self.reserved.address

    @property
    def size_bytes(self) -> int:
        """Of its memory; 0: it has none."""
        return 0 if self.reserved is None else self.object.layout.size_bytes


@dataclass(slots=True)
class Table:
    """All servers of a node, oldest first; deallocated ones stay until their name is used again."""

    taint: Taint = Taint.NONE
    _servers: dict[str, Server] = field(default_factory=dict)
    _load_order: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[Server]:
        return iter(self._servers.values())

    def add(self, server: ServerObject, path: Path) -> Server:
        """Enter a server, ALLOCATING.

        Raises:
            LoaderError: SERVER_EXISTS; CYCLIC_DEPENDENCY: it and others would wait for each other.
        """
        known = self._servers.get(server.name)
        if known is not None and known.state is not State.DEALLOCATED:
            raise LoaderError(Code.SERVER_EXISTS, server.name)
        self.check_circle(server)
        self._servers.pop(server.name, None)  # a new entry is the youngest
        entry = Server(name=server.name, path=path, object=server)
        self._servers[server.name] = entry
        return entry

    def check_circle(self, server: ServerObject) -> None:
        """Refuse a server that needs itself, however far round.

        Raises:
            LoaderError: CYCLIC_DEPENDENCY with the circle.
        """
        waiting: list[tuple[str, ...]] = [(server.name, name) for name in server.depends]
        seen: set[str] = set()
        while waiting:
            way = waiting.pop()
            name = way[-1]
            if name == server.name:
                raise LoaderError(Code.CYCLIC_DEPENDENCY, " needs ".join(way))
            other = self._servers.get(name)
            if name not in seen and other is not None and other.state is not State.DEALLOCATED:
                seen.add(name)
                waiting += [(*way, needed) for needed in other.object.depends]

    def check_advertised(self, server: ServerObject) -> None:
        """Refuse a server that advertises what another one does.

        Raises:
            LoaderError: PORT_EXISTS with the port and that server.
        """
        for other in self._servers.values():
            if other.name == server.name or other.reserved is None:
                continue
            for port in other.object.load_script.advertised:
                if port in server.load_script.advertised:
                    what = f"{server.name} advertises port {port}, as {other.name} does already"
                    raise LoaderError(Code.PORT_EXISTS, what)

    def find(self, name: str) -> Server:
        """The server of that name.

        Raises:
            LoaderError: UNKNOWN_SERVER: none, or a deallocated one.
        """
        server = self._servers.get(name)
        if server is None or server.state is State.DEALLOCATED:
            raise LoaderError(Code.UNKNOWN_SERVER, name)
        return server

    def entry(self, name: str) -> Server:
        """As `find`, but a deallocated one is found, too."""
        if name not in self._servers:
            raise LoaderError(Code.UNKNOWN_SERVER, name)
        return self._servers[name]

    def by_id(self, server_id: int) -> Server | None:
        """The server that its node calls by that number."""
        for server in self._servers.values():
            if server.reserved is not None and server.reserved.server_id == server_id:
                return server
        return None

    def by_com_port(self, com_port: int) -> Server:
        """The server with that communication port.

        Raises:
            LoaderError: SERVER_UNLOADED: no port at all; UNKNOWN_SERVER: nobody's.
        """
        if not com_port:  # an unloaded server's: must not match another without one
            raise LoaderError(Code.SERVER_UNLOADED, "no communication port")
        for server in self._servers.values():
            if server.com_port == com_port:
                return server
        raise LoaderError(Code.UNKNOWN_SERVER, f"communication port {com_port:#x}")

    def dependencies(self, server: Server) -> tuple[Server, ...]:
        """What it depends on directly, in its order.

        Raises:
            LoaderError: MISSING_DEPENDENCY.
        """
        found = []
        for name in server.object.depends:
            other = self._servers.get(name)
            if other is None or other.state is State.DEALLOCATED:
                raise LoaderError(Code.MISSING_DEPENDENCY, f"{server.name} needs {name}")
            found.append(other)
        return tuple(found)

    def users(self, server: Server) -> tuple[str, ...]:
        """Names of the running servers that depend on it: its use count."""
        return tuple(
            other.name
            for other in self._servers.values()
            if other.state.is_running and server.name in other.object.depends
        )

    def running(self) -> tuple[Server, ...]:
        """Loaded servers, the one that was loaded first first."""
        return tuple(
            self._servers[name]
            for name in self._load_order
            if name in self._servers and self._servers[name].state is State.LOADED
        )

    def move(self, server: Server, event: Event, reason: str = "") -> None:
        """Change a server's state.

        Args:
            server: of this table.
            event: what happened.
            reason: kept with FAILED and DEALLOCATED.

        Raises:
            LoaderError: FAILURE: that cannot happen in its state; nothing is changed.
        """
        target = TRANSITIONS.get((server.state, event))
        if target is None:
            what = f"{server.name}: {event.name} while {state_string(server.state)}"
            raise LoaderError(Code.FAILURE, what)
        server.state = target
        server.reason = reason if target in (State.FAILED, State.DEALLOCATED) else ""
        if event is Event.LOADED:
            if server.name in self._load_order:
                self._load_order.remove(server.name)
            self._load_order.append(server.name)
        if not target.is_running:
            server.com_port = 0
        if target in (State.DEALLOCATED, State.FAILED):
            server.linked = None
        if event is Event.NODE_DIED:
            server.reserved = None

    def node_died(self, reason: str) -> None:
        """Everything on the node is gone, with what was done to it."""
        self.taint = Taint.NONE
        self._load_order.clear()
        for server in self._servers.values():
            if server.state is not State.DEALLOCATED:
                self.move(server, Event.NODE_DIED, reason)


def state_string(state: int) -> str:
    """A state's capitalised name, as the tools print it."""
    try:
        return State(state).name.capitalize()
    except ValueError:
        return "Zombie" if state == 0 else f"unknown state {state}"
