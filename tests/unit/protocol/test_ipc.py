# SPDX-License-Identifier: MIT
"""Ports and rights of one Python node: bounds that a hostile neighbour meets, and small rules."""

from __future__ import annotations

import pytest

from emulator.protocol.flipc_types import CONTROL_RESERVE, OutcomeKind
from emulator.protocol.ipc import IpcSpace, Message, Neighbour, Port, PortItem, SendResult, Transfer
from emulator.protocol.ipc.told import NOTICES_MAX
from emulator.protocol.message_parts import RIGHTS_MAX, PortPart, PortsPart
from emulator.protocol.mnl import (
    MNL_HEADER_SIZE,
    RIGHTS_COUNT_MAX,
    FlipcCommand,
    MachMessage,
    MnlHeader,
    Nak,
    NakReason,
    Rights,
    RightsEntry,
    RightsOperation,
    Sub,
)
from emulator.protocol.names import make_name
from emulator.protocol.services import Notification
from emulator.protocol.wire_types import Disposition
from emulator.testing.mesh import Mesh

TAG = 0x0102
SEND, ONCE, RECEIVE = Disposition.SEND, Disposition.SEND_ONCE, Disposition.RECEIVE


def test_quality_of_service_travels_with_the_message() -> None:
    mesh = Mesh(2)
    sender, receiver = mesh.spaces
    right = sender.right_to(mesh.door_name(1))
    message = sender.message(77)
    assert right is not None
    assert message is not None
    message.qos = 0xA5
    assert sender.send(message, right) is SendResult.DONE
    sender.release(right)
    mesh.settle()
    arrived = receiver.next_message(mesh.doors[1], 0)
    assert arrived is not None
    assert (arrived.id, arrived.qos) == (77, 0xA5)


class Hostile:
    """Node 2 as it may be: it says anything, and settles nothing unless asked to."""

    def __init__(self) -> None:
        self.mesh = Mesh(2)
        self.space: IpcSpace = self.mesh.spaces[0]
        self.node: Neighbour = self.mesh.nodes[0, 1]
        self.port = self.space.create()
        self.name = self.space.name_of(self.port)
        self._sequence = 0

    def _say(self, cmd: FlipcCommand, payload: bytes, name: int = 0) -> None:
        header = MnlHeader(
            sub=Sub.FLIPC,
            cmd=cmd,
            sequenced=True,
            node_id=2,
            object=name,
            options=self._sequence,
            size=len(payload),
        )
        self._sequence += 1
        assert self.space.receive(self.node, header.serialize() + payload, 0) is None

    def send(self, *parts: PortPart | PortsPart, to: int | None = None) -> None:
        message = MachMessage(remote=to or self.name, id=1, parts=parts)
        self._say(FlipcCommand.IPC, message.serialize(), message.remote)

    def tell(self, *entries: tuple[int, RightsOperation, int]) -> None:
        told = tuple(RightsEntry(name=a, operation=b, value=c) for a, b, c in entries)
        self._say(FlipcCommand.RIGHTS, Rights(entries=told).serialize())

    def refuse(self, sequence: int, resend_to: int) -> None:
        nak = Nak(sequence=sequence, reason=NakReason.MOVED, resend_to=resend_to)
        self._say(FlipcCommand.NAK, nak.serialize())

    def sent(self) -> list[tuple[MnlHeader, bytes]]:
        found: list[bytes] = []

        def take(message: bytes) -> bool:
            found.append(message)
            return True

        self.node.pair.pump(take)
        return [(MnlHeader.parse(one), one[MNL_HEADER_SIZE:]) for one in found]

    def receive(self) -> Message | None:
        return self.space.next_message(self.port, 0)


def test_a_node_that_lets_nothing_be_told_gives_nothing_any_more() -> None:
    """Its credit stays at 0, so everything given back waits; it waits in bounded memory."""
    node = Hostile()
    serial = refused = 0
    for _ in range(40):
        ports = tuple(
            PortPart(name=make_name(2, TAG, serial + i + 1), disposition=SEND)
            for i in range(RIGHTS_MAX)
        )
        serial += RIGHTS_MAX
        node.send(PortsPart(disposition=SEND, ports=ports))
        message = node.receive()
        if message is None:
            refused += 1
        else:
            node.space.discard(message)
    assert refused == 40 - NOTICES_MAX // RIGHTS_MAX
    assert node.node.pair.statistics().refused == refused
    assert len(node.node.shares) <= NOTICES_MAX + RIGHTS_MAX
    told = [Rights.parse(data) for header, data in node.sent() if header.cmd == FlipcCommand.RIGHTS]
    assert sum(len(rights.entries) for rights in told) <= CONTROL_RESERVE * RIGHTS_COUNT_MAX


def test_names_that_nobody_has_are_answered_in_bounded_memory() -> None:
    node = Hostile()
    for first in range(1000, 4000, RIGHTS_COUNT_MAX):
        node.tell(
            *(
                (make_name(1, TAG, first + i), RightsOperation.ADD_SEND, 1)
                for i in range(RIGHTS_COUNT_MAX)
            )
        )
    assert len(node.node.notices) == NOTICES_MAX
    assert node.space.dropped > 0


@pytest.mark.parametrize("count", [0, 0x10000, 0xFFFFFFFF])
def test_no_account_has_that_many_send_once_rights(count: int) -> None:
    node = Hostile()
    node.tell((node.name, RightsOperation.ADD_ONCE, count))
    assert (node.space.dropped, node.port.given.once) == (1, 0)


