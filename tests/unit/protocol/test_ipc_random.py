# SPDX-License-Identifier: MIT
"""Random programs over two or three nodes: rights of every kind are made, sent, passed on, used and
dropped, ports move, links are cut, nodes die.

Whatever happens, messages to a port arrive in the order of their sender and not twice, and every
message has one outcome. When nobody died, each arrives once, each send-once right ends in exactly
one message or notification, and nobody has a sender left. In the end nothing is left.
`firmware/tests/unit/test_rights_random.c` does the same to the core.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.protocol.flipc_types import OutcomeKind
from emulator.protocol.ipc import Item, Message, Port, PortItem, PortsItem, SendResult, Transfer
from emulator.protocol.services import Notification
from emulator.protocol.wire_types import Disposition
from emulator.testing.mesh import Mesh

CONTENT = 1000
LIMIT = 1024
RECEIVE, SEND, ONCE = Disposition.RECEIVE, Disposition.SEND, Disposition.SEND_ONCE


@dataclass(slots=True, eq=False)
class Right:
    at: int
    port: Port
    kind: Disposition


class Program:
    """One run; `dice` decides everything."""

    def __init__(self, dice: random.Random, nodes: int, *, deaths: bool) -> None:
        self.dice = dice
        self.deaths = deaths
        self.count = nodes
        self.mesh = Mesh(nodes)
        self.rights: list[Right] = []
        self.last: dict[tuple[int, tuple[int, int]], int] = {}  # by port name and source
        self.number = 0
        self.received = 0
        self.once_made = 0
        self.once_ended = 0
        self.sent = [0] * nodes

    # Rights at hand ------------------------------------------------------------------------------

    def pick(self, at: int) -> Right | None:
        here = [right for right in self.rights if right.at == at]
        return self.dice.choice(here) if here else None

    def keep(self, at: int, port: Port | None, kind: Disposition) -> None:
        if port is not None:
            self.rights.append(Right(at, port, kind))

    # Sending -------------------------------------------------------------------------------------

    def transfer_of(self, right: Right, *, may_move_port: bool) -> Transfer:
        if right.kind is RECEIVE:
            ways = [Transfer.MAKE_SEND, Transfer.MAKE_SEND_ONCE]
            return self.dice.choice([*ways, Transfer.MOVE_RECEIVE] if may_move_port else ways)
        if right.kind is ONCE:
            return Transfer.MOVE_SEND_ONCE
        return self.dice.choice([Transfer.MOVE_SEND, Transfer.COPY_SEND])

    def make_message(self, at: int, used: Right | None, *, may_move_port: bool) -> Message:
        items: list[Item] = []
        for _ in range(self.dice.randrange(4)):
            right = self.pick(at)
            if right is None or right is used:
                continue
            transfer = self.transfer_of(right, may_move_port=may_move_port)
            if transfer in (Transfer.MOVE_RECEIVE, Transfer.MOVE_SEND, Transfer.MOVE_SEND_ONCE):
                self.rights.remove(right)
            self.once_made += transfer is Transfer.MAKE_SEND_ONCE
            if self.dice.randrange(4):
                items.append(PortItem(right.port, transfer))
            else:
                items.append(PortsItem(transfer, (right.port,)))
        self.number += 1
        is_once = used is not None and used.kind is ONCE
        body = self.number.to_bytes(8, "little") + bytes([is_once])
        message = self.mesh.spaces[at].message(CONTENT, body, items, token=self.number)
        assert message is not None
        return message

    def take_rights(self, at: int, message: Message, *, everything: bool) -> None:
        for slot in message.slots():
            dies = not everything and slot is not message.reply and not self.dice.randrange(8)
            if dies and slot.disposition is not RECEIVE:
                continue
            kind = slot.disposition
            self.keep(at, self.mesh.spaces[at].take(message, slot), kind)

    def not_sent(self, at: int, message: Message) -> None:
        space = self.mesh.spaces[at]
        self.take_rights(at, message, everything=True)
        message.token = None
        space.discard(message)

    def send_to_port(self, at: int) -> None:
        to = self.pick(at)
        if to is None:
            return
        is_once = to.kind is ONCE
        message = self.make_message(at, to, may_move_port=False)
        answer = self.pick(at) if self.dice.randrange(2) else None
        reply = answer.port if answer is not None and answer.kind is RECEIVE else None
        result = self.mesh.spaces[at].send(message, to.port, reply=reply, is_once=is_once)
        if result is not SendResult.DONE:
            self.not_sent(at, message)
            return
        self.sent[at] += 1
        if is_once:
            self.rights.remove(to)
        self.once_made += reply is not None

    def send_to_door(self, at: int) -> None:
        space = self.mesh.spaces[at]
        door = space.right_to(self.mesh.door_name(self.dice.randrange(self.count)))
        assert door is not None
        message = self.make_message(at, None, may_move_port=True)
        if space.send(message, door) is SendResult.DONE:
            self.sent[at] += 1
        else:
            self.not_sent(at, message)
        space.release(door)

    # Receiving -----------------------------------------------------------------------------------

    def receive(self, at: int, port: Port) -> bool:
        space = self.mesh.spaces[at]
        message = space.next_message(port, self.mesh.now_ns)
        if message is None:
            return False
        if message.id == Notification.SEND_ONCE:
            self.once_ended += 1
        else:
            assert message.id == CONTENT
            number = int.from_bytes(message.body[:8], "little")
            self.received += 1
            self.once_ended += message.body[8]
            stream = (space.name_of(port), message.source)
            assert self.last.get(stream, 0) < number
            self.last[stream] = number
            self.take_rights(at, message, everything=False)
        space.discard(message)
        return True

    def receive_some(self, at: int) -> None:
        right = self.pick(at)
        if right is not None and right.kind is RECEIVE and self.dice.randrange(2):
            self.receive(at, right.port)
        else:
            self.receive(at, self.mesh.doors[at])

    # Life ----------------------------------------------------------------------------------------

    def drop_one(self, at: int) -> None:
        right = self.pick(at)
        if right is not None and (right.kind is not RECEIVE or self.deaths):
            self.rights.remove(right)
            self.mesh.spaces[at].release(right.port, right.kind)

    def kill(self, which: int) -> None:
        self.rights = [right for right in self.rights if right.at != which]
        self.sent[which] = 0
        self.mesh.kill(which)

    def step(self) -> None:
        dice = self.dice
        at, other, what = (
            dice.randrange(self.count),
            dice.randrange(self.count),
            dice.randrange(100),
        )
        if what < 8:
            self.keep(at, self.mesh.spaces[at].create(limit=LIMIT), RECEIVE)
        elif what < 26:
            self.send_to_port(at)
        elif what < 40:
            self.send_to_door(at)
        elif what < 60:
            self.receive_some(at)
        elif what < 66:
            self.drop_one(at)
        elif what < 70:
            (self.mesh.cut.add if dice.randrange(2) else self.mesh.cut.discard)((at, other))
        elif what < 71 and self.deaths:
            self.kill(at)
        elif at != other:
            self.mesh.move_one(at, other)

    def drain(self) -> None:
        """Receive and take apart everything until nothing moves."""
        self.mesh.cut.clear()
        moved = True
        while moved:
            moved = False
            self.mesh.settle()
            for at in range(self.count):
                while self.receive(at, self.mesh.doors[at]):
                    moved = True
            for right in list(self.rights):
                if right.kind is not RECEIVE:
                    self.rights.remove(right)
                    self.mesh.spaces[right.at].release(right.port, right.kind)
                    moved = True
                while right.kind is RECEIVE and self.receive(right.at, right.port):
                    moved = True

    def check_end(self) -> None:
        for at, recorder in enumerate(self.mesh.recorders):
            kinds = Counter(outcome.kind for outcome in recorder.outcomes)
            assert kinds.total() == self.sent[at]
            assert self.deaths or kinds[OutcomeKind.SETTLED] == self.sent[at]
        if self.deaths:
            return
        assert self.received == sum(self.sent)
        assert self.once_ended == self.once_made
        for right in self.rights:
            assert not right.port.has_senders()
            assert (bool(right.port.given), right.port.once) == (False, 0)

    def run(self, steps: int) -> int:
        """Return how many messages came back from former homes."""
        for _ in range(steps):
            self.step()
        self.drain()
        self.check_end()
        for right in self.rights:
            self.mesh.spaces[right.at].release(right.port, right.kind)
        self.mesh.settle()
        self.mesh.expect_empty()
        assert self.deaths or not any(space.dropped for space in self.mesh.spaces)
        return sum(space.moved for space in self.mesh.spaces)


@settings(max_examples=60, deadline=None)
@given(
    dice=st.randoms(use_true_random=False),
    nodes=st.integers(2, 3),
    deaths=st.booleans(),
    steps=st.integers(10, 150),
)
def test_accounts_end_right(dice: random.Random, nodes: int, deaths: bool, steps: int) -> None:
    Program(dice, nodes, deaths=deaths).run(steps)


@pytest.mark.parametrize("deaths", [False, True])
def test_long_programs_end_right_and_ports_move(deaths: bool) -> None:
    moved = sum(Program(random.Random(seed), 3, deaths=deaths).run(400) for seed in range(40))
    assert moved > 10
