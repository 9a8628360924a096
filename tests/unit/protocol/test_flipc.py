# SPDX-License-Identifier: MIT
"""FLIPC: messages and scripted pairs of tests/data/vectors/flipc, and pairs under a hostile path
between them."""

from __future__ import annotations

import dataclasses
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.protocol import flipc_source
from emulator.protocol.constants import ClusterConstants
from emulator.protocol.flipc import Pair
from emulator.protocol.flipc_types import Arrival, CreditBroken, DeathTold, IpcArrived, OutcomeKind
from emulator.protocol.mnl import (
    AckSnapshot,
    Death,
    FlipcCommand,
    MachMessage,
    MnlHeader,
    Nak,
    NakReason,
    Sub,
)
from emulator.protocol.names import make_name
from emulator.protocol.wire_types import MalformedMessage

VECTORS = Path(__file__).parents[2] / "data" / "vectors" / "flipc"
MESSAGES = json.loads((VECTORS / "messages.json").read_text())
SCRIPTS = sorted(VECTORS.glob("pair_*.json"))
Json = dict[str, Any]


def named(vectors: list[Json]) -> list[Any]:
    return [pytest.param(vector, id=vector["name"]) for vector in vectors]


def mach_of(fields: Json) -> MachMessage:
    message = MachMessage.parse(
        MachMessage(remote=int(fields["remote"], 0), id=fields["id"]).serialize(),
        int(fields["remote"], 0),
    )
    return MachMessage(
        remote=message.remote,
        id=message.id,
        body=bytes.fromhex(fields["body"]),
        local=int(fields["local"], 0),
        remote_disposition=fields["remote_disposition"],
        local_disposition=fields["local_disposition"],
    )


def payload_of(vector: Json) -> MachMessage | AckSnapshot | Nak | Death:
    if "mach" in vector:
        return mach_of(vector["mach"])
    if "snapshot" in vector:
        snapshot = vector["snapshot"]
        return AckSnapshot(**{**snapshot, "unsettled": tuple(snapshot["unsettled"])})
    return Nak(**vector["nak"]) if "nak" in vector else Death(**vector["death"])


@pytest.mark.parametrize("vector", named(MESSAGES["good"]))
def test_message_both_ways(vector: Json) -> None:
    message = bytes.fromhex(vector["hex"])
    fields = {**vector["header"], "object": int(vector["header"]["object"], 0)}
    header, payload = MnlHeader(**fields), payload_of(vector)
    assert MnlHeader.parse(message) == header
    assert header.serialize() + payload.serialize() == message
    if isinstance(payload, MachMessage):
        told = dataclasses.replace(payload, qos=header.qos)
        assert MachMessage.parse(message[24:], header.object, header.qos) == told
    else:
        assert type(payload).parse(message[24:]) == payload


def parse_as(kind: str, message: bytes) -> None:
    header = MnlHeader.parse(message)
    if kind == "mach":
        MachMessage.parse(message[24:], header.object)
    parsers = {"snapshot": AckSnapshot.parse, "nak": Nak.parse, "death": Death.parse}
    if kind in parsers:
        parsers[kind](message[24:])


@pytest.mark.parametrize("vector", named(MESSAGES["bad"]))
def test_message_that_is_none(vector: Json) -> None:
    with pytest.raises(MalformedMessage):
        parse_as(vector["kind"], bytes.fromhex(vector["hex"]))


