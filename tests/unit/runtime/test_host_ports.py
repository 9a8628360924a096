# SPDX-License-Identifier: MIT
"""What tasks of the host do with ports and rights, with guests that keep real accounts."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from emulator.errors import DeadlineExpired, GuestError, UsageError
from emulator.protocol.constants import ClusterConstants
from emulator.protocol.ipc import Message, Port, PortItem, PortsItem, Transfer
from emulator.protocol.message_parts import DESCRIPTORS_MAX, BytesPart
from emulator.protocol.names import bootstrap_port
from emulator.protocol.services import Notification
from emulator.protocol.wire_types import Disposition
from emulator.runtime.deadline import Deadline
from emulator.runtime.host_node import HostNode
from emulator.runtime.host_rights import HostMessage, RightsStatistics
from emulator.testing.space_guest import SpaceGuest

HOST_LIFE = 0x1_0000_0001
LIFE = 0x2_0000_0001
NOTHING = RightsStatistics(held=0, given=0, untold=0)


def soon() -> Deadline:
    return Deadline.after(2)


class Bench:
    """Node 0 and guests 1 and 2."""

    def __init__(self) -> None:
        constants = ClusterConstants()
        self.host = HostNode(constants, HOST_LIFE)
        self.guests: dict[int, SpaceGuest] = {}
        for node_id in (1, 2):
            ours, theirs = socket.socketpair()
            self.guests[node_id] = SpaceGuest(
                theirs,
                node_id=node_id,
                incarnation=LIFE,
                host_incarnation=HOST_LIFE,
                constants=constants,
            )
            self.host.attach(node_id, ours)

    async def settle(self, holds: Callable[[], object]) -> None:
        """Let the loop run until `holds()`."""
        async with asyncio.timeout(2):
            while not holds():
                await asyncio.sleep(0.001)

    async def at(self, node_id: int, port: Port | None = None) -> Message:
        """Receive at a guest."""
        taken: list[Message] = []

        def takes() -> bool:
            message = self.guests[node_id].take(port)
            taken.extend([message] if message is not None else [])
            return bool(taken)

        await self.settle(takes)
        return taken[0]

    def rights(self, node_id: int) -> RightsStatistics:
        return self.host.statistics(node_id).rights


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    for node_id in (1, 2):
        await bench.host.wait_up(node_id, soon())
    yield bench
    await bench.host.close()
    for guest in bench.guests.values():
        guest.power_off()


async def give(bench: Bench, *items: PortItem | PortsItem | BytesPart) -> Message:
    """Send things to guest 1 in a message; return it as that received it."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(bench.host.send(bootstrap_port(1), 5, b"take this", soon(), items=items))
        message = await bench.at(1)
    assert message.body == b"take this"
    return message


async def test_a_port_is_given_used_and_let_go_of(bench: Bench) -> None:
    port = bench.host.port()
    assert not port.has_senders()
    message = await give(bench, port.send_right())
    assert port.has_senders()
    guest, (slot,) = bench.guests[1], list(message.rights())
    right = guest.space.take(message, slot)
    assert right is not None
    for number in range(3):
        sent = guest.space.message(number, b"hello")
        assert sent is not None
        guest.space.send(sent, right)
    guest.go_on()
    assert [(await port.receive(soon())).id for _ in range(3)] == [0, 1, 2]
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(port.wait_no_senders(soon()))
        await asyncio.sleep(0.01)
        assert port.has_senders()
        guest.space.release(right)
        guest.go_on()
    assert not port.has_senders()
    await bench.settle(lambda: bench.rights(1) == NOTHING)


async def test_nobody_has_a_right_to_a_new_port(bench: Bench) -> None:
    await bench.host.port().wait_no_senders(soon())


async def test_a_sender_that_stays_is_waited_for_in_vain(bench: Bench) -> None:
    port = bench.host.port()
    await give(bench, port.send_right())
    with pytest.raises(DeadlineExpired, match="somebody has a right to port"):
        await port.wait_no_senders(Deadline.after(0.05))


@pytest.mark.parametrize("moves", [False, True])
async def test_nobody_waits_for_the_senders_of_a_port_that_is_gone(
    bench: Bench, moves: bool
) -> None:
    port = bench.host.port()
    await give(bench, port.send_right())
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(_failure(port.wait_no_senders(soon())))
        await asyncio.sleep(0)
        if moves:
            await give(bench, port.receive_right())
        else:
            port.close()
    assert "is closed" in waiting.result()


async def _failure(wait: Awaitable[None]) -> str:
    with pytest.raises(UsageError) as caught:
        await wait
    return str(caught.value)


async def test_the_death_of_its_holder_takes_the_last_right(bench: Bench) -> None:
    port = bench.host.port()
    await give(bench, port.send_right(), port.send_once_right())
    assert bench.rights(1).given == 2
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(port.wait_no_senders(soon()))
        bench.host.announce_death(1, LIFE)
    assert (await port.receive(soon())).id == Notification.SEND_ONCE


