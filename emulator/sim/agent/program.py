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
from emulator.sim.agent.hands import PORTS, RIGHTS, SETS, Hands, Held, Packed
from emulator.sim.agent.ports import Mach, PortSet, owned_of
from emulator.sim.agent.world import FOREIGN, NO_PORT, World
from emulator.sim.kinds import Kind
from emulator.sim.schedule import Entry

__all__ = ["Program"]

_WORKERS: Final = 2
_BODY_MIN: Final = 16
_BODY_MAX: Final = 12000
_REPLY_BYTES: Final = 40
_STREAM_MAX: Final = 32
_NS_PER_US: Final = 1000
_NEVER: Final = 2**64 - 1
_TO_SERVICE: Final = 64  # of SEND_RIGHTS: the destination is a node
_AS_ARRAY: Final = 4  # of SEND_RIGHTS: in the last argument

Waiting = Generator[int, None, None]
_Sending = Generator[int, None, bool]
_Receiving = Generator[int, None, "Message | None"]


@dataclass(slots=True, eq=False)
class _Letter:
    """What is sent besides the message itself.

    Args:
        packed: it; None: a plain one.
        reply: where the answer goes.
        reply_account: of that port.
        reply_kind: the right to answer.
        reply_number: of a right that is there already, which goes; NO_PORT: one is made.
        moves_reply: `reply` is a right of the program's, which goes.
    """

    packed: Packed | None = None
    reply: Port | None = None
    reply_account: int = NO_PORT
    reply_kind: Disposition = Disposition.SEND_ONCE
    reply_number: int = NO_PORT
    moves_reply: bool = False


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
        self._hands = Hands(world, mach)
        self._service = mach.create(world.port(is_service=True), kernel_port(node_id))
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
            for port in list(self._hands.ports):
                if port is not None:
                    self._take_all(port)
        if self._is_closing and self.is_idle:
            self._hands.drop_all()  # again, if something came since
            self.is_closed = True

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
        match entry.kind:
            case Kind.SEND:
                yield from self._operate_send(entry)
            case Kind.RECEIVE:
                yield from self._operate_receive(
                    self._hands.ports[entry.arguments[0] % PORTS], entry
                )
            case Kind.FORWARD:
                yield from self._operate_forward(entry)
            case Kind.STREAM:
                yield from self._operate_stream(entry)
            case Kind.BURST:
                yield from self._operate_burst(entry)
            case Kind.CALL:
                yield from self._operate_call(entry)
            case Kind.SET_RECEIVE:
                yield from self._operate_receive(self._hands.sets[entry.arguments[0] % SETS], entry)
            case Kind.SEND_RIGHTS:
                yield from self._operate_send_rights(entry, entry.arguments)
            case Kind.MOVE:
                slot, node = entry.arguments[:2]
                what = 1 | slot % PORTS << 3
                yield from self._operate_send_rights(
                    entry, (_TO_SERVICE | node % _TO_SERVICE, 0, what, 0)
                )
            case _:
                self._change(entry)

    def _change(self, entry: Entry) -> None:
        """What ends at once."""
        first, second = entry.arguments[:2]
        hands = self._hands
        match entry.kind:
            case Kind.PORT_CREATE:
                self._create(first % PORTS, 1 + second % 16, is_named=entry.arguments[2] % 2 == 0)
            case Kind.PORT_DESTROY:
                hands.drop_port(first % PORTS)
            case Kind.PORT_LIMIT:
                port = hands.ports[first % PORTS]
                if port is not None:
                    port.limit = 1 + second % 16
            case Kind.RIGHT_GET:
                self._get_right(first % RIGHTS, second)
            case Kind.RIGHT_MAKE:
                self._make_right(first % RIGHTS, second % PORTS)
            case Kind.RIGHT_DROP:
                hands.drop_right(first % RIGHTS)
            case Kind.ASK_SENDERS:
                self._ask_senders(first % PORTS, second % PORTS)
            case Kind.ASK_DEAD:
                self._ask_dead(first % RIGHTS, second % PORTS)
            case _:
                self._change_set(entry)

    # Sending ----------------------------------------------------------------------------------

    def _is_diverted(self, right: Port) -> bool:
        """Whether the port is where only a suspect says that it is."""
        if right.is_here:
            return False
        return bool(self._world.is_diverted(right.node.node_id if right.node else NO_PORT))

    def _send(self, to: Held, size: int, letter: _Letter, duration_ns: int) -> _Sending:
        """Send a message; wait for room so long. Returns whether it was sent; a send-once right is
        used up by that. Else what it carried is the program's again."""
        began_ns, world = self._now_ns, self._world
        before = world.port_state(to.account)
        was_dead = not before.has_moved and (
            before.is_gone if before.is_own else before.was_told_dead
        )
        packed = letter.packed or self._plain()
        message = packed.message
        account, message.body = world.message(size, to.account, letter.reply_account)
        if account == NO_PORT:
            self._mach.discard(message)
            return False
        message.token = account
        is_once = to.kind is Disposition.SEND_ONCE
        reply_number = self._enter_rights(account, to, letter, packed.numbers)
        was_diverted = self._is_diverted(to.right)
        self._mach.retain(to.right)  # it may be dropped, or used up, meanwhile
        until_ns = began_ns if is_once or letter.moves_reply else began_ns + duration_ns
        while True:
            result = self._mach.send(
                message,
                to.right,
                reply=letter.reply,
                reply_disposition=letter.reply_kind,
                moves_reply=letter.moves_reply,
                is_once=is_once,
            )
            if result is not SendResult.NO_ROOM or self._now_ns >= until_ns:
                break
            yield until_ns
        is_sent = result is SendResult.DONE
        world.sent(account, is_sent=is_sent)
        if was_diverted or self._is_diverted(to.right):
            world.diverted(account)
        world.exercised(10)
        self._check_destination(to, result, was_dead=was_dead)
        self._check_right(to, letter, result)
        self._mach.release(to.right)
        if not is_sent:
            if reply_number != letter.reply_number:
                world.right_unmade(reply_number)
            self._hands.unpack(message, packed.numbers)
            self._mach.discard(message)
        return is_sent

    def _plain(self) -> Packed:
        message = self._mach.message()
        assert message is not None
        return Packed(message)

    def _enter_rights(self, account: int, to: Held, letter: _Letter, numbers: list[int]) -> int:
        """Tell the world of the rights that a message takes along; return that to answer."""
        reply_number = letter.reply_number
        if letter.reply is not None and reply_number == NO_PORT:
            reply_number = self._world.right(letter.reply_account, letter.reply_kind, NO_PORT)
        self._world.carries_reply(account, reply_number)
        for number in numbers:
            self._world.carries(account, number)
        self._world.uses(account, to.number if to.kind is Disposition.SEND_ONCE else NO_PORT)
        return reply_number

    def _check_destination(self, to: Held, result: SendResult, *, was_dead: bool) -> None:
        """I8: a send to a right known to be dead fails as dead, and only such a send does."""
        state = self._world.port_state(to.account)
        if state.is_foreign or self._is_diverted(to.right):
            return
        self._world.exercised(8)
        if was_dead and result is not SendResult.DEAD:
            self._world.violated(8, f"a send to a dead right: {result.value}")
        if result is SendResult.DEAD and not state.may_be_dead:
            self._world.violated(8, "a living right answers as a dead one")

    def _check_right(self, to: Held, letter: _Letter, result: SendResult) -> None:
        """I14: a send-once right that is in the books is one."""
        if (
            result is SendResult.NO_RIGHT
            and to.kind is Disposition.SEND_ONCE
            and letter.reply_number == NO_PORT
            and letter.packed is None
            and self._world.right_is_firm(to.number)
            and not self._world.port_state(to.account).may_be_dead
        ):
            self._world.violated(14, f"a send-once right to port {to.account} is lost")

    def _send_by(self, slot: int, size: int, letter: _Letter, duration_ns: int) -> _Sending:
        """Send by what is in a slot: its send right, or its send-once right, which is used up."""
        held = self._hands.rights[slot]
        if held is None:
            return False
        if held.kind is Disposition.SEND:
            return (yield from self._send(held, size, letter, duration_ns))
        self._hands.lift_right(slot)
        is_sent = yield from self._send(held, size, letter, duration_ns)
        if not is_sent:
            self._hands.keep(held)
        return is_sent

    def _operate_send(self, entry: Entry) -> Waiting:
        slot, size, wants, reply_slot = entry.arguments
        kind = Disposition.SEND if wants % 3 == 1 else Disposition.SEND_ONCE
        letter = self._answered_at(reply_slot % PORTS, kind) if wants % 3 else _Letter()
        yield from self._send_by(slot % RIGHTS, _body_size(size), letter, entry.duration_ns)

    def _answered_at(self, slot: int, kind: Disposition) -> _Letter:
        """Return a letter with a right to answer at a port of the program's, if there is one."""
        port = self._hands.ports[slot]
        if port is None:
            return _Letter()
        return _Letter(reply=port, reply_account=owned_of(port).account, reply_kind=kind)

    def _operate_send_rights(self, entry: Entry, arguments: tuple[int, int, int, int]) -> Waiting:
        to, size, what, how = arguments
        slot = None if to & _TO_SERVICE else to % RIGHTS
        held = self._hands.rights[slot] if slot is not None else None
        if slot is not None and held is None:
            return
        packed = self._hands.pack(what, held, wants_array=bool(how & _AS_ARRAY))
        if packed is None:
            return
        letter = self._with_reply(how, slot, held)
        letter.packed = packed
        passed = Held(letter.reply, letter.reply_account) if letter.reply else None
        size = _body_size(size)
        if slot is not None:
            is_sent = yield from self._send_by(slot, size, letter, entry.duration_ns)
        else:
            service = self._service_right(to % _TO_SERVICE)
            is_sent = False
            if service is not None:
                is_sent = yield from self._send(service, size, letter, entry.duration_ns)
                self._mach.release(service.right)
            else:
                self._hands.unpack(packed.message, packed.numbers)
                self._mach.discard(packed.message)
        if letter.moves_reply and not is_sent and passed is not None:
            passed.kind, passed.number = letter.reply_kind, letter.reply_number
            self._hands.keep(passed)

    def _with_reply(self, how: int, to_slot: int | None, to: Held | None) -> _Letter:
        wants, slot = how & 3, how >> 8
        if wants in (1, 2):
            kind = Disposition.SEND if wants == 1 else Disposition.SEND_ONCE
            return self._answered_at(slot % PORTS, kind)
        is_by_once = to is not None and to.kind is not Disposition.SEND
        if wants != 3 or slot % RIGHTS == to_slot or is_by_once:
            return _Letter()
        held = self._hands.lift_right(slot % RIGHTS)
        if held is None:
            return _Letter()
        return _Letter(
            reply=held.right,
            reply_account=held.account,
            reply_kind=held.kind,
            reply_number=held.number,
            moves_reply=True,
        )

    def _operate_stream(self, entry: Entry) -> Waiting:
        node, size, count, pause_us = entry.arguments
        held = self._service_right(node)
        if held is None:
            return
        for _ in range(1 + count % _STREAM_MAX):
            sent = yield from self._send(held, _body_size(size), _Letter(), entry.duration_ns)
            if not sent:
                break
            yield from self._pause(pause_us)
        self._mach.release(held.right)

    def _operate_burst(self, entry: Entry) -> Waiting:
        slot, size, count, pause_us = entry.arguments
        for _ in range(1 + count % _STREAM_MAX):
            sent = yield from self._send_by(
                slot % RIGHTS, _body_size(size), _Letter(), entry.duration_ns
            )
            if not sent:
                break
            yield from self._pause(pause_us)

    def _pause(self, pause_us: int) -> Waiting:
        until_ns = self._now_ns + pause_us * _NS_PER_US
        while self._now_ns < until_ns:
            yield until_ns

    def _service_right(self, node: int) -> Held | None:
        """A right to the service of the life of a node that is known, and its account."""
        node_id = self._node_ids[node % len(self._node_ids)]
        right = self._mach.right_to(kernel_port(node_id))
        life = self._mach.life_of(right) if right is not None else None
        if right is None or life is None:
            return None
        if right is self._service:
            return Held(right, owned_of(right).account)
        account = self._world.service_port(*life)
        if account == NO_PORT:
            self._mach.release(right)
            return None
        return Held(right, account)

    # Receiving --------------------------------------------------------------------------------

    def _take(self, message: Message, port: int, *, is_set: bool, keeps_answer: bool) -> None:
        """Into the account, its rights where there is room, and answered if it wants an answer."""
        if self._take_notification(message, port):
            return
        reply, number = self._take_rights(message, port, is_set=is_set)
        self._mach.discard(message)
        if reply is None:
            return
        if keeps_answer and reply.account not in (NO_PORT, FOREIGN):
            self._hands.keep(reply)
        elif not self._answer(reply):
            self._world.right_ended(number)
            self._mach.release(reply.right, reply.kind)

    def _take_notification(self, message: Message, port: int) -> bool:
        """Return whether it was the kernel's own; then it is in the account."""
        if message.id not in tuple(Notification) or message.sender != 0:
            return False
        if port != NO_PORT:
            self._world.told(port, message.id, int.from_bytes(message.body, "little"))
        self._mach.discard(message)
        return True

    def _take_rights(self, message: Message, port: int, *, is_set: bool) -> tuple[Held | None, int]:
        """Enter what a message brings; return the right to answer, and its number."""
        kind = message.reply.disposition
        reply = self._mach.take(message, message.reply)
        answer_to, account = self._world.received(
            message.body, message.source, has_reply=reply is not None, port=port, is_set=is_set
        )
        number = NO_PORT
        if account != NO_PORT:
            number = self._world.carried_reply(account)
            self._hands.note_arrival(number, reply, kind)
        self._hands.unpack(message, self._world.cargo(account) if account != NO_PORT else None)
        held = Held(reply, answer_to, kind, number) if reply is not None else None
        return held, number

    def _answer(self, to: Held) -> bool:
        """Answer by a right; return whether it was used up."""
        is_sent = False
        if to.account == FOREIGN:
            answer = self._plain().message
            account, answer.body = self._world.message(_body_size(_REPLY_BYTES), NO_PORT, NO_PORT)
            if account != NO_PORT:
                answer.token = account
                is_once = to.kind is Disposition.SEND_ONCE
                is_sent = self._mach.send(answer, to.right, is_once=is_once) is SendResult.DONE
                self._world.sent(account, is_sent=is_sent)
            if not is_sent:
                self._mach.discard(answer)
        elif to.account != NO_PORT:
            sending = self._send(to, _body_size(_REPLY_BYTES), _Letter(), 0)
            try:
                next(sending)
            except StopIteration as end:
                is_sent = bool(end.value)
        return is_sent and to.kind is Disposition.SEND_ONCE

    def _take_all(self, port: Port) -> None:
        account = owned_of(port).account
        while (message := self._mach.receive(port)) is not None:
            self._take(message, account, is_set=False, keeps_answer=False)

    def _receive(self, source: Port | PortSet, duration_ns: int) -> _Receiving:
        began_ns = self._now_ns
        message = self._mach.receive(source)
        while message is None and _is_alive(source) and self._now_ns < began_ns + duration_ns:
            yield began_ns + duration_ns
            message = self._mach.receive(source)
        self._world.exercised(10)
        return message

    def _operate_receive(self, source: Port | PortSet | None, entry: Entry) -> Waiting:
        if source is None:
            return
        is_set = isinstance(source, PortSet)
        port = NO_PORT if isinstance(source, PortSet) else owned_of(source).account
        message = yield from self._receive(source, entry.duration_ns)
        if message is not None:
            keeps = entry.kind is Kind.RECEIVE and entry.arguments[1] % 2 != 0
            self._take(message, port, is_set=is_set, keeps_answer=keeps)

    def _operate_forward(self, entry: Entry) -> Waiting:
        port = self._hands.ports[entry.arguments[0] % PORTS]
        held = self._hands.rights[entry.arguments[1] % RIGHTS]
        if port is None or held is None or held.kind is not Disposition.SEND:
            return
        message = self._mach.receive(port)
        account = owned_of(port).account
        if message is None or self._take_notification(message, account):
            return
        size, has_parts = len(message.body), bool(message.places)
        reply, _ = self._take_rights(message, account, is_set=False)
        self._mach.discard(message)
        if not has_parts:
            yield from self._send(held, size, _Letter(), entry.duration_ns)
        if reply is not None:
            self._hands.end(reply)

    def _operate_call(self, entry: Entry) -> Waiting:
        held = self._service_right(entry.arguments[0])
        if held is None:
            return
        account = self._world.port(is_service=False)
        if account == NO_PORT:
            self._mach.release(held.right)
            return
        reply = self._mach.create(account, is_named=False)
        letter = _Letter(reply=reply, reply_account=account)
        size = _body_size(entry.arguments[1])
        sent = yield from self._send(held, size, letter, entry.duration_ns)
        if sent:
            yield from self._operate_receive(reply, entry)
        self._mach.destroy(reply)
        self._mach.release(held.right)

    # Ports, rights, sets ----------------------------------------------------------------------

    def _create(self, slot: int, limit: int, *, is_named: bool) -> None:
        if self._hands.ports[slot] is not None:
            return
        account = self._world.port(is_service=False)
        if account != NO_PORT:
            port = self._hands.ports[slot] = self._mach.create(account, is_named=is_named)
            port.limit = limit

    def _get_right(self, slot: int, number: int) -> None:
        account, name = self._world.pick(number)
        if account == NO_PORT or self._hands.rights[slot] is not None:
            return
        state = self._world.port_state(account)
        right = self._mach.right_to(name)
        if right is None:
            return
        was_dead = not state.has_moved and (state.is_gone if state.is_own else state.was_told_dead)
        if was_dead and not state.is_foreign:
            self._world.violated(8, "a right by a dead name")
        held = Held(right, account, number=self._world.right_by_name(account))
        self._hands.rights[slot] = held

    def _make_right(self, slot: int, port_slot: int) -> None:
        port = self._hands.ports[port_slot]
        if port is None or self._hands.rights[slot] is not None:
            return
        account = owned_of(port).account
        self._mach.retain(port)
        number = self._world.right(account, Disposition.SEND, NO_PORT)
        self._hands.rights[slot] = Held(port, account, number=number)

    def _ask_senders(self, slot: int, notify_slot: int) -> None:
        port, notify = self._hands.ports[slot], self._hands.ports[notify_slot]
        if port is None or notify is None:
            return
        request = self._world.asked(
            owned_of(port).account, owned_of(notify).account, port.name, FOREIGN
        )
        if not self._mach.ask_no_senders(port, notify):
            self._world.not_asked(request)

    def _ask_dead(self, slot: int, notify_slot: int) -> None:
        held, notify = self._hands.rights[slot], self._hands.ports[notify_slot]
        if held is not None and notify is not None:
            account = owned_of(notify).account
            self._world.asked(held.account, account, held.right.name, held.number)
            self._mach.ask_dead(held.right, notify)

    def _change_set(self, entry: Entry) -> None:
        first, second = entry.arguments[:2]
        hands = self._hands
        match entry.kind:
            case Kind.SET_CREATE:
                if hands.sets[first % SETS] is None:
                    hands.sets[first % SETS] = PortSet()
            case Kind.SET_DESTROY:
                hands.drop_set(first % SETS)
            case Kind.SET_INSERT:
                members, port = hands.sets[first % SETS], hands.ports[second % PORTS]
                if members is not None and port is not None:
                    self._mach.insert(members, port)
            case Kind.SET_REMOVE:
                port = hands.ports[first % PORTS]
                if port is not None:
                    self._mach.remove(port)
            case _:
                pass


def _is_alive(source: Port | PortSet) -> bool:
    """Return whether something may come there."""
    return not source.is_dead and (isinstance(source, PortSet) or source.is_receivable)


def _body_size(size: int) -> int:
    return (size % (_BODY_MAX - _BODY_MIN) + _BODY_MIN) & ~7