class PairPlayer:
    """Plays a script on one pair; the script is its peer."""

    def __init__(self, constants: ClusterConstants) -> None:
        self.pair = Pair(node_id=1, constants=constants)
        self.now_us = 0
        self.arrival: Arrival | None = None
        self.sent: list[bytes] = []

    def play(self, step: Json) -> None:
        self.now_us = step.get("now_us", self.now_us)
        self.arrival = None
        self.sent = []
        getattr(self, f"_do_{step['do']}")(step)

    def _do_enqueue(self, step: Json) -> None:
        message = MachMessage(remote=make_name(2, 1, step["port"]), id=step["id"])
        self.pair.enqueue(message, step["id"])

    def _do_enqueue_death(self, step: Json) -> None:
        self.pair.enqueue_death(
            Death(node_id=step["node_id"], cause=1, incarnation=step["incarnation"])
        )

    def _do_pump(self, step: Json) -> None:
        room = step.get("room", 1000)

        def send(message: bytes) -> bool:
            if len(self.sent) >= room:
                return False
            self.sent.append(message)
            return True

        self.pair.pump(send)

    def _do_peer(self, step: Json) -> None:
        self.pair.peer(step["ack_in"] if "ack_in" in step else step["ack"], step["credit"])

    def _do_resume(self, step: Json) -> None:
        self.pair.resume(step["next"])

    def _do_died(self, _step: Json) -> None:
        self.pair.died()

    def _do_header(self, _step: Json) -> None:
        self.pair.ack()

    def _do_consumed(self, step: Json) -> None:
        self.pair.consumed(step["sequence"], self.now_us * 1000)

    def _do_refuse(self, step: Json) -> None:
        self.pair.refuse(step["sequence"], NakReason[step["reason"]])

    def _do_snapshot(self, step: Json) -> None:
        expected = step["snapshot"]
        assert AckSnapshot.parse(self.pair.snapshot()[24:]) == AckSnapshot(
            **{**expected, "unsettled": tuple(expected["unsettled"])}
        )
        self.pair.snapshot_sent()

    def _do_receive(self, step: Json) -> None:
        name = make_name(1, 1, 1)
        payload = (
            bytes.fromhex(step["payload"])
            if "payload" in step
            else MachMessage(remote=name, id=step["id"]).serialize()
        )
        self._take(Sub.FLIPC, FlipcCommand.IPC, payload, step["sequence"], name)

    def _do_receive_nak(self, step: Json) -> None:
        nak = Nak(sequence=step["refused"], reason=step["reason"])
        self._take(Sub.FLIPC, FlipcCommand.NAK, nak.serialize(), step["sequence"])

    def _do_receive_death(self, step: Json) -> None:
        death = Death(node_id=step["node_id"], cause=1, incarnation=1)
        self._take(Sub.NODE, 1, death.serialize(), step["sequence"])

    def _do_receive_snapshot(self, step: Json) -> None:
        snapshot = AckSnapshot(
            next_expected=step["next_expected"],
            credit=step["credit"],
            unsettled=tuple(step["unsettled"]),
        )
        self._take(Sub.FLIPC, FlipcCommand.ACK, snapshot.serialize(), None)

    def _do_receive_raw(self, step: Json) -> None:
        self.arrival = self.pair.receive(bytes.fromhex(step["hex"]), self.now_us * 1000)

    def _take(
        self, sub: int, cmd: int, payload: bytes, sequence: int | None, name: int = 0
    ) -> None:
        header = MnlHeader(
            sub=sub,
            cmd=cmd,
            sequenced=sequence is not None,
            node_id=2,
            object=name,
            options=sequence or 0,
            size=len(payload),
        )
        self.arrival = self.pair.receive(header.serialize() + payload, self.now_us * 1000)


def describe_sent(message: bytes) -> list[Any]:
    header = MnlHeader.parse(message)
    payload = message[24:]
    if (header.sub, header.cmd) == (Sub.FLIPC, FlipcCommand.IPC):
        return [header.options, "IPC", MachMessage.parse(payload, header.object).id]
    if header.sub == Sub.FLIPC:
        nak = Nak.parse(payload)
        return [header.options, "NAK", [nak.sequence, nak.reason]]
    death = Death.parse(payload)
    return [header.options, "DEATH", [death.node_id, death.incarnation]]


def describe_arrival(arrival: Arrival | None) -> list[Any] | None:
    match arrival:
        case IpcArrived(sequence, message):
            return ["ipc", sequence, message.id]
        case CreditBroken(sequence, limit):
            return ["credit", sequence, limit]
        case DeathTold(death):
            return ["death", death.node_id]
        case _:
            assert arrival is None
            return None


def us(deadline_ns: int | None) -> int | None:
    return None if deadline_ns is None else deadline_ns // 1000


