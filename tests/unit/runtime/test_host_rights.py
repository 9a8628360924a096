# SPDX-License-Identifier: MIT
"""Node 0 as a holder of rights that guests give it, with guests in Python that keep the account."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable

import pytest

from emulator.errors import DeadlineExpired, GuestError
from emulator.protocol.constants import ClusterConstants
from emulator.protocol.message_parts import PortPart
from emulator.protocol.mnl import MachMessage, NakReason, RightsEntry, RightsOperation
from emulator.protocol.names import kernel_port, make_name, tag_of_incarnation
from emulator.protocol.services import ErrorCode, ServiceError
from emulator.protocol.wire_types import Disposition
from emulator.runtime.deadline import Deadline
from emulator.runtime.host_node import HostNode
from emulator.runtime.host_rights import RightsStatistics
from emulator.testing.fake_guest import FakeGuest

HOST_LIFE = 0x1_0000_0001
LIFE = 0x2_0000_0001
TAG = tag_of_incarnation(LIFE)
PORT = make_name(1, TAG, 7)


class Bench:
    """Node 0 and guests 1 and 2, of which guest 1 has a service."""

    def __init__(self) -> None:
        constants = ClusterConstants()
        self.host = HostNode(constants, HOST_LIFE)
        self.got: list[MachMessage] = []
        self.guests: list[FakeGuest] = []
        for node_id in (1, 2):
            ours, theirs = socket.socketpair()
            guest = FakeGuest(
                theirs,
                node_id=node_id,
                incarnation=LIFE,
                constants=constants,
                handler=self._received,
            )
            self.guests.append(guest)
            self.host.attach(node_id, ours)
        self.guest = self.guests[0]
        self.guest.services["traffic"] = PortPart(name=PORT, disposition=Disposition.SEND)

    def _received(self, message: MachMessage) -> bytes | None:
        self.got.append(message)
        return None

    async def lookup(self, service: str = "traffic") -> int:
        return await self.host.lookup(1, service, Deadline.after(2))

    @property
    def rights(self) -> RightsStatistics:
        return self.host.statistics(1).rights

    async def settle(self, holds: Callable[[], bool]) -> None:
        """Let the loop run until `holds()`."""
        async with asyncio.timeout(2):
            while not holds():
                await asyncio.sleep(0.001)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    for node_id in (1, 2):
        await bench.host.wait_up(node_id, Deadline.after(2))
    yield bench
    await bench.host.close()
    for guest in bench.guests:
        guest.power_off()


async def test_a_port_that_is_looked_up_often_is_let_go_of_once(bench: Bench) -> None:
    for _ in range(3):
        assert await bench.lookup() == PORT
    assert (bench.rights.held, bench.guest.given[PORT]) == (3, 3)
    bench.host.let_go(1, PORT)
    await bench.settle(lambda: bench.guest.given[PORT] == 0)
    assert bench.rights.held == 0


async def test_what_was_looked_up_is_given_back(bench: Bench) -> None:
    await bench.lookup()
    bench.host.let_go(1, PORT)
    await bench.settle(lambda: bench.guest.given[PORT] == 0)
    assert bench.guest.rights == [RightsEntry(name=PORT, operation=RightsOperation.DROP_SEND)]
    bench.host.let_go(1, PORT)
    bench.host.let_go(9, PORT)
    await bench.host.send(PORT, 1, b"", Deadline.after(2))
    assert len(bench.guest.rights) == 1
    assert bench.rights.held == 0


async def test_everything_is_given_back_when_the_host_leaves(bench: Bench) -> None:
    await bench.lookup()
    bench.guest.services["other"] = PortPart(
        name=make_name(1, TAG, 8), disposition=Disposition.SEND
    )
    await bench.lookup("other")
    await bench.host.close()
    await bench.settle(lambda: not +bench.guest.given)
    assert len(bench.guest.rights) == 2
    assert bench.rights.held == 0


async def test_a_service_that_is_not_there(bench: Bench) -> None:
    with pytest.raises(ServiceError) as caught:
        await bench.lookup("nobody")
    assert caught.value.status == ErrorCode.NOT_FOUND
    assert bench.rights.held == 0


@pytest.mark.parametrize("home", [2, 0])
async def test_a_service_on_another_node_is_not_held(bench: Bench, home: int) -> None:
    port = make_name(2, TAG, 7) if home else kernel_port(0)
    bench.guest.services["away"] = PortPart(name=port, disposition=Disposition.SEND, home=home)
    with pytest.raises(GuestError, match="'away' of node 1 is not there"):
        await bench.lookup("away")
    assert bench.rights.held == 0
    if home:
        await bench.settle(lambda: bench.guest.given[port] == 0)


async def test_a_dead_service_is_no_service(bench: Bench) -> None:
    bench.guest.services["dead"] = PortPart(name=0, disposition=Disposition.SEND)
    with pytest.raises(GuestError, match="'dead' of node 1 is not there"):
        await bench.lookup("dead")
    assert bench.rights.held == 0


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (make_name(9999, TAG, 7), NakReason.BAD_MESSAGE),  # of no node of the cluster
        (kernel_port(2), NakReason.BAD_MESSAGE),  # node 1 has it, it says
        (make_name(1, TAG + 1, 7), NakReason.NO_ROUTE),  # of a life to come
    ],
)
async def test_a_right_that_cannot_be_is_refused(
    bench: Bench, name: int, reason: NakReason
) -> None:
    bench.guest.services["lie"] = PortPart(name=name, disposition=Disposition.SEND)
    with pytest.raises(GuestError, match="will not answer"):
        await bench.host.lookup(1, "lie", Deadline.after(2))
    await bench.settle(lambda: bool(bench.guest.outcomes))
    assert bench.guest.outcomes[-1].reason is reason
    assert bench.rights.held == 0


async def test_a_right_to_a_port_of_a_past_life_is_one_like_any(bench: Bench) -> None:
    """Its port may have moved there, and back."""
    past = make_name(1, TAG - 1, 7)
    bench.guest.services["old"] = PortPart(name=past, disposition=Disposition.SEND)
    await bench.lookup("old")
    assert bench.host.right(past).name == past


async def test_a_port_that_died_is_held_no_more(bench: Bench) -> None:
    await bench.lookup()
    right = bench.host.right(PORT)
    told: list[str] = []
    right.on_death(lambda: told.append("dead"))
    bench.guest.tell_rights(RightsEntry(name=PORT, operation=RightsOperation.PORT_DEAD))
    await bench.settle(lambda: bool(told))
    assert (right.is_dead, right.node_id, bench.rights.held) == (True, None, 0)
    right.on_death(lambda: told.append("again"))
    await bench.settle(lambda: told == ["dead", "again"])
    with pytest.raises(GuestError, match="is dead"):
        await bench.host.send(right, 1, b"", Deadline.after(1))
    right.release()


async def test_the_death_of_the_giver_voids_its_rights(bench: Bench) -> None:
    await bench.lookup()
    bench.host.announce_death(1, LIFE)
    assert bench.rights == RightsStatistics(held=0, given=0, untold=0)
    bench.host.let_go(1, PORT)


async def test_rights_that_nobody_asked_for_go_back(bench: Bench) -> None:
    port = bench.host.port()
    parts = tuple(
        PortPart(name=PORT, disposition=disposition)
        for disposition in (Disposition.SEND, Disposition.SEND, Disposition.SEND_ONCE)
    )
    bench.guest.given[PORT] += 2
    bench.guest.post(MachMessage(remote=port.name, id=1, parts=parts))
    assert (await port.receive(Deadline.after(2))).parts == parts
    await bench.settle(lambda: bench.guest.given[PORT] == 0)
    assert RightsEntry(name=PORT, operation=RightsOperation.DEAD_ONCE) in bench.guest.rights
    assert bench.rights.held == 0


async def test_a_send_once_right_that_was_never_given_is_refused(bench: Bench) -> None:
    port = bench.host.port()
    for name in (port.name, kernel_port(0)):
        bench.guest.post(MachMessage(remote=name, id=1, remote_disposition=Disposition.SEND_ONCE))
    with pytest.raises(DeadlineExpired):
        await port.receive(Deadline.after(0.05))
    await bench.settle(lambda: len(bench.guest.outcomes) == 2)
    assert [o.reason for o in bench.guest.outcomes] == [NakReason.NO_RIGHT] * 2


async def test_a_right_to_answer_is_used_by_the_answer(bench: Bench) -> None:
    reply = make_name(1, TAG, 9)
    bench.guest.post(
        MachMessage(
            remote=kernel_port(0), id=2000, local=reply, local_disposition=Disposition.SEND_ONCE
        )
    )
    await bench.settle(lambda: bool(bench.got))
    assert bench.got[0].remote_disposition is Disposition.SEND_ONCE
    assert bench.guest.rights == []
    assert bench.rights.held == 0


async def test_a_call_whose_answer_died_fails(bench: Bench) -> None:
    async with asyncio.TaskGroup() as tasks:
        call = tasks.create_task(_failure(bench))
        await bench.settle(lambda: bool(bench.got))
        died = RightsEntry(name=bench.got[0].local, operation=RightsOperation.DEAD_ONCE)
        bench.guest.tell_rights(died)
    assert "will not answer message 7" in call.result()


async def test_a_call_whose_right_came_home_fails(bench: Bench) -> None:
    port = bench.host.port()
    async with asyncio.TaskGroup() as tasks:
        call = tasks.create_task(_failure(bench))
        await bench.settle(lambda: bool(bench.got))
        right = PortPart(name=bench.got[0].local, disposition=Disposition.SEND_ONCE, home=0)
        bench.guest.post(MachMessage(remote=port.name, id=1, parts=(right,)))
        await port.receive(Deadline.after(2))
    assert "will not answer message 7" in call.result()


async def _failure(bench: Bench) -> str:
    with pytest.raises(GuestError) as caught:
        await bench.host.call(1, PORT, 7, b"", Deadline.after(2))
    return str(caught.value)


async def test_whoever_holds_a_port_that_is_not_there_is_told(bench: Bench) -> None:
    port = bench.host.port()
    gone = bench.host.port()
    gone.close()
    bench.guest.tell_rights(
        RightsEntry(name=port.name, operation=RightsOperation.ADD_SEND),
        RightsEntry(name=gone.name, operation=RightsOperation.ADD_SEND, value=2),
    )
    await bench.settle(lambda: bool(bench.guest.rights))
    assert bench.guest.rights == [RightsEntry(name=gone.name, operation=RightsOperation.PORT_DEAD)]
    assert (bench.rights.given, port.has_senders()) == (1, True)
