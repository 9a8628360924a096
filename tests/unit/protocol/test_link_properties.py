# SPDX-License-Identifier: MIT
"""Properties of links under every kind of fault, with a seed that decides everything.

Whatever happens: both directions come up after the faults stop, every message between two lives is
received once and in order, every message gets one outcome, and no bytes crash an end.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
from crc32c import crc32c
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.protocol.constants import Admission, ByteOrder, DataModel, Direction, Verdict
from emulator.protocol.flipc_types import OutcomeKind
from emulator.protocol.frames import FrameStream, cable_frame
from emulator.protocol.link import LinkEnd
from emulator.protocol.link_types import Output, PeerTrained, Transmit
from emulator.testing.link_script import ScriptFlow, config_of
from emulator.testing.memory_link import Faults, MakeLink, MemoryLink, MemoryNode, SansIoLink

MS = 1_000_000
HEAL_NS = 4_000 * MS  # longer than silence and the slowest replays together

KINDS = {
    "none": Faults(),
    "loss": Faults(loss=0.2),
    "duplicate": Faults(duplicate=0.3),
    "reorder": Faults(reorder=0.1),
    "damage": Faults(damage=0.2),
    "silence": Faults(loss=1.0),
    "all": Faults(loss=0.1, duplicate=0.1, reorder=0.05, damage=0.1),
}

# The fixture only picks an implementation; nothing of it changes between examples.
seeded = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("order", list(ByteOrder), ids=lambda order: order.name)
@pytest.mark.parametrize("model", list(DataModel), ids=lambda model: model.name)
def test_a_node_of_any_byte_order_and_data_model_is_accepted_and_known(
    make_link: MakeLink, order: ByteOrder, model: DataModel
) -> None:
    """Whatever its own model, the peer trains with it and is told which one it is."""
    ours = config_of("a", {})
    theirs = replace(config_of("b", {}), byte_order=order, data_model=model)
    ends = [make_link(ours, ScriptFlow(), accept), LinkEnd(theirs, ScriptFlow(), accept)]
    for end in ends:
        for direction in Direction:
            end.carrier(direction, True, 1, False, 0)
    heard = exchange(ends)
    (record,) = [item.record for item in heard[0] if isinstance(item, PeerTrained)]
    assert (record.byte_order, record.data_model) == (order, model)
    (record,) = [item.record for item in heard[1] if isinstance(item, PeerTrained)]
    assert (record.byte_order, record.data_model) == (ByteOrder.LITTLE, DataModel.LP64)


def accept(_node_id: int, _incarnation: int) -> Admission:
    return Verdict.ACCEPT


def exchange(ends: list[SansIoLink]) -> list[list[Output]]:
    """Carry frames to and fro until both ends are quiet. Returns what else each end put out."""
    others: list[list[Output]] = [[], []]
    quiet = False
    while not quiet:
        quiet = True
        for index, end in enumerate(ends):
            for output in end.take_outputs():
                if isinstance(output, Transmit):
                    quiet = False
                    ends[1 - index].receive(output.frame, 0)
                else:
                    others[index].append(output)
    return others


def post_some(world: MemoryLink, index: int) -> None:
    node = world.nodes[index]
    if node.peer_incarnation == 0:
        return  # no pair yet
    for _ in range(world.random.randrange(1, 12)):
        node.post(world.random.randbytes(world.random.choice([0, 8, 200, 900])))
    world.kick(index)


def assert_each_epoch_is_a_prefix(sender: MemoryNode, receiver: MemoryNode) -> None:
    """What the link delivered in an epoch is what was sent in it, in order, up to where it
    ended."""
    for (life, epoch), messages in receiver.delivered.items():
        if life == sender.config.incarnation:
            assert messages == sender.sent.get(epoch, [])[: len(messages)]


def assert_healed(world: MemoryLink) -> None:
    for node in world.nodes:
        assert node.rx_up
        assert node.tx_up
        statistics = node.pair.statistics()
        assert (statistics.outstanding, statistics.queued, statistics.unsettled) == (0, 0, 0)
        counts = Counter(outcome.token for outcome in node.outcomes)
        assert set(counts.values()) <= {1}
    for sender, receiver in (world.nodes, world.nodes[::-1]):
        assert_each_epoch_is_a_prefix(sender, receiver)


def received_of(receiver: MemoryNode, sender: MemoryNode) -> list[int]:
    life = sender.config.incarnation
    return [message.id for source, message in receiver.received if source == life]


def faulty(make_link: MakeLink, kind: str, seed: int) -> MemoryLink:
    """Two nodes that trained before their cable went bad."""
    world = MemoryLink(make_link, seed=seed)
    world.splice()
    world.run_for(100 * MS)
    world.set_faults(KINDS[kind])
    return world


def assert_all_arrived(world: MemoryLink) -> None:
    """Nobody died: whatever was posted arrived, in order, and its sender knows."""
    assert_healed(world)
    for sender, receiver in (world.nodes, world.nodes[::-1]):
        arrived = received_of(receiver, sender)
        assert arrived == sorted(arrived)
        assert Counter(arrived) == Counter(outcome.token for outcome in sender.outcomes)
        assert {outcome.kind for outcome in sender.outcomes} <= {OutcomeKind.SETTLED}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@seeded
@given(seed=seeds)
def test_everything_arrives_once_and_in_order(make_link: MakeLink, kind: str, seed: int) -> None:
    world = faulty(make_link, kind, seed)
    posters = world.random.choice([[], [0], [1], [0, 1]])  # an idle direction heals in another way
    for _ in range(10):
        if posters:
            post_some(world, world.random.choice(posters))
        world.run_for(world.random.choice([1, 10, 60, 600]) * MS)
    world.set_faults(Faults())
    world.run_for(HEAL_NS)
    assert_all_arrived(world)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@seeded
@given(seed=seeds)
def test_cuts_delay_and_lose_nothing(make_link: MakeLink, kind: str, seed: int) -> None:
    world = faulty(make_link, kind, seed)
    for _ in range(15):
        writer = world.random.randrange(2)
        world.set_carrier(writer, up=world.random.random() < 0.6)
        post_some(world, world.random.randrange(2))
        world.run_for(world.random.choice([1, 30, 1500]) * MS // 2)
    world.set_faults(Faults())
    world.splice()
    world.run_for(HEAL_NS)
    assert_all_arrived(world)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@seeded
@given(seed=seeds)
def test_restarts_never_mix_lives(make_link: MakeLink, kind: str, seed: int) -> None:
    world = faulty(make_link, kind, seed)
    lives = list(world.nodes)
    for _ in range(12):
        event = world.random.random()
        if event < 0.4:
            index = world.random.randrange(2)
            world.restart(index, with_carrier=world.random.random() < 0.5)
            lives.append(world.nodes[index])
        elif event < 0.6:
            world.set_carrier(world.random.randrange(2), up=world.random.random() < 0.7)
        post_some(world, world.random.randrange(2))
        world.run_for(world.random.choice([1, 30, 1500]) * MS // 2)
    world.set_faults(Faults())
    world.splice()
    world.run_for(HEAL_NS)
    assert_healed(world)
    for receiver in lives:
        for sender in lives:
            received = received_of(receiver, sender)
            if receiver.config.node_id != sender.config.node_id:
                assert len(received) == len(set(received)), "delivered twice"
                assert received == sorted(received), "out of order"
    for sender, receiver in (world.nodes, world.nodes[::-1]):
        settled = [o.token for o in sender.outcomes if o.kind is OutcomeKind.SETTLED]
        missing = set(received_of(receiver, sender)) - set(settled)
        assert not missing, "received and not settled between two lives that are there"


@seeded
@given(seed=seeds, start=st.permutations(["a_tx", "a_rx", "b_tx", "b_rx"]))
def test_every_start_order_trains(make_link: MakeLink, seed: int, start: list[str]) -> None:
    world = MemoryLink(make_link, seed=seed)
    world.splice()
    for half in start:  # each half of each direction blinks on its own, at its own time
        index = 0 if half[0] == "a" else 1
        direction = Direction.TX if half.endswith("tx") else Direction.RX
        link = world.nodes[index].link
        link.carrier(direction, False, 100, True, world.now_ns)
        world.kick(index)
        world.run_for(world.random.randrange(40 * MS))
        link.carrier(direction, True, 101, True, world.now_ns)
        world.kick(index)
        world.run_for(world.random.randrange(40 * MS))
    world.run_for(200 * MS)
    assert_healed(world)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(pieces=st.lists(st.binary(max_size=400), max_size=20), seed=seeds)
def test_no_bytes_crash_an_end(make_link: MakeLink, pieces: list[bytes], seed: int) -> None:
    """Arbitrary bytes, and good frames with a few bytes changed and their checksum made good
    again."""
    chance = random.Random(seed)
    link = make_link(config_of("a", {"cable_frames": True}), ScriptFlow(), _accept)
    for direction in Direction:
        link.carrier(direction, True, 1, False, 0)
    templates = _frames_of_a_conversation(make_link)
    for now_ns, piece in enumerate(pieces):
        link.receive(piece, now_ns)
        frame = bytearray(chance.choice(templates))
        for _ in range(chance.randrange(4)):
            frame[chance.randrange(len(frame))] = chance.randrange(256)
        link.receive(_seal(bytes(frame)), now_ns)
        link.tick(now_ns)
        link.take_outputs()
    link.next_deadline_ns()
    link.statistics()


def _accept(_node_id: int, _incarnation: int) -> Verdict:
    return Verdict.ACCEPT


def _frames_of_a_conversation(make_link: MakeLink) -> list[bytes]:
    """Frames that end b sends to end a: TRAIN, DATA in pieces, ACK, DOWN."""
    ends = [make_link(config_of(name, {}), ScriptFlow(), _accept) for name in ("a", "b")]
    frames: list[bytes] = []
    for end in ends:
        for direction in Direction:
            end.carrier(direction, True, 1, False, 0)
    for now_ns in range(8):
        for end, other in (ends, ends[::-1]):
            for output in end.take_outputs():
                if isinstance(output, Transmit):
                    other.receive(output.frame, now_ns)
                    frames += [output.frame] if end is ends[1] else []
    ends[1].send(bytes([2, 1, 0, 1]) + bytes(16) + (600).to_bytes(4, "little") + bytes(600), 9)
    ends[1].tick(200 * MS)
    ends[1].close(201 * MS)
    frames += [out.frame for out in ends[1].take_outputs() if isinstance(out, Transmit)]
    return frames


def _seal(frame: bytes) -> bytes:
    """Return the frame with right checksums, so that the checks behind them are reached."""
    head = bytearray(frame[:60])
    payload = frame[64:]
    head[56:60] = crc32c(payload).to_bytes(4, "little") if payload else bytes(4)
    head[36:40] = len(payload).to_bytes(4, "little")
    return bytes(head) + crc32c(bytes(head)).to_bytes(4, "little") + payload


@given(noise=st.lists(st.binary(max_size=200), min_size=2, max_size=6), cuts=seeds)
@settings(max_examples=60, deadline=None)
def test_stream_finds_every_frame_between_noise(noise: list[bytes], cuts: int) -> None:
    """Frames survive any noise between them that does not itself begin a frame."""
    chance = random.Random(cuts)
    quiet = [piece.replace(b"M", b"m") for piece in noise]
    link_frames = _stream_frames(len(quiet) - 1)
    stream_bytes = b"".join(
        piece + frame for piece, frame in zip(quiet, [*link_frames, b""], strict=True)
    )
    stream = FrameStream(256)
    found: list[bytes] = []
    rest = stream_bytes
    while rest:
        size = chance.randrange(1, 100)
        found += stream.feed(rest[:size])
        rest = rest[size:]
    assert found == link_frames
    assert stream.skipped_bytes >= sum(map(len, quiet[:-1]))


def _stream_frames(count: int) -> list[bytes]:
    return [cable_frame(Direction.TX, up=True, generation=n) for n in range(count)]