def state_of(player: PairPlayer, step: Json) -> Json:
    """Return what the step checks, as it is."""
    pair = player.pair
    found: Json = {}
    if "sent" in step:
        found["sent"] = [describe_sent(message) for message in player.sent]
    if "count" in step:
        found["count"] = len(player.sent)
    if "arrival" in step:
        found["arrival"] = describe_arrival(player.arrival)
    if "outcomes" in step:
        found["outcomes"] = [
            [o.token, o.kind.value, *([o.reason.name] if o.reason is not None else [])]
            for o in pair.take_outcomes()
        ]
    if "statistics" in step:
        statistics = pair.statistics()
        found["statistics"] = {key: getattr(statistics, key) for key in step["statistics"]}
    if "ack_deadline_us" in step:
        found["ack_deadline_us"] = us(pair.ack_deadline_ns())
    if "snapshot_deadline_us" in step:
        found["snapshot_deadline_us"] = us(pair.snapshot_deadline_ns())
    if "flipc_next" in step:
        found["flipc_next"] = pair.flipc_next()
    if step["do"] != "peer" and "credit" in step and "receive_snapshot" not in step["do"]:
        found["credit"] = pair.credit()
    if "ack" in step and (step["do"] != "peer" or "ack_in" in step):
        found["ack"] = pair.ack()
    return found


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_pair(path: Path) -> None:
    script = json.loads(path.read_text())
    player = PairPlayer(ClusterConstants(**script.get("constants", {})))
    for step in script["steps"]:
        player.play(step)
        found = state_of(player, step)
        assert found == {key: step[key] for key in found}, step


class BadPath:
    """Two pairs and a path between them that loses, repeats and forgets, decided by a seed."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        constants = ClusterConstants(window=self.chance.choice([1, 4, 64]))
        self.pairs = [Pair(node_id=n, constants=constants) for n in (1, 2)]
        self.accepted: list[list[IpcArrived]] = [[], []]
        self.parked: list[list[int]] = [[], []]
        self.tokens = [0, 0]

    def enqueue_some(self, i: int) -> None:
        for _ in range(self.chance.randrange(8)):
            name = make_name(2 - i, 1, self.chance.choice([1, 2, 3]))
            self.pairs[i].enqueue(MachMessage(remote=name, id=self.tokens[i]), self.tokens[i])
            self.tokens[i] += 1

    def cross(self, i: int, *, loss: float) -> None:
        """Let pair i send what it may; each message arrives, or not, or twice."""
        sender, receiver = self.pairs[i], self.pairs[1 - i]
        flying: list[bytes] = []

        def send(message: bytes) -> bool:
            flying.append(message)
            return True

        sender.pump(send)
        if sender.snapshot_deadline_ns() is not None:
            flying.append(sender.snapshot())
            sender.snapshot_sent()
        for message in flying:
            for _ in range(self.chance.choice([1, 1, 2])):
                if self.chance.random() >= loss:
                    self.take(1 - i, receiver.receive(message, 0))
        if self.chance.random() >= loss:
            receiver.peer(sender.ack(), sender.credit())

    def take(self, i: int, arrival: Arrival | None) -> None:
        assert not isinstance(arrival, CreditBroken)
        if isinstance(arrival, IpcArrived):
            self.accepted[i].append(arrival)
            self.parked[i].append(arrival.sequence)

    def settle(self, i: int, *, share: float) -> None:
        """Let receivers of pair i take messages in any order, or refuse them."""
        self.chance.shuffle(self.parked[i])
        while self.parked[i] and self.chance.random() < share:
            sequence = self.parked[i].pop()
            if self.chance.random() < 0.1:
                self.pairs[i].refuse(sequence, NakReason.DEAD_PORT)
            else:
                self.pairs[i].consumed(sequence, 0)

    def retrain(self, i: int) -> None:
        """A new epoch of the link that carries pair i's messages."""
        known = self.pairs[1 - i].flipc_next() if self.chance.random() < 0.5 else None
        self.pairs[i].resume(known)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_two_pairs_over_a_bad_path(seed: int) -> None:
    """Each message is accepted once, in order per port, and gets one outcome."""
    path = BadPath(seed)
    for _ in range(40):
        i = path.chance.randrange(2)
        path.enqueue_some(i)
        path.cross(i, loss=0.3)
        path.settle(1 - i, share=0.5)
        if path.chance.random() < 0.3:
            path.retrain(i)
    for _ in range(500):  # a window of 1 needs as many turns as there are messages
        for i in (0, 1):
            path.retrain(i)
            path.cross(i, loss=0.0)
            path.settle(1 - i, share=1.1)
    for i in (0, 1):
        outcomes = path.pairs[i].take_outcomes()
        everything = list(range(path.tokens[i]))
        assert Counter(o.token for o in outcomes) == Counter(everything)
        accepted = path.accepted[1 - i]
        assert sorted(arrival.message.id for arrival in accepted) == everything
        for port in (1, 2, 3):
            ids = [a.message.id for a in accepted if a.message.remote & 0xFF == port]
            assert ids == sorted(ids)
        failed = sum(outcome.kind is OutcomeKind.FAILED for outcome in outcomes)
        assert failed == path.pairs[1 - i].statistics().refused