@pytest.mark.parametrize("uses", [True, False])
async def test_a_send_once_right_ends_once(bench: Bench, uses: bool) -> None:
    port = bench.host.port()
    message = await give(bench, port.send_once_right())
    guest, (slot,) = bench.guests[1], list(message.rights())
    right = guest.space.take(message, slot)
    assert right is not None
    if uses:
        sent = guest.space.message(9)
        assert sent is not None
        guest.space.send(sent, right, is_once=True)
    else:
        guest.space.release(right, Disposition.SEND_ONCE)
    guest.go_on()
    assert (await port.receive(soon())).id == (9 if uses else Notification.SEND_ONCE)
    await bench.settle(lambda: bench.rights(1) == NOTHING)
    with pytest.raises(DeadlineExpired):
        await port.receive(Deadline.after(0.05))


async def test_a_right_is_received_used_passed_on_and_released(bench: Bench) -> None:
    """Guest 1 gives a right to its port to node 0; guest 2, which knows no guest 1, takes none."""
    port, guest = bench.host.port(), bench.guests[1]
    service = guest.space.create()
    to_host = guest.space.right_to(port.name)
    given = guest.space.message(1, items=[PortItem(service, Transfer.MAKE_SEND)])
    assert to_host is not None
    assert given is not None
    guest.space.send(given, to_host)
    guest.go_on()
    with await port.receive(soon(), keep_rights=True) as message:
        right = message.take(0)
    assert (right.node_id, right.name, right.is_dead) == (1, service.name, False)
    assert bench.rights(1).held == 1
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(bench.host.send(right, 7, b"used", soon()))
        assert (await bench.at(1, service)).body == b"used"
    with pytest.raises(GuestError, match="NO_ROUTE"):
        await bench.host.send(bootstrap_port(2), 8, b"", soon(), items=[right.copied()])
    await bench.settle(lambda: bench.rights(2) == NOTHING)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(
            bench.host.send(bootstrap_port(1), 9, b"", soon(), items=[right.copied()])
        )
        returned = await bench.at(1)
    assert next(returned.rights()).port is service
    bench.guests[1].space.discard(returned)
    right.release()
    right.release()
    assert not right.is_there
    with pytest.raises(UsageError, match="not there any more"):
        right.copied()
    await bench.settle(lambda: not service.has_senders())
    await bench.settle(lambda: bench.rights(1) == NOTHING)


async def test_what_comes_back_is_what_was_sent(bench: Bench) -> None:
    """Guest 1 answers with everything that it got, and one more."""
    port, guest = bench.host.port(), bench.guests[1]
    items = (
        port.send_right(),
        BytesPart(b"odd"),
        PortsItem(Transfer.MAKE_SEND, (port.port, None, port.port)),
        port.send_once_right(),
    )
    asked = asyncio.create_task(
        bench.host.ask(1, bootstrap_port(1), 5, b"take this", soon(), items=items)
    )
    request = await bench.at(1)
    own = guest.space.create()
    request.places.append(next(iter(_one_right(guest, own).rights())))
    guest.answer(request, request)
    with await asked as reply:
        assert reply.data == [b"odd"]
        assert [right and (right.name, right.kind) for right in reply.rights] == [
            (port.name, Disposition.SEND),
            (port.name, Disposition.SEND),
            None,
            (port.name, Disposition.SEND),
            (port.name, Disposition.SEND_ONCE),
            (own.name, Disposition.SEND),
        ]
        with pytest.raises(UsageError, match="no right at place 2"):
            reply.take(2)
    await port.wait_no_senders(soon())
    await bench.settle(lambda: not own.has_senders())
    await bench.settle(lambda: bench.rights(1) == NOTHING)


def _one_right(guest: SpaceGuest, port: Port) -> Message:
    message = guest.space.message(0, items=[PortItem(port, Transfer.MAKE_SEND)])
    assert message is not None
    return message


