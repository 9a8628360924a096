# SPDX-License-Identifier: MIT
"""What tasks of the host have of messages and rights: `HostMessage` and `HostRight`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from emulator.errors import UsageError
from emulator.protocol.ipc import Message, Neighbour, Port, PortItem, Transfer
from emulator.protocol.message_parts import BytesPart
from emulator.protocol.names import describe
from emulator.protocol.wire_types import Disposition

if TYPE_CHECKING:
    from types import TracebackType

    from emulator.runtime.host_space import HostSpace

__all__ = ["HostMessage", "HostRight", "RightsStatistics"]

_ONCE: Final = Disposition.SEND_ONCE
_MOVES: Final = {
    Disposition.SEND: Transfer.MOVE_SEND,
    Disposition.SEND_ONCE: Transfer.MOVE_SEND_ONCE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RightsStatistics:
    """The accounts of node 0 with one life of a guest, send and send-once rights together.

    Args:
        held: Node 0 has them to ports of the guest, which has node 0 on its account for them.
        given: Others have them from node 0.
        untold: Accounts that node 0 has still to tell the guest about.
    """

    held: int
    given: int
    untold: int

    @classmethod
    def of(cls, node: Neighbour) -> Self:
        """Return how the accounts with a neighbour are now."""
        return cls(
            held=sum(share.held.send + share.held.once for share in node.shares),
            given=sum(share.given.send + share.given.once for share in node.shares),
            untold=len(node.notices) + len(node.batch),
        )


class _Given(ABC):
    """What is given back at the end of `with`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    @abstractmethod
    def release(self) -> None:
        """Give it back; no effect the second time."""


class HostRight(_Given):
    """A send or send-once right of node 0; to be used, sent on or released, once.

    As a context manager it is released at the end, if it is there still.
    """

    def __init__(self, host: HostSpace, port: Port, kind: Disposition) -> None:
        """Take a right over; made by whoever received it.

        Args:
            host: Node 0.
            port: Whereto.
            kind: SEND or SEND_ONCE.
        """
        self.kind = kind
        self.name = port.name
        self._host = host
        self._port: Port | None = port

    def __repr__(self) -> str:
        return f"<{self.kind.name.lower()} right to {describe(self.name)}>"

    @property
    def is_there(self) -> bool:
        """Whether it was neither used nor sent on nor released."""
        return self._port is not None

    @property
    def port(self) -> Port:
        """The port that it leads to.

        Raises:
            UsageError: The right is not there any more.
        """
        if self._port is None:
            raise UsageError(f"the right to port {describe(self.name)} is not there any more")
        return self._port

    @property
    def is_dead(self) -> bool:
        """Whether its port is dead, or the node where that was."""
        return self.port.is_dead

    @property
    def node_id(self) -> int | None:
        """The node where its port is, as far as is known; None: it is dead."""
        if self.port.is_dead:
            return None
        return self.port.node.node_id if self.port.node is not None else 0

    def release(self) -> None:
        """Give it back; no effect the second time."""
        port, self._port = self._port, None
        if port is not None:
            self._host.release(port, self.kind)

    def spend(self) -> Port:
        """Have it no more: it was used, or is in a message."""
        port, self._port = self.port, None
        return port

    def moved(self) -> PortItem:
        """Return it for a message, which it goes with.

        Raises:
            UsageError: The right is not there any more.
        """
        return PortItem(self.spend(), _MOVES[self.kind])

    def copied(self) -> PortItem:
        """Return another send right for a message.

        Raises:
            UsageError: The right is not there any more, or a send-once right.
        """
        if self.kind is not Disposition.SEND:
            raise UsageError(f"there is one send-once right to port {describe(self.name)} only")
        return PortItem(self.port, Transfer.COPY_SEND)

    def on_death(self, listener: Callable[[], None]) -> None:
        """Call `listener` when its port dies, or soon if it is dead; it must not wait."""
        self._host.watch_death(self.port, listener)


class HostMessage(_Given):
    """A message that node 0 received.

    Its rights are there until they are taken; `release()` gives back what was not. As a context
    manager it does so at the end.
    """

    def __init__(self, host: HostSpace, message: Message) -> None:
        """Take a message over, with its rights.

        Args:
            host: Node 0.
            message: Received.
        """
        self.id = message.id
        self.body = message.body
        self.source, self.incarnation = message.source
        self.sender = message.sender
        self.was_sent_once = message.was_sent_once
        self.local = message.reply.name
        self.parts = message.wire(0).parts  # as they were on the wire
        self.data = [place.data for place in message.places if isinstance(place, BytesPart)]
        self.reply = _right_of(host, message.reply.port, message.reply.disposition)
        self.ports: list[Port] = []  # whose receive right it brought; `HostSpace.adopt()`
        self.rights: list[HostRight | None] = []
        for slot in message.rights():
            if slot.disposition is not Disposition.RECEIVE:
                self.rights.append(_right_of(host, slot.port, slot.disposition))
            elif slot.port is not None:
                self.ports.append(slot.port)
        self._host = host

    def take(self, index: int) -> HostRight:
        """Return the send or send-once right at a place, counted without data; it is the caller's.

        Raises:
            UsageError: There is none, or its port is dead.
        """
        right = self.rights[index] if 0 <= index < len(self.rights) else None
        if right is None:
            raise UsageError(f"message {self.id} brought no right at place {index}")
        self.rights[index] = None
        return right

    def release(self, *, keep_reply: bool = False) -> None:
        """Give back the rights that nobody took, a receive right by ending its port.

        Args:
            keep_reply: But a send-once right to reply.
        """
        for right in self.rights:
            if right is not None:
                right.release()
        self.rights.clear()
        for port in self.ports:
            self._host.release(port, Disposition.RECEIVE)
        self.ports.clear()
        is_kept = keep_reply and self.reply is not None and self.reply.kind is _ONCE
        if self.reply is not None and not is_kept:
            self.reply.release()


def _right_of(host: HostSpace, port: Port | None, kind: Disposition) -> HostRight | None:
    return HostRight(host, port, kind) if port is not None else None
