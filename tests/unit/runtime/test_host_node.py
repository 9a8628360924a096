# SPDX-License-Identifier: MIT
"""Node 0 over real sockets, with guests in Python at the other ends."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest

from emulator.errors import DeadlineExpired, GuestError, NodeDied, UsageError
from emulator.protocol.constants import (
    MESSAGE_MAX_DEFAULT,
    ClusterConstants,
    Direction,
    FrameType,
    LinkDrop,
    LinkRefusal,
    NodeDeathCause,
)
from emulator.protocol.flipc_types import OutcomeKind
from emulator.protocol.frames import FrameHeader, encode_frame
from emulator.protocol.link_types import PeerTrained, Refused, StateChanged
from emulator.protocol.mnl import Death, MachMessage, NakReason
from emulator.protocol.names import kernel_port, make_name, tag_of_incarnation
from emulator.protocol.node import NodeDeath
from emulator.protocol.route import Transit
from emulator.protocol.wire_types import Disposition
from emulator.runtime.deadline import Deadline
from emulator.runtime.host_node import HostMessage, HostNode, HostObserver
from emulator.testing.fake_guest import FakeGuest, Handler, echo_only

CONSTANTS = ClusterConstants(
    keepalive_ns=10_000_000,
    link_down_after_ns=100_000_000,
    dead_after_ns=200_000_000,
)
HOST_LIFE = 0x1_0000_0001
LIFE = 0x2_0000_0001
ROUTE = Transit(route=4, ends=(1, 2), links=(1, 2))


class Witness(HostObserver):
    """Records what node 0 tells."""

    def __init__(self) -> None:
        self.deaths: list[NodeDeath] = []
        self.trained: list[tuple[int, int, bool]] = []
        self.refusals: list[Refused] = []
        self.changes: list[StateChanged] = []
        self.closed: list[int] = []
        self.batches = 0

    def link_changed(self, node_id: int, change: StateChanged) -> None:
        self.changes.append(change)

    def peer_trained(self, node_id: int, trained: PeerTrained) -> None:
        self.trained.append((node_id, trained.incarnation, trained.is_new_life))

    def peer_died(self, death: NodeDeath) -> None:
        self.deaths.append(death)

    def refused(self, node_id: int, refusal: Refused) -> None:
        self.refusals.append(refusal)

    def stream_closed(self, node_id: int) -> None:
        self.closed.append(node_id)


class Bench:
    """Node 0 and as many guests as a test boots."""

    def __init__(self) -> None:
        self.witness = Witness()
        self.host = HostNode(CONSTANTS, HOST_LIFE, self.witness, [ROUTE])
        self.host.on_frames(self._count)
        self._guests: list[FakeGuest] = []

    def _count(self, _node_id: int) -> None:
        self.witness.batches += 1

    def boot(
        self,
        node_id: int,
        incarnation: int = LIFE,
        *,
        handler: Handler = echo_only,
        message_max: int = MESSAGE_MAX_DEFAULT,
    ) -> FakeGuest:
        ours, theirs = socket.socketpair()
        guest = FakeGuest(
            theirs,
            node_id=node_id,
            incarnation=incarnation,
            constants=CONSTANTS,
            handler=handler,
            message_max=message_max,
        )
        self._guests.append(guest)
        self.host.attach(node_id, ours)
        return guest

    async def up(self, node_id: int, *, newer_than: int = 0) -> int:
        return await self.host.wait_up(node_id, Deadline.after(2), newer_than=newer_than)

    async def close(self) -> None:
        await self.host.close()
        for guest in self._guests:
            guest.power_off()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    await bench.close()


async def eventually(holds: Callable[[], object]) -> None:
    """Let the loop run until `holds()`; a wait in vain ends after two seconds."""
    async with asyncio.timeout(2):
        while not holds():
            await asyncio.sleep(0.001)


async def test_link_comes_up_and_a_ping_comes_back(bench: Bench) -> None:
    bench.boot(1)
    assert await bench.up(1) == LIFE
    assert await bench.host.ping(1, Deadline.after(1), body=b"x" * 100) > 0
    assert bench.witness.trained == [(1, LIFE, True)]
    assert bench.witness.batches > 0


async def test_call_waits_for_a_node_that_still_boots(bench: Bench) -> None:
    async with asyncio.TaskGroup() as tasks:
        ping = tasks.create_task(bench.host.ping(1, Deadline.after(2)))
        await asyncio.sleep(0)
        bench.boot(1)
    assert ping.result() > 0


async def test_message_of_many_frames_comes_back_whole(bench: Bench) -> None:
    bench.boot(1)
    body = bytes(range(256)) * 1200
    await bench.host.ping(1, Deadline.after(2), body=body)
    statistics = bench.host.statistics(1)
    assert statistics.link.tx_data_frames > 18
    assert statistics.pair.settled == 1


async def test_message_longer_than_the_guest_receives_is_a_mistake(bench: Bench) -> None:
    bench.boot(1)
    await bench.up(1)
    with pytest.raises(UsageError, match="too long for node 1"):
        await bench.host.ping(1, Deadline.after(1), body=bytes((1 << 20) + 9))
    await bench.host.ping(1, Deadline.after(5), body=bytes(1 << 20))


async def test_refused_request_fails_at_once(bench: Bench) -> None:
    bench.boot(1)
    with pytest.raises(GuestError, match="refused message 7: UNKNOWN_NAME"):
        await bench.host.call(1, make_name(1, 5, 5), 7, b"", Deadline.after(2))


async def test_unanswered_call_fails_at_its_deadline(bench: Bench) -> None:
    bench.boot(1, handler=lambda _message: None)
    await bench.up(1)
    with pytest.raises(DeadlineExpired, match=r"did not answer message 2000 .* within 0\.05 s"):
        await bench.host.ping(1, Deadline.after(0.05))


async def test_late_reply_finds_a_dead_port(bench: Bench) -> None:
    requests: list[MachMessage] = []

    def keep(message: MachMessage) -> None:
        requests.append(message)

    guest = bench.boot(1, handler=keep)
    await bench.up(1)
    with pytest.raises(DeadlineExpired):
        await bench.host.ping(1, Deadline.after(0.05))
    guest.post(
        MachMessage(remote=requests[0].local, id=2100, remote_disposition=Disposition.SEND_ONCE),
        "late",
    )
    await eventually(lambda: guest.outcomes)
    assert guest.outcomes[0].reason is NakReason.DEAD_PORT


async def test_reply_with_another_id_is_an_error(bench: Bench) -> None:
    requests: list[MachMessage] = []
    guest = bench.boot(1, handler=requests.append)
    await bench.up(1)
    async with asyncio.TaskGroup() as tasks:
        call = tasks.create_task(_failure(bench.host.ping(1, Deadline.after(1))))
        await eventually(lambda: requests)
        reply = MachMessage(remote=requests[0].local, id=9)
        guest.post(reply)  # not by the right that it was given: no answer
        guest.post(replace(reply, remote_disposition=Disposition.SEND_ONCE))
    assert "answered message 2000 with 9, not 2100" in str(call.result())


async def _failure(call: Awaitable[object]) -> Exception:
    with pytest.raises(GuestError) as caught:
        await call
    return caught.value


async def test_death_ends_calls_and_is_told_to_every_other_guest_once(bench: Bench) -> None:
    bench.boot(1, handler=lambda _message: None)
    survivors = [bench.boot(2), bench.boot(3)]
    for node_id in (1, 2, 3):
        await bench.up(node_id)
    async with asyncio.TaskGroup() as tasks:
        call = tasks.create_task(_failure(bench.host.ping(1, Deadline.after(5))))
        await eventually(lambda: bench.host.statistics(1).pair.settled)
        assert bench.host.announce_death(1, LIFE) == (2, 3)
        assert bench.host.announce_death(1, LIFE) == ()
    assert isinstance(call.result(), NodeDied)
    notice = Death(node_id=1, cause=NodeDeathCause.HOST, incarnation=LIFE)
    await eventually(lambda: all(guest.deaths for guest in survivors))
    await bench.host.ping(2, Deadline.after(1))
    await bench.host.ping(3, Deadline.after(1))
    assert [guest.deaths for guest in survivors] == [[notice], [notice]]
    assert bench.witness.deaths == [
        NodeDeath(node_id=1, incarnation=LIFE, cause=NodeDeathCause.HOST)
    ]
    assert bench.host.incarnation(1) == 0


async def test_guest_that_trains_after_a_death_is_told(bench: Bench) -> None:
    bench.boot(1)
    await bench.up(1)
    late_ours, late_theirs = socket.socketpair()
    bench.host.attach(2, late_ours)
    bench.host.announce_death(1, LIFE)
    guest = FakeGuest(late_theirs, node_id=2, incarnation=LIFE, constants=CONSTANTS)
    try:
        await eventually(lambda: guest.deaths)
        assert [death.node_id for death in guest.deaths] == [1]
    finally:
        guest.power_off()


async def test_restarted_guest_is_a_new_life_and_the_old_one_is_dead(bench: Bench) -> None:
    guest = bench.boot(1)
    await bench.up(1)
    guest.power_off()
    await eventually(lambda: bench.witness.closed == [1])
    bench.boot(1, LIFE + 1)
    assert await bench.up(1, newer_than=LIFE) == LIFE + 1
    assert [death.incarnation for death in bench.witness.deaths] == [LIFE]
    await bench.host.ping(1, Deadline.after(1))


async def test_life_declared_dead_is_refused_and_told(bench: Bench) -> None:
    guest = bench.boot(1)
    await bench.up(1)
    bench.host.announce_death(1, LIFE)
    await eventually(lambda: guest.refusals)
    assert guest.refusals[0] == Refused(by_us=False, reason=LinkRefusal.STALE, incarnation=LIFE)
    assert not bench.host.is_up(1)


async def test_hung_guest_dies_of_silence_and_harms_nobody(bench: Bench) -> None:
    hung = bench.boot(1)
    bench.boot(2)
    await bench.up(1)
    await bench.up(2)
    hung.hang()
    with pytest.raises(NodeDied):
        await bench.host.ping(1, Deadline.after(2))
    assert bench.witness.deaths[0].cause is NodeDeathCause.SILENCE
    await bench.host.ping(2, Deadline.after(1))


async def test_short_hang_only_delays(bench: Bench) -> None:
    guest = bench.boot(1)
    await bench.up(1)
    guest.hang()
    async with asyncio.TaskGroup() as tasks:
        ping = tasks.create_task(bench.host.ping(1, Deadline.after(2)))
        await asyncio.sleep(0.15)  # longer than link_down_after_ns
        guest.resume()
    assert ping.result() >= 150_000_000
    assert bench.witness.deaths == []


async def test_garbage_is_skipped_and_counted(bench: Bench) -> None:
    guest = bench.boot(1)
    bench.boot(2)
    await bench.up(1)
    guest.speak(b"MN\x01garbage" * 100)
    await bench.host.ping(1, Deadline.after(2))
    await bench.host.ping(2, Deadline.after(2))
    drops = bench.host.statistics(1).link.drops
    assert drops[LinkDrop.RESYNC] == 1000


@pytest.mark.parametrize("direction", list(Direction))
async def test_cut_and_splice_of_one_direction_delays_a_ping(
    bench: Bench, direction: Direction
) -> None:
    bench.boot(1)
    await bench.up(1)
    bench.host.set_carrier(1, direction, up=False)
    async with asyncio.TaskGroup() as tasks:
        ping = tasks.create_task(bench.host.ping(1, Deadline.after(2)))
        await asyncio.sleep(0.05)
        assert not ping.done()
        bench.host.set_carrier(1, direction, up=True)
    assert ping.result() > 0
    statistics = bench.host.statistics(1).pair
    assert (statistics.settled, statistics.failed, statistics.unknown) == (1, 0, 0)
    assert bench.witness.deaths == []


async def test_port_receives_in_order_and_settles_when_taken(bench: Bench) -> None:
    guest = bench.boot(1)
    await bench.up(1)
    port = bench.host.port()
    for number in range(100):
        guest.post(MachMessage(remote=port.name, id=number), number)
    received = [(await port.receive(Deadline.after(1))).id for _ in range(100)]
    assert received == list(range(100))
    await eventually(lambda: len(guest.outcomes) == 100)
    assert {outcome.kind for outcome in guest.outcomes} == {OutcomeKind.SETTLED}


async def test_closed_port_refuses_what_waits_and_what_comes(bench: Bench) -> None:
    guest = bench.boot(1)
    await bench.up(1)
    port = bench.host.port()
    guest.post(MachMessage(remote=port.name, id=1), 1)
    await eventually(lambda: bench.host.statistics(1).pair.unsettled)
    port.close()
    guest.post(MachMessage(remote=port.name, id=2), 2)
    await eventually(lambda: len(guest.outcomes) == 2)
    assert [outcome.reason for outcome in guest.outcomes] == [NakReason.DEAD_PORT] * 2
    await eventually(lambda: bench.host.statistics(1).pair.unsettled == 0)


@pytest.mark.parametrize(
    ("lives_ago", "reason"), [(0, NakReason.UNKNOWN_NAME), (1, NakReason.DEAD_PORT)]
)
async def test_unknown_name_is_refused(bench: Bench, lives_ago: int, reason: NakReason) -> None:
    """This life knows which names it gave out; what a past one did, died with it."""
    guest = bench.boot(1)
    await bench.up(1)
    tag = tag_of_incarnation(bench.host.space.incarnation - lives_ago)
    guest.post(MachMessage(remote=make_name(0, tag, 1 << 20), id=1), 1)
    await eventually(lambda: guest.outcomes)
    assert guest.outcomes[0].reason is reason


async def test_host_kernel_port_echoes(bench: Bench) -> None:
    replies: list[MachMessage] = []

    def keep(message: MachMessage) -> None:
        replies.append(message)

    guest = bench.boot(1, handler=keep)
    await bench.up(1)
    guest.post(
        MachMessage(
            remote=kernel_port(0),
            id=2000,
            body=b"hello",
            local=make_name(1, tag_of_incarnation(LIFE), 1),
            local_disposition=Disposition.SEND_ONCE,
        )
    )
    await eventually(lambda: replies)
    assert (replies[0].id, replies[0].body) == (2100, b"hello")
    assert replies[0].remote_disposition is Disposition.SEND_ONCE


async def test_guest_that_cannot_take_its_answer_gets_none(bench: Bench) -> None:
    """It asks for more than it says it receives: the link goes on, and later requests are served."""
    replies: list[bytes] = []
    guest = bench.boot(1, handler=lambda message: replies.append(message.body), message_max=256)
    await bench.up(1)
    for body in (b"x" * 1000, b"short"):
        guest.post(
            MachMessage(
                remote=kernel_port(0),
                id=2000,
                body=body,
                local=make_name(1, tag_of_incarnation(LIFE), 1),
                local_disposition=Disposition.SEND_ONCE,
            )
        )
    await eventually(lambda: replies)
    assert replies == [b"short"]
    assert bench.host.is_up(1)


async def test_dead_guest_is_not_answered(bench: Bench) -> None:
    requests: list[HostMessage] = []
    port = bench.host.listen(lambda _node_id, message: requests.append(message))
    guest = bench.boot(1)
    await bench.up(1)
    reply = make_name(1, tag_of_incarnation(LIFE), 1)
    guest.post(
        MachMessage(remote=port.name, id=5, local=reply, local_disposition=Disposition.SEND_ONCE)
    )
    await eventually(lambda: requests)
    bench.host.announce_death(1, LIFE)
    bench.host.reply(requests[0], b"late")
    assert bench.host.statistics(1).pair.queued == 0


async def test_send_returns_when_the_message_was_taken(bench: Bench) -> None:
    taken: list[int] = []

    def take(message: MachMessage) -> None:
        taken.append(message.id)

    bench.boot(1, handler=take)
    await bench.host.send(make_name(1, 1, 1), 77, b"", Deadline.after(2))
    assert taken == [77]


async def test_clock_of_a_guest_is_ours_within_the_error(bench: Bench) -> None:
    bench.boot(1)
    await bench.up(1)
    sample = bench.host.clock(1)
    assert sample is not None
    assert abs(sample.offset_ns) <= sample.error_ns


async def test_wait_up_says_how_far_the_link_came(bench: Bench) -> None:
    ours, theirs = socket.socketpair()
    bench.host.attach(1, ours)
    with theirs, pytest.raises(DeadlineExpired, match="node 0 does not hear node 1"):
        await bench.host.wait_up(1, Deadline.after(0.05))


async def test_attach_rejects_bad_ids_and_a_second_stream(bench: Bench) -> None:
    bench.boot(1)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with pytest.raises(UsageError, match=r"not in 1 \.\. 63"):
            bench.host.attach(64, ours)
        with pytest.raises(UsageError, match="has a management stream already"):
            bench.host.attach(1, ours)


async def test_close_ends_waits(bench: Bench) -> None:
    bench.boot(1, handler=lambda _message: None)
    await bench.up(1)
    async with asyncio.TaskGroup() as tasks:
        call = tasks.create_task(_failure(bench.host.ping(1, Deadline.after(5))))
        await eventually(lambda: bench.host.statistics(1).pair.settled)
        await bench.host.close()
    assert "left the cluster" in str(call.result())


async def test_frames_of_a_route_are_passed_on_as_they_are(bench: Bench) -> None:
    bench.boot(1)
    second = bench.boot(2)
    await bench.up(1)
    await bench.up(2)
    frame = encode_frame(FrameHeader(src_node=1, dst_node=2, type=FrameType.ACK, route=ROUTE.route))
    assert bench.host.pass_on(1, frame) is None
    await eventually(lambda: second.link.statistics().dropped(LinkDrop.WRONG_PEER) == 1)


async def test_frames_of_a_route_that_do_not_fit_are_counted(bench: Bench) -> None:
    guest = bench.boot(1)
    await bench.up(1)
    unheard = FrameHeader(src_node=1, dst_node=2, type=FrameType.ACK, route=ROUTE.route)
    unknown = FrameHeader(src_node=1, dst_node=2, type=FrameType.ACK, route=ROUTE.route + 1)
    guest.speak(encode_frame(unheard) + encode_frame(unknown))
    await eventually(
        lambda: (
            bench.host.statistics(1).link.dropped(LinkDrop.NOT_FORWARDED) == 1
            and bench.host.statistics(1).link.dropped(LinkDrop.WRONG_NODE) == 1
        )
    )
    assert bench.host.statistics(1).link.forwarded == 0
    assert bench.host.is_up(1)
