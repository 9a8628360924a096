# SPDX-License-Identifier: MIT
"""The program of the Python node: a service that answers, and two workers that do what the schedule
says, one operation after another. What `firmware/sim/program*.c` is for nodes of the core.

A worker is a generator; it yields the node time until which it would wait and is resumed whenever
something may have changed. Nothing of it runs outside `step()`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Final

from emulator.protocol.ipc import Message, Port, SendResult
from emulator.protocol.names import kernel_port
from emulator.protocol.services import Notification
from emulator.protocol.wire_types import Disposition
from emulator.sim.agent.ports import Mach, PortSet, owned_of
from emulator.sim.agent.world import FOREIGN, NO_PORT, World
from emulator.sim.kinds import Kind
from emulator.sim.schedule import Entry

__all__ = ["Program"]

_PORTS: Final = 6
_RIGHTS: Final = 6
_SETS: Final = 2
_WORKERS: Final = 2
_BODY_MIN: Final = 16
_BODY_MAX: Final = 12000
_REPLY_BYTES: Final = 40
_STREAM_MAX: Final = 32
_NS_PER_US: Final = 1000
_NEVER: Final = 2**64 - 1

Waiting = Generator[int, None, None]
_Sending = Generator[int, None, bool]
_Receiving = Generator[int, None, "Message | None"]


@dataclass(slots=True)
class _Held:
    """A right in a slot, and the account of the port that it leads to."""

    right: Port
    account: int
    kind: Disposition = Disposition.SEND


@dataclass(slots=True)
class _Worker:
    queue: deque[tuple[int, Entry]] = field(default_factory=deque)
    doing: Waiting | None = None
    until_ns: int = _NEVER


class Program:
    """What runs on one life."""

    def __init__(self, world: World, mach: Mach, node_id: int, node_ids: tuple[int, ...]) -> None:
        """Start the service; the workers have nothing to do yet.

        Args:
            world: keeps the accounts.
            mach: the ports of the life.
            node_id: of the node.
            node_ids: of all nodes, in the world's order.
        """
        self._world = world
        self._mach = mach
        self._node_ids = node_ids
        self._now_ns = 0
        self._service = mach.create(world.port(is_service=True), kernel_port(node_id))
        self._ports: list[Port | None] = [None] * _PORTS
        self._rights: list[_Held | None] = [None] * _RIGHTS
        self._sets: list[PortSet | None] = [None] * _SETS
        self._workers = [_Worker() for _ in range(_WORKERS)]
        self._is_draining = False
        self._is_closing = False
        self.is_closed = False

    # What the world asks ----------------------------------------------------------------------

    def submit(self, index: int, entry: Entry) -> None:
        """The time of an operation has come; `index` is its place in the schedule."""
        self._workers[(entry.target >> 8) % _WORKERS].queue.append((index, entry))

    def drain(self) -> None:
        """From now on take whatever arrives at any port."""
        self._is_draining = True

    def close(self) -> None:
        """Give everything back when nothing is left to do."""
        self._is_closing = True

    @property
    def is_idle(self) -> bool:
        """Whether no worker has anything to do."""
        return all(worker.doing is None and not worker.queue for worker in self._workers)

    @property
    def left(self) -> int:
        """Things that should not be there after closing."""
        return self._mach.left - 1  # the service's port stays

    def step(self, now_ns: int) -> None:
        """Let everybody go as far as they can."""
        self._now_ns = now_ns
        self._take_all(self._service)
        for worker in self._workers:
            self._work(worker)
        if self._is_draining and not self.is_closed:
            for port in self._ports:
                if port is not None:
                    self._take_all(port)
        if self._is_closing and not self.is_closed and self.is_idle:
            self._close_all()

    def next_deadline_ns(self) -> int:
        """Return until when a worker waits, _NEVER if none does."""
        return min(worker.until_ns for worker in self._workers)

    # Workers ----------------------------------------------------------------------------------

    def _work(self, worker: _Worker) -> None:
        while True:
            if worker.doing is None:
                if not worker.queue:
                    worker.until_ns = _NEVER
                    return
                index, entry = worker.queue.popleft()
                self._world.began(index)
                worker.doing = self._perform(entry)
            try:
                worker.until_ns = next(worker.doing)
            except StopIteration:
                worker.doing = None
            else:
                return

    def _perform(self, entry: Entry) -> Waiting:
        slot = entry.arguments[0]
        match entry.kind:
            case Kind.PORT_CREATE:
                self._create(slot % _PORTS, 1 + entry.arguments[1] % 16)
            case Kind.PORT_DESTROY:
                self._destroy(slot % _PORTS)
            case Kind.PORT_LIMIT:
                port = self._ports[slot % _PORTS]
                if port is not None:
                    port.limit = 1 + entry.arguments[1] % 16
            case Kind.RIGHT_GET:
                self._get_right(slot % _RIGHTS, entry.arguments[1])
            case Kind.RIGHT_DROP:
                self._drop_right(slot % _RIGHTS)
            case Kind.SEND:
                yield from self._operate_send(entry)
            case Kind.RECEIVE:
                yield from self._operate_receive(self._ports[slot % _PORTS], entry)
            case Kind.FORWARD:
                yield from self._operate_forward(entry)
            case Kind.STREAM:
                yield from self._operate_stream(entry)
            case Kind.CALL:
                yield from self._operate_call(entry)
            case Kind.SET_RECEIVE:
                yield from self._operate_receive(self._sets[slot % _SETS], entry)
            case _:
                self._change_set(entry)

    def _close_all(self) -> None:
        for index in range(_RIGHTS):
            self._drop_right(index)
        for index in range(_SETS):
            self._end_set(index)
        for index in range(_PORTS):
            self._destroy(index)
        self.is_closed = True

    # Sending ----------------------------------------------------------------------------------

    def _send(
        self,
        held: _Held,
        size: int,
        reply: Port | None,
        duration_ns: int,
        reply_disposition: Disposition = Disposition.SEND_ONCE,
    ) -> _Sending:
        """Send a message; wait for room so long. Returns whether it was sent; a send-once right is
        used up by that."""
        began_ns = self._now_ns
        before = self._world.port_state(held.account)
        was_dead = before.is_gone if before.is_own else before.was_told_dead
        account, body = self._world.message(
            size, held.account, owned_of(reply).account if reply is not None else NO_PORT
        )
        if account == NO_PORT:
            return False
        message = self._mach.message(account, body)
        is_once = held.kind is Disposition.SEND_ONCE
        self._mach.retain(held.right)  # it may be dropped, or used up, meanwhile
        while True:
            result = self._mach.send(
                message,
                held.right,
                reply=reply,
                reply_disposition=reply_disposition,
                is_once=is_once,
            )
            if result is not SendResult.NO_ROOM or self._now_ns >= began_ns + duration_ns:
                break
            yield began_ns + duration_ns
        self._mach.release(held.right)
        is_sent = result is SendResult.DONE
        self._world.sent(account, is_sent=is_sent)
        self._world.exercised(10)
        self._check_destination(held.account, result, was_dead=was_dead)
        if not is_sent:
            self._mach.discard(message)
        return is_sent

    def _check_destination(self, account: int, result: SendResult, *, was_dead: bool) -> None:
        """I8: a send to a right known to be dead fails as dead, and only such a send does."""
        state = self._world.port_state(account)
        if state.is_suspect:
            return
        self._world.exercised(8)
        if was_dead and result is not SendResult.DEAD:
            self._world.violated(8, f"a send to a dead right: {result.value}")
        is_dead = state.is_dead if state.is_own else state.was_told_dead
        if result is SendResult.DEAD and not is_dead:
            self._world.violated(8, "a living right answers as a dead one")

    def _operate_send(self, entry: Entry) -> Waiting:
        slot, size, wants, reply_slot = entry.arguments
        held = self._rights[slot % _RIGHTS]
        reply = self._ports[reply_slot % _PORTS] if wants % 3 else None
        kind = Disposition.SEND if wants % 3 == 1 else Disposition.SEND_ONCE
        if held is not None:
            yield from self._send(held, _body_size(size), reply, entry.duration_ns, kind)

    def _operate_stream(self, entry: Entry) -> Waiting:
        node, size, count, pause_us = entry.arguments
        held = self._service_right(node)
        if held is None:
            return
        for _ in range(1 + count % _STREAM_MAX):
            sent = yield from self._send(held, _body_size(size), None, entry.duration_ns)
            if not sent:
                break
            until_ns = self._now_ns + pause_us * _NS_PER_US
            while self._now_ns < until_ns:
                yield until_ns
        self._mach.release(held.right)

    def _service_right(self, node: int) -> _Held | None:
        """A right to the service of the life of a node that is known, and its account."""
        node_id = self._node_ids[node % len(self._node_ids)]
        right = self._mach.right_to(kernel_port(node_id))
        life = self._mach.life_of(right) if right is not None else None
        if right is None or life is None:
            return None
        if right is self._service:
            return _Held(right, owned_of(right).account)
        account = self._world.service_port(*life)
        if account == NO_PORT:
            self._mach.release(right)
            return None
        return _Held(right, account)

    # Receiving --------------------------------------------------------------------------------

    def _take(self, message: Message, port: int, *, is_set: bool) -> None:
        """Into the account, and answered if it wants an answer."""
        if message.id == Notification.SEND_ONCE:
            self._mach.discard(message)
            return
        kind = message.reply.disposition
        reply = message.take(message.reply)
        answer_to = self._world.received(
            message.body, message.source, has_reply=reply is not None, port=port, is_set=is_set
        )
        self._mach.discard(message)
        if reply is not None and not self._answer(_Held(reply, answer_to, kind)):
            self._mach.release(reply, kind)

    def _answer(self, to: _Held) -> bool:
        """Answer by a right; return whether it was used up."""
        is_sent = False
        if to.account == FOREIGN:
            account, body = self._world.message(_body_size(_REPLY_BYTES), NO_PORT, NO_PORT)
            if account != NO_PORT:
                is_once = to.kind is Disposition.SEND_ONCE
                answer = self._mach.message(account, body)
                is_sent = self._mach.send(answer, to.right, is_once=is_once) is SendResult.DONE
                self._world.sent(account, is_sent=is_sent)
                if not is_sent:
                    self._mach.discard(answer)
        elif to.account != NO_PORT:
            sending = self._send(to, _body_size(_REPLY_BYTES), None, 0)
            try:
                next(sending)
            except StopIteration as end:
                is_sent = bool(end.value)
        return is_sent and to.kind is Disposition.SEND_ONCE

    def _take_all(self, port: Port) -> None:
        while (message := self._mach.receive(port)) is not None:
            self._take(message, owned_of(port).account, is_set=False)

    def _receive(self, source: Port | PortSet, duration_ns: int) -> _Receiving:
        began_ns = self._now_ns
        message = self._mach.receive(source)
        while message is None and not source.is_dead and self._now_ns < began_ns + duration_ns:
            yield began_ns + duration_ns
            message = self._mach.receive(source)
        self._world.exercised(10)
        return message

    def _operate_receive(self, source: Port | PortSet | None, entry: Entry) -> Waiting:
        if source is None:
            return
        message = yield from self._receive(source, entry.duration_ns)
        if message is not None:
            is_set = isinstance(source, PortSet)
            port = NO_PORT if isinstance(source, PortSet) else owned_of(source).account
            self._take(message, port, is_set=is_set)

    def _operate_forward(self, entry: Entry) -> Waiting:
        port = self._ports[entry.arguments[0] % _PORTS]
        held = self._rights[entry.arguments[1] % _RIGHTS]
        if port is None or held is None:
            return
        message = self._mach.receive(port)
        if message is None:
            return
        size = len(message.body)
        is_notification = message.id == Notification.SEND_ONCE
        if not is_notification:
            self._world.received(
                message.body,
                message.source,
                has_reply=message.reply.port is not None,
                port=owned_of(port).account,
                is_set=False,
            )
        self._mach.discard(message)
        if not is_notification:
            yield from self._send(held, size, None, entry.duration_ns)

    def _operate_call(self, entry: Entry) -> Waiting:
        held = self._service_right(entry.arguments[0])
        if held is None:
            return
        account = self._world.port(is_service=False)
        if account == NO_PORT:
            self._mach.release(held.right)
            return
        reply = self._mach.create(account)
        size = _body_size(entry.arguments[1])
        sent = yield from self._send(held, size, reply, entry.duration_ns)
        if sent:
            yield from self._operate_receive(reply, entry)
        self._mach.destroy(reply)
        self._mach.release(held.right)

    # Ports, rights, sets ----------------------------------------------------------------------

    def _create(self, slot: int, limit: int) -> None:
        if self._ports[slot] is not None:
            return
        account = self._world.port(is_service=False)
        if account != NO_PORT:
            port = self._ports[slot] = self._mach.create(account)
            port.limit = limit

    def _destroy(self, slot: int) -> None:
        port, self._ports[slot] = self._ports[slot], None
        if port is not None:
            self._mach.destroy(port)

    def _drop_right(self, slot: int) -> None:
        held, self._rights[slot] = self._rights[slot], None
        if held is not None:
            self._mach.release(held.right, held.kind)

    def _get_right(self, slot: int, number: int) -> None:
        account, name = self._world.pick(number)
        if account == NO_PORT or self._rights[slot] is not None:
            return
        state = self._world.port_state(account)
        right = self._mach.right_to(name)
        if right is None:
            return
        was_dead = state.is_gone if state.is_own else state.was_told_dead
        if was_dead and not state.is_suspect:
            self._world.violated(8, "a right by a dead name")
        self._rights[slot] = _Held(right, account)

    def _change_set(self, entry: Entry) -> None:
        first, second = entry.arguments[:2]
        match entry.kind:
            case Kind.SET_CREATE:
                if self._sets[first % _SETS] is None:
                    self._sets[first % _SETS] = PortSet()
            case Kind.SET_DESTROY:
                self._end_set(first % _SETS)
            case Kind.SET_INSERT:
                members, port = self._sets[first % _SETS], self._ports[second % _PORTS]
                if members is not None and port is not None:
                    self._mach.insert(members, port)
            case Kind.SET_REMOVE:
                port = self._ports[first % _PORTS]
                if port is not None:
                    self._mach.remove(port)
            case _:
                pass

    def _end_set(self, slot: int) -> None:
        members, self._sets[slot] = self._sets[slot], None
        if members is not None:
            self._mach.end_set(members)


def _body_size(size: int) -> int:
    return (size % (_BODY_MAX - _BODY_MIN) + _BODY_MIN) & ~7