async def test_a_port_moves_away_with_what_it_has_and_back(bench: Bench) -> None:
    """What is sent to it from node 0 follows it in its order."""
    port, guest = bench.host.port(), bench.guests[1]
    right = bench.host.right(port.name)
    settled: list[int] = []
    for number in range(3):
        assert bench.host.post(port.name, number, b"", lambda: settled.append(1))
    message = await give(bench, port.receive_right())
    with pytest.raises(UsageError, match="is closed"):
        await port.receive(soon())
    moved = guest.space.take(message, next(message.rights()))
    assert moved is not None
    assert [(await bench.at(1, moved)).id for _ in range(3)] == [0, 1, 2]
    await bench.settle(lambda: len(settled) == 3)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(bench.host.send(right, 3, b"", soon()))
        assert (await bench.at(1, moved)).id == 3
    assert right.node_id == 1

    door = bench.host.port()
    to_host = guest.space.right_to(door.name)
    back = guest.space.message(4, items=[PortItem(moved, Transfer.MOVE_RECEIVE)])
    assert to_host is not None
    assert back is not None
    guest.space.send(back, to_host)
    guest.go_on()
    arrived = await door.receive(soon(), keep_rights=True)
    again = bench.host.adopt(arrived.ports.pop())
    assert right.node_id == 0
    await asyncio.gather(bench.host.send(right, 5, b"home", soon()), _expect(again.receive, 5))
    right.release()
    await again.wait_no_senders(soon())
    again.close()
    await bench.settle(lambda: bench.rights(1) == NOTHING)


async def _expect(receive: Callable[[Deadline], Awaitable[HostMessage]], message_id: int) -> None:
    message = await receive(soon())
    assert message.id == message_id


async def test_the_death_of_a_node_is_told_of_its_ports(bench: Bench) -> None:
    port, guest = bench.host.port(), bench.guests[1]
    to_host = guest.space.right_to(port.name)
    assert to_host is not None
    guest.space.send(_one_right(guest, guest.space.create()), to_host)
    guest.go_on()
    message = await port.receive(soon(), keep_rights=True)
    right = message.take(0)
    told: list[str] = []
    right.on_death(lambda: told.append("dead"))
    bench.host.announce_death(1, LIFE)
    assert (told, right.is_dead, right.node_id) == (["dead"], True, None)
    with pytest.raises(GuestError, match="is dead"):
        await bench.host.send(right, 1, b"", soon())


async def test_a_message_that_cannot_be_gives_its_rights_back(bench: Bench) -> None:
    port = bench.host.port()
    large = BytesPart(bytes(2 << 20))
    with pytest.raises(UsageError, match="too long for node 1"):
        await bench.host.send(bootstrap_port(1), 1, b"", soon(), items=[port.send_right(), large])
    assert not port.has_senders()
    closed = bench.host.port()
    item = closed.receive_right()
    closed_again = PortItem(item.port, item.transfer)
    with pytest.raises(UsageError, match="a right that is not there"):
        await bench.host.send(bootstrap_port(1), 1, b"", soon(), items=[item, closed_again])


async def test_a_node_that_does_not_come_up_keeps_no_rights(bench: Bench) -> None:
    port, moves = bench.host.port(), bench.host.port()
    right, after = bench.host.right(port.name), bench.host.right(moves.name)
    for to in (bootstrap_port(3), bootstrap_port(9)):
        with pytest.raises(DeadlineExpired, match="did not come up"):
            await bench.host.send(to, 1, b"", Deadline.after(0.01), items=[right.copied()])
    items = [right.moved(), moves.receive_right()]
    with pytest.raises(DeadlineExpired, match="did not come up"):
        await bench.host.ask(3, bootstrap_port(3), 1, b"", Deadline.after(0.01), items=items)
    assert not port.has_senders()
    assert after.is_dead


async def test_a_dead_port_keeps_no_rights(bench: Bench) -> None:
    port, gone = bench.host.port(), bench.host.port()
    dead = bench.host.right(gone.name)
    gone.close()
    with pytest.raises(GuestError, match="is dead"):
        await bench.host.send(dead, 1, b"", soon(), items=[bench.host.right(port.name).moved()])
    assert not port.has_senders()


async def test_rights_of_an_answer_that_nobody_awaits_any_more_go_back(bench: Bench) -> None:
    """The task ends after the answer came, and before it has seen it."""
    guest = bench.guests[1]
    own = guest.space.create()
    asked = asyncio.create_task(bench.host.ask(1, bootstrap_port(1), 5, b"", soon()))
    request = await bench.at(1)

    def cancel(_node_id: int) -> None:
        if bench.rights(1).held:
            asked.cancel()

    bench.host.on_frames(cancel)
    guest.answer(request, _one_right(guest, own))
    with pytest.raises(asyncio.CancelledError):
        await asked
    await bench.settle(lambda: not own.has_senders())
    await bench.settle(lambda: bench.rights(1) == NOTHING)


async def test_too_many_parts_are_a_mistake_and_nothing_happens(bench: Bench) -> None:
    port = bench.host.port()
    items = [port.send_right() for _ in range(DESCRIPTORS_MAX + 1)]
    with pytest.raises(ValueError, match="too many"):
        await bench.host.send(bootstrap_port(1), 1, b"", soon(), items=items)
    assert not port.has_senders()


async def test_nobody_has_a_port_of_an_unknown_node(bench: Bench) -> None:
    with pytest.raises(GuestError, match="nobody has a port"):
        bench.host.right(bootstrap_port(9))