def test_a_stuck_port_does_not_stall_the_others() -> None:
    """One message stays unsettled; far more than a window of others follow it, one by one."""
    constants = ClusterConstants()
    source, sink = (Pair(node_id=n, constants=constants) for n in (1, 2))
    stuck, other = make_name(2, 1, 1), make_name(2, 1, 2)
    source.enqueue(MachMessage(remote=stuck, id=0), "stuck")
    source.peer(0, sink.credit())
    for turn in range(4 * (constants.window + 64)):
        source.enqueue(MachMessage(remote=other, id=turn), turn)
        sent = pumped(source)
        assert sent, f"stalled after {turn} messages"
        for message in sent:
            arrival = sink.receive(message, 0)
            assert isinstance(arrival, IpcArrived)
            if arrival.message.remote == other:
                sink.consumed(arrival.sequence, 0)
        source.receive(sink.snapshot(), 0)
    assert all(outcome.kind is OutcomeKind.SETTLED for outcome in source.take_outcomes())
    assert source.statistics().outstanding == 1


def test_whatever_credit_a_peer_claims_memory_is_bounded() -> None:
    constants = ClusterConstants(window=4)
    source = Pair(node_id=1, constants=constants)
    for token in range(200):
        source.enqueue(MachMessage(remote=make_name(2, 1, 1), id=token), token)
    source.peer(0, 1 << 20)
    assert len(pumped(source)) == constants.window + 64
    assert source.statistics().queued == 200 - constants.window - 64


def test_a_stuck_message_ends_the_stream_before_its_number_is_ambiguous(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(flipc_source, "SEQUENCE_SPAN", 100)
    source = Pair(node_id=1, constants=ClusterConstants())
    sent = 0
    for turn in range(300):
        source.enqueue(MachMessage(remote=make_name(2, 1, 1), id=turn), turn)
        source.peer(0, turn + 2)
        sent += len(pumped(source))
        settled = AckSnapshot(next_expected=sent, credit=sent + 2, unsettled=(0,)).serialize()
        header = MnlHeader(
            sub=Sub.FLIPC, cmd=FlipcCommand.ACK, sequenced=False, node_id=2, size=len(settled)
        )
        source.receive(header.serialize() + settled, 0)
    assert sent == 100


def pumped(pair: Pair) -> list[bytes]:
    """What a pair sends now."""
    sent: list[bytes] = []

    def send(message: bytes) -> bool:
        sent.append(message)
        return True

    pair.pump(send)
    return sent


@given(st.lists(st.binary(max_size=120), max_size=30))
def test_no_bytes_crash_a_pair(messages: list[bytes]) -> None:
    pair = Pair(node_id=1, constants=ClusterConstants())
    for message in messages:
        pair.receive(message, 0)
    assert pair.statistics().malformed + pair.statistics().received <= len(messages) + 1
