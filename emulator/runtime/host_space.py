# SPDX-License-Identifier: MIT
"""The ports, rights and messages of node 0, as tasks of the host use them.

It asks kernels for things and awaits their answers, owns ports that guests send to, and holds rights.
The protocol itself is in `emulator.protocol.ipc`; how messages reach guests is `HostNode`'s. Public
methods are called on the event loop only; everything that waits has a deadline.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from emulator.errors import GuestError, UsageError
from emulator.protocol.constants import ClusterConstants
from emulator.protocol.flipc_types import Outcome
from emulator.protocol.ipc import IpcSpace, Item, Message, Port, SendResult
from emulator.protocol.message_parts import PORT_LIMIT_MAX
from emulator.protocol.names import bootstrap_port, describe, kernel_port, node_of
from emulator.protocol.services import (
    REPLY_OFFSET,
    SERVICE_NAME_BYTES,
    ErrorCode,
    Service,
    node_lookup_request,
    parse_node_lookup_reply,
)
from emulator.protocol.wire_types import Disposition
from emulator.runtime.deadline import Deadline
from emulator.runtime.host_calls import Call, CallTable
from emulator.runtime.host_rights import HostMessage, HostRight
from emulator.runtime.host_watches import Watches
from emulator.runtime.receive_port import HostPort, ListenPort, ReceivePort

__all__ = ["HOST_ID", "HostSpace"]

HOST_ID: Final = 0
_PROXY_LIMIT: Final = 1 << 20  # messages to one port of a guest: sending never waits


@dataclass(frozen=True, slots=True)
class _Posted:
    """The token of a message that nobody waits for."""

    settled: Callable[[], None]


class _Witness:
    """What the space told and nobody acted upon yet."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self._ready: dict[Port, None] = {}

    def arrived(self, port: Port) -> None:
        self._ready[port] = None

    def resolved(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    def take(self) -> tuple[list[Outcome], list[Port]]:
        outcomes, self.outcomes = self.outcomes, []
        ready = list(self._ready)
        self._ready.clear()
        return outcomes, ready


class HostSpace(ABC):
    """Node 0 less its links to guests."""

    def __init__(self, constants: ClusterConstants, incarnation: int) -> None:
        """Begin with a kernel port.

        Args:
            constants: The cluster's.
            incarnation: Node 0's life, not 0.
        """
        self._witness = _Witness()
        self.space = IpcSpace(
            node_id=HOST_ID,
            incarnation=incarnation,
            constants=constants,
            observer=self._witness,
            proxy_limit=_PROXY_LIMIT,
        )
        self._watches = Watches(self.space)
        self._looked_up: dict[tuple[int, int], HostRight] = {}
        self._is_working = False
        self._published: dict[str, Callable[[int], int]] = {}
        self._calls = CallTable()
        port = self.space.create(name=kernel_port(HOST_ID), limit=PORT_LIMIT_MAX)
        port.context = ListenPort(self, port, port.name, self._answer)

    # What the links are asked --------------------------------------------------------------------

    @abstractmethod
    def incarnation(self, node_id: int) -> int:
        """Return the incarnation of a guest that is alive as far as node 0 knows, 0 for none."""

    @abstractmethod
    async def wait_up(self, node_id: int, deadline: Deadline, *, newer_than: int = 0) -> int:
        """Wait until both directions of a guest's management link are up."""

    @abstractmethod
    def _serve_links(self) -> bool:
        """Let links send; return whether one had something to."""

    # Ports and rights ----------------------------------------------------------------------------

    def port(self) -> ReceivePort:
        """Return a new port with a name of its own."""
        port = self.space.create(limit=PORT_LIMIT_MAX)
        owner = ReceivePort(self, port, self.space.name_of(port))
        port.context = owner
        return owner

    def listen(self, handler: Callable[[int, HostMessage], None]) -> ListenPort:
        """Return a new port whose messages go to `handler`, with the id of their node."""
        port = self.space.create(limit=PORT_LIMIT_MAX)
        owner = ListenPort(self, port, self.space.name_of(port), handler)
        port.context = owner
        return owner

    def adopt(self, port: Port) -> ReceivePort:
        """Receive on a port whose receive right came in a message, of `HostMessage.ports`, from
        which it has to be removed."""
        owner = ReceivePort(self, port, port.name)
        port.context = owner
        return owner

    def right(self, port_name: int) -> HostRight:
        """Return one more send right, on no account, to the port of that name.

        Raises:
            GuestError: No port of that name is known, and no living guest could have it.
        """
        port = self.space.right_to(port_name)
        if port is None:
            raise GuestError(f"nobody has a port {describe(port_name)}")
        return HostRight(self, port, Disposition.SEND)

    def publish(self, service: str, port_of: Callable[[int], int]) -> None:
        """Answer LOOKUP of a service at node 0's kernel port.

        Args:
            service: Its name, at most 31 characters.
            port_of: Called with the asking guest's id; returns the name of its port, 0 for none.
        """
        self._published[service] = port_of

    def release(self, port: Port, kind: Disposition) -> None:
        """Give up a right; as `HostRight.release()`."""
        self.space.release(port, kind)
        self.work()

    def release_port(self, port: Port) -> None:
        """End a port of node 0; as `HostPort.close()`."""
        self.release(port, Disposition.RECEIVE)

    def take(self, port: Port) -> Message | None:
        """Take the next message off a port of node 0; as `ReceivePort.receive()`."""
        message = self.space.next_message(port, time.monotonic_ns())
        self.work()
        return message

    def watch_death(self, port: Port, listener: Callable[[], None]) -> None:
        """Call `listener` when a port dies; as `HostRight.on_death()`."""
        self._watches.death(port, listener)
        self.work()

    def watch_senders(self, port: Port) -> asyncio.Future[None]:
        """Return what is done when nobody has a send right to a port of node 0."""
        future = self._watches.senders(port)
        self.work()
        return future

    def unwatch_senders(self, port: Port) -> None:
        """Let whoever waits for the end of a port's senders look again: the port is gone."""
        self._watches.end_senders(self.space.name_of(port))

    # Messages ------------------------------------------------------------------------------------

    def post(
        self, port_name: int, message_id: int, body: bytes, settled: Callable[[], None]
    ) -> bool:
        """Send a Mach message without waiting.

        Args:
            port_name: Of a guest's port.
            message_id: Any.
            body: Opaque.
            settled: Called when it is settled, refused or lost.

        Returns:
            False if the guest is dead, or cannot receive one that long; nothing is called then.
        """
        node = self.space.neighbours.get(node_of(port_name))
        port = self.space.right_to(port_name, node)
        if port is None:
            return False
        message = self.space.message(message_id, body, token=_Posted(settled))
        return self._send_and_let_go(message, port, Disposition.SEND)

    def reply(self, request: HostMessage, body: bytes, items: Sequence[Item] = ()) -> None:
        """Answer a request by the right that it brought, if it brought one.

        A node that has died meanwhile, or asks for more than it can receive, is not answered.

        Args:
            request: It; its right to reply is used up or released.
            body: Opaque.
            items: What else the answer carries.
        """
        right = request.reply
        if right is not None and right.is_there:
            kind, port = right.kind, right.spend()
        elif right is not None and right.kind is Disposition.SEND:
            kind = Disposition.SEND
            by_name = self.space.right_to(request.local, self.space.neighbours.get(request.source))
            if by_name is None:
                return
            port = by_name
        else:
            return
        message = self.space.message(request.id + REPLY_OFFSET, body, items)
        self._send_and_let_go(message, port, kind)

    async def send(
        self,
        to: int | HostRight,
        message_id: int,
        body: bytes,
        deadline: Deadline,
        *,
        reply_port: ReceivePort | ListenPort | None = None,
        items: Sequence[Item] = (),
    ) -> None:
        """Send a Mach message and wait until it is settled: a receiver took it.

        Args:
            to: A right, of which a send-once right is used up; or the name of a guest's port.
            message_id: Any.
            body: Opaque.
            deadline: By when it has to be settled.
            reply_port: Given to the receiver with a send right.
            items: What else it carries: rights of `HostPort` and `HostRight`, bytes out of line.

        Raises:
            GuestError: The guest refused the message, or the port is dead; rights that were moved
                into it are given back.
            NodeDied: Its incarnation died first.
            DeadlineExpired: Nothing was heard in time; the message may still arrive.
            UsageError: It is longer than the guest receives, or carries a right that cannot be.
        """
        with self._made(message_id, body, items) as message:
            call = Call(node_id=_node_of(to), port_name=_name_of(to), message_id=message_id)
            reply = reply_port.port if reply_port is not None else None
            await self._submit(call, message, to, deadline, reply=reply)
        await self._outcome(call, deadline)

    async def call(
        self,
        node_id: int,
        to: int | HostRight,
        message_id: int,
        body: bytes,
        deadline: Deadline,
    ) -> bytes:
        """Send a request with a send-once reply right and wait for the reply; rights that it brings
        are given back.

        Args:
            node_id: The guest.
            to: A right, or the name of the port that is asked.
            message_id: Of the request; the reply has this + 100.
            body: Of the request.
            deadline: By when the reply has to be there.

        Returns:
            The body of the reply.

        Raises:
            GuestError: The guest refused the request, or will never answer it.
            NodeDied: Its incarnation died first.
            DeadlineExpired: No reply came in time; a late one is refused.
            UsageError: The request is longer than the guest receives.
        """
        with await self.ask(node_id, to, message_id, body, deadline) as reply:
            return reply.body

    async def ask(
        self,
        node_id: int,
        to: int | HostRight,
        message_id: int,
        body: bytes,
        deadline: Deadline,
        *,
        items: Sequence[Item] = (),
    ) -> HostMessage:
        """Do what `call()` does; return the whole reply, whose rights are the caller's.

        Args:
            node_id: The guest.
            to: A right, or the name of the port that is asked.
            message_id: Of the request.
            body: Of the request.
            deadline: By when the reply has to be there.
            items: What else the request carries.
        """
        reply_port = self.space.create()
        call = Call(
            node_id=node_id, port_name=_name_of(to), message_id=message_id, reply_port=reply_port
        )
        reply_port.context = call
        try:
            with self._made(message_id, body, items) as message:
                await self._submit(call, message, to, deadline, reply=reply_port)
            reply = await self._outcome(call, deadline)
        except BaseException:
            unseen = call.reply()
            if unseen is not None:
                self.space.discard(unseen)
            raise
        finally:
            self.space.destroy(reply_port)
            self.work()
        assert reply is not None
        return HostMessage(self, reply)

    async def ping(self, node_id: int, deadline: Deadline, *, body: bytes = b"") -> int:
        """Return the nanoseconds of one ECHO round trip to a guest's kernel port.

        Raises:
            GuestError: As `call()` does, or if other bytes came back.
        """
        started_ns = time.monotonic_ns()
        answer = await self.call(node_id, kernel_port(node_id), Service.ECHO, body, deadline)
        if answer != body:
            raise GuestError(f"node {node_id} echoed {len(answer)} other bytes")
        return time.monotonic_ns() - started_ns

    async def lookup(self, node_id: int, service: str, deadline: Deadline) -> int:
        """Ask a guest's node server for a service, and hold a send right to its port.

        However often a port is looked up, `let_go()` gives it back once.

        Args:
            node_id: The guest.
            service: Registered there, or a kernel server's name; at most 31 characters.
            deadline: By when the answer has to be there.

        Returns:
            The name of the port.

        Raises:
            GuestError: As `call()` does, or the service's port is on another node; `ServiceError`
                if there is no such service.
        """
        request = node_lookup_request(service, node_id)
        port = bootstrap_port(node_id)
        with await self.ask(node_id, port, Service.NODE_LOOKUP, request, deadline) as reply:
            port_part = parse_node_lookup_reply(reply.body, reply.parts)
            if reply.rights[0] is None or reply.rights[0].node_id != node_id:
                raise GuestError(f"service {service!r} of node {node_id} is not there any more")
            self.let_go(node_id, port_part.name)
            self._looked_up[node_id, port_part.name] = reply.take(0)
            return port_part.name

    def let_go(self, node_id: int, port_name: int) -> None:
        """Give back the send right that a lookup at a guest brought; no effect if none is held."""
        right = self._looked_up.pop((node_id, port_name), None)
        if right is not None:
            right.release()

    @contextmanager
    def _made(self, message_id: int, body: bytes, items: Sequence[Item]) -> Iterator[Message]:
        """Make a message to be sent; an error before it is gives back what it carries."""
        message = self.space.message(message_id, body, items)
        if message is None:
            raise UsageError(f"message {message_id} would carry a right that is not there")
        try:
            yield message
        except BaseException:
            self._unsent(message)
            self.work()
            raise

    async def _submit(
        self,
        call: Call,
        message: Message,
        to: int | HostRight,
        deadline: Deadline,
        *,
        reply: Port | None,
    ) -> None:
        """Send a message, when its guest is there; `_outcome()` waits for what becomes of it."""
        if isinstance(to, int) and self.incarnation(call.node_id) == 0:
            await self.wait_up(call.node_id, deadline)
        if isinstance(to, HostRight):
            port, is_once = to.port, to.kind is Disposition.SEND_ONCE
        else:
            by_name = self.space.right_to(to, self.space.neighbours.get(call.node_id))
            if by_name is None:
                raise GuestError(f"node {call.node_id} has no port {describe(to)}")
            port, is_once = by_name, False
        node = port.node
        kind = Disposition.SEND_ONCE if call.reply_port is not None else Disposition.SEND
        message.token = call
        result = self.space.send(
            message, port, reply=reply, reply_disposition=kind, is_once=is_once
        )
        if isinstance(to, int):
            self.space.release(port)
        elif is_once and result is SendResult.DONE:
            to.spend()
        if result is SendResult.TOO_LARGE and node is not None:
            raise UsageError(
                f"message {call.message_id} is too long for node {node.node_id}",
                hint=f"node {node.node_id} receives at most {node.message_max} bytes",
            )
        if result is not SendResult.DONE:
            raise GuestError(
                f"port {describe(call.port_name)} takes no message {call.message_id}: "
                f"{result.value}"
            )

    async def _outcome(self, call: Call, deadline: Deadline) -> Message | None:
        """Let the message go out, and wait; as `CallTable.wait()`."""
        self._calls.open(call)
        try:
            self.work()
            return await self._calls.wait(call, deadline)
        finally:
            self._calls.close(call)

    def _unsent(self, message: Message) -> None:
        """What a message carries is given back."""
        message.token = None
        self.space.discard(message)

    def _send_and_let_go(self, message: Message | None, port: Port, kind: Disposition) -> bool:
        """Send a message by a right that goes with it, or else is released; nobody waits."""
        is_once = kind is Disposition.SEND_ONCE
        is_sent = (
            message is not None
            and self.space.send(message, port, is_once=is_once) is SendResult.DONE
        )
        if message is not None and not is_sent:
            self._unsent(message)
        if not (is_sent and is_once):
            self.space.release(port, kind)
        self.work()
        return is_sent

    # Work ----------------------------------------------------------------------------------------

    def work(self) -> None:
        """Do what the space had to tell, and let links send what it has for their guests."""
        if self._is_working:
            return
        self._is_working = True
        try:
            while self._hand_over() or self._serve_links():
                pass
        finally:
            self._is_working = False

    def _hand_over(self) -> bool:
        """Tell of outcomes and messages; return whether there was anything."""
        outcomes, ready = self._witness.take()
        for outcome in outcomes:
            if isinstance(outcome.token, _Posted):
                outcome.token.settled()
            self._calls.resolved(outcome)
        for port in ready:
            owner = port.context
            if isinstance(owner, Call):
                self._answered(owner, port)
            elif isinstance(owner, HostPort | Watches):
                owner.ready()
        return bool(outcomes or ready)

    def _answered(self, call: Call, port: Port) -> None:
        while (message := self.space.next_message(port, time.monotonic_ns())) is not None:
            is_of_kernel = message.source[0] == HOST_ID
            if not call.answered(message, is_of_kernel=is_of_kernel):
                self.space.discard(message)

    def _forget_rights(self) -> None:
        """Give back every right that a lookup brought; one message to each guest tells it."""
        rights = list(self._looked_up.values())
        self._looked_up.clear()
        self._is_working = True
        for right in rights:
            right.release()
        self._is_working = False
        self.work()

    # Node 0's kernel port ------------------------------------------------------------------------

    def _answer(self, node_id: int, message: HostMessage) -> None:
        """Node 0's kernel port: ECHO and LOOKUP are served, everything else is invalid."""
        if message.id == Service.ECHO:
            body = message.body
        elif message.id == Service.LOOKUP:
            body = self._look_up(node_id, message.body)
        else:
            body = _status(ErrorCode.INVALID)
        self.reply(message, body)

    def _look_up(self, node_id: int, name: bytes) -> bytes:
        if len(name) != SERVICE_NAME_BYTES:
            return _status(ErrorCode.INVALID)
        port_of = self._published.get(name.partition(b"\0")[0].decode("ascii", "replace"))
        port = 0 if port_of is None else port_of(node_id)
        if not port:
            return _status(ErrorCode.NOT_FOUND)
        return _status(ErrorCode.NONE) + port.to_bytes(8, "little")


def _name_of(to: int | HostRight) -> int:
    return to.name if isinstance(to, HostRight) else to


def _node_of(to: int | HostRight) -> int:
    """Return where a message to it goes."""
    if isinstance(to, int):
        return node_of(to)
    node_id = to.node_id
    if node_id is None:
        raise GuestError(f"port {describe(to.name)} is dead")
    return node_id


def _status(code: ErrorCode) -> bytes:
    """How a reply's body begins."""
    return code.to_bytes(4, "little", signed=True) + bytes(4)