def test_a_node_whose_rights_die_by_the_thousand_costs_one_message() -> None:
    node = Hostile()
    node.tell(
        (node.name, RightsOperation.ADD_ONCE, 0xFFFF),
        (node.name, RightsOperation.DEAD_ONCE, 0xFFFF),
    )
    for _ in range(5):
        assert node.port.count == 1
        message = node.receive()
        assert message is not None
        assert message.id == Notification.SEND_ONCE


def test_a_port_that_only_ever_moves_counts_as_dead() -> None:
    """Nodes that lie cannot keep a message going for ever."""
    node = Hostile()
    node.node.pair.peer(0, 1000)
    right = node.space.right_to(make_name(2, TAG, 9))
    message = node.space.message(1, token="token")
    assert right is not None
    assert message is not None
    assert node.space.send(message, right) is SendResult.DONE
    for _ in range(20):
        for header, _data in node.sent():
            if header.cmd == FlipcCommand.IPC:
                node.refuse(header.options, 2)
    assert right.is_dead
    (outcome,) = node.mesh.recorders[0].outcomes
    assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, NakReason.MOVED)


def test_a_doubted_port_waits_in_the_window_of_its_source() -> None:
    """The known home never tells, and dies: then the liar is as good as anybody."""
    mesh = Mesh(3)
    space = mesh.spaces[0]
    port = space.create()
    give(mesh, 1, PortItem(mesh.spaces[1].create(), Transfer.MAKE_SEND))
    message = space.next_message(mesh.doors[0], 0)
    assert message is not None
    (slot,) = message.rights()
    right = space.take(message, slot)
    assert right is not None
    lie = MachMessage(
        remote=space.name_of(port),
        id=1,
        parts=(PortPart(name=right.name, disposition=RECEIVE, limit=1),),
    )
    payload = lie.serialize()
    header = MnlHeader(
        sub=Sub.FLIPC,
        cmd=FlipcCommand.IPC,
        sequenced=True,
        node_id=3,
        object=lie.remote,
        options=mesh.nodes[0, 2].pair.flipc_next(),
        size=len(payload),
    )
    space.receive(mesh.nodes[0, 2], header.serialize() + payload, 0)
    assert space.next_message(port, 0) is None
    assert mesh.nodes[0, 2].pair.statistics().unsettled == 1
    space.died(mesh.nodes[0, 1])
    assert right.is_dead
    assert space.next_message(port, 0) is not None


def give(mesh: Mesh, at: int, item: PortItem) -> None:
    """Send a right from a node to the door of the first."""
    space = mesh.spaces[at]
    door = space.right_to(mesh.door_name(0))
    message = space.message(1, items=[item])
    assert door is not None
    assert message is not None
    assert space.send(message, door) is SendResult.DONE
    mesh.settle()


def local() -> tuple[IpcSpace, Port, Port]:
    space = Mesh(1).spaces[0]
    return space, space.create(limit=4), space.create()


def test_a_receive_right_cannot_wait_where_it_leads() -> None:
    space, port, other = local()
    message = space.message(1, items=[PortItem(port, Transfer.MOVE_RECEIVE)])
    assert message is not None
    assert space.send(message, port) is SendResult.NO_RIGHT
    assert space.send(message, other) is SendResult.DONE
    back = space.message(1, items=[PortItem(other, Transfer.MOVE_RECEIVE)])
    assert back is not None
    assert space.send(back, port) is SendResult.NO_RIGHT
    space.discard(back)
    assert (other.is_dead, port.is_dead) == (True, True)


def test_senders_are_asked_about_once() -> None:
    space, port, notify = local()
    space.make_send(port)
    assert space.notify_no_senders(port, notify)
    assert not space.notify_no_senders(port, notify)
    assert space.next_message(notify, 0) is None
    space.release(port)
    told = space.next_message(notify, 0)
    assert told is not None
    assert (told.id, told.body) == (
        Notification.NO_SENDERS,
        space.name_of(port).to_bytes(8, "little") if port.name else bytes(8),
    )


def test_the_death_of_a_dead_port_is_told_at_once() -> None:
    space, port, notify = local()
    space.make_send(port)
    space.destroy(port)
    assert not space.notify_no_senders(port, notify)
    space.notify_dead(port, notify)
    told = space.next_message(notify, 0)
    assert told is not None
    assert told.id == Notification.DEAD_NAME
    space.release(port)
    assert space.port_count == 2  # the door, and the one that was told


def test_a_full_queue_and_rights_that_are_not_there() -> None:
    space, port, other = local()
    for _ in range(4):
        message = space.message(1)
        assert message is not None
        assert space.send(message, port) is SendResult.DONE
    one_more = space.message(1)
    assert one_more is not None
    assert space.send(one_more, port) is SendResult.NO_ROOM
    assert space.send(one_more, other, is_once=True) is SendResult.NO_RIGHT
    assert space.message(1, items=[PortItem(port, Transfer.MOVE_SEND_ONCE)]) is None
    assert space.message(1, items=[PortItem(None, Transfer.MOVE_RECEIVE)]) is None
    items = [PortItem(other, Transfer.MAKE_SEND), PortItem(port, Transfer.MOVE_SEND_ONCE)]
    assert space.message(1, items=items) is None
    assert not other.has_senders()
    with pytest.raises(ValueError, match="too many"):
        space.message(1, items=[PortItem(None, Transfer.COPY_SEND)] * 65)
