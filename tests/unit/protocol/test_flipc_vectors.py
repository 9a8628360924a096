# SPDX-License-Identifier: MIT
"""Messages as they arrive, of tests/data/vectors/flipc: parsed, written, and taken or refused.

The C core plays the same in firmware/tests/unit/test_flipc_vectors.c.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from emulator.protocol.constants import ClusterConstants
from emulator.protocol.flipc import Pair
from emulator.protocol.flipc_types import Arrival, DeathTold, NodeLeft, OutcomeKind
from emulator.protocol.ipc import IpcSpace, SendResult
from emulator.protocol.message_parts import BytesPart, Part, PortPart, PortsPart
from emulator.protocol.mnl import (
    MNL_HEADER_SIZE,
    FlipcCommand,
    MachMessage,
    MnlHeader,
    Nak,
    NakReason,
    NodeCommand,
    Rights,
    RightsEntry,
    RightsOperation,
    Sub,
)
from emulator.protocol.peer import Peer
from emulator.protocol.wire_types import Disposition
from emulator.testing.mesh import Recorder

REPOSITORY = Path(__file__).parents[3]
VECTORS = REPOSITORY / "tests" / "data" / "vectors" / "flipc"
SENDER = 2
THERE = 0x0002_0102_0000_0009
Json = dict[str, Any]


def vectors(name: str) -> tuple[Json, list[Any]]:
    content = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
    return content["world"], [pytest.param(v, id=v["name"]) for v in content["messages"]]


WORLD, COMPLEX = vectors("complex")
_, RIGHTS = vectors("rights")
_, NODE = vectors("node")
_, NAKS = vectors("naks")
LIFE = WORLD["incarnation"]
PORT = int(WORLD["port"], 0)


class Receiver:
    """The node that takes a vector, with one port and one neighbour, and what it tells that."""

    def __init__(self) -> None:
        self.recorder = Recorder()
        self.space = IpcSpace(
            node_id=WORLD["receiver"],
            incarnation=LIFE,
            constants=ClusterConstants(nodes_max=WORLD["nodes_max"]),
            observer=self.recorder,
        )
        self.port = self.space.create()
        assert self.space.name_of(self.port) == PORT
        self.node = self.space.neighbour(SENDER)
        self.space.came_up(self.node, LIFE, 65536)
        self.pair = self.node.pair
        self.pair.identify(Peer(node_id=SENDER, incarnation=LIFE))
        self.pair.peer(0, 64)

    def take(self, vector: Json) -> Arrival | None:
        return self.space.receive(self.node, bytes.fromhex(vector["hex"]), 0)

    def told(self) -> list[tuple[MnlHeader, bytes]]:
        """Return the header and the payload of everything that it sends now."""
        sent: list[bytes] = []

        def send(message: bytes) -> bool:
            sent.append(message)
            return True

        self.pair.pump(send)
        return [(MnlHeader.parse(message), message[MNL_HEADER_SIZE:]) for message in sent]

    def rights_told(self) -> list[RightsEntry]:
        """Return the accounts that it tells now; it tells nothing else."""
        entries: list[RightsEntry] = []
        for header, payload in self.told():
            assert (header.sub, header.cmd) == (Sub.FLIPC, FlipcCommand.RIGHTS)
            entries += Rights.parse(payload).entries
        return entries


def entries_of(rows: list[list[Any]]) -> list[RightsEntry]:
    return [
        RightsEntry(
            name=int(name, 0),
            operation=RightsOperation[operation] if isinstance(operation, str) else operation,
            value=value,
        )
        for name, operation, value in rows
    ]


def in_any_order(entries: list[RightsEntry]) -> list[tuple[int, int, int]]:
    return sorted((entry.name, entry.operation, entry.value) for entry in entries)


def port_of(fields: Json) -> PortPart:
    return PortPart(
        name=int(fields["port"], 0),
        disposition=Disposition[fields["right"]],
        home=fields["home"],
        limit=fields["limit"],
    )


def part_of(fields: Json) -> Part:
    if "bytes" in fields:
        return BytesPart(bytes.fromhex(fields["bytes"]))
    if "ports" in fields:
        ports = tuple(port_of(port) for port in fields["ports"])
        return PortsPart(disposition=Disposition[fields["right"]], ports=ports)
    return port_of(fields)


def message_of(vector: Json) -> MachMessage:
    mach = dict(vector.get("mach", {}))
    if "local" in mach:
        mach["local"] = int(mach["local"], 0)
        mach["local_disposition"] = Disposition[mach["local_disposition"]]
    return MachMessage(
        **{
            "remote": PORT,
            "id": 7,
            "body": bytes.fromhex(vector["body"]),
            "parts": tuple(part_of(fields) for fields in vector["parts"]),
            **mach,
        }
    )


def good(params: list[Any]) -> list[Any]:
    return [param for param in params if "refused" not in param.values[0]]


@pytest.mark.parametrize("vector", good(COMPLEX))
def test_complex_message_both_ways(vector: Json) -> None:
    data = bytes.fromhex(vector["hex"])[MNL_HEADER_SIZE:]
    message = message_of(vector)
    assert MachMessage.parse(data, PORT) == message
    assert message.serialize() == data
    assert message.size_bytes == len(data)


@pytest.mark.parametrize("vector", COMPLEX)
def test_complex_message_is_taken_or_refused(vector: Json) -> None:
    """A receiver that keeps nothing takes it; a message may be refused even then."""
    receiver = Receiver()
    assert receiver.take(vector) is None
    message = receiver.space.next_message(receiver.port, 0)
    if "refused" in vector:
        assert message is None
        ((header, payload),) = receiver.told()
        assert (header.sub, header.cmd) == (Sub.FLIPC, FlipcCommand.NAK)
        assert Nak.parse(payload) == Nak(sequence=0, reason=NakReason[vector["refused"]])
        return
    assert message is not None
    receiver.space.discard(message)
    told = receiver.rights_told()
    if "given_back" in vector:
        assert in_any_order(told) == in_any_order(entries_of(vector["given_back"]))


@pytest.mark.parametrize("vector", RIGHTS)
def test_accounts(vector: Json) -> None:
    receiver = Receiver()
    assert receiver.take(vector) is None
    assert receiver.pair.flipc_next() == 1
    malformed = receiver.pair.statistics().malformed
    assert receiver.space.dropped + malformed == vector["dropped"]
    assert malformed == (vector["entries"] is None)
    assert not receiver.port.has_senders()
    assert in_any_order(receiver.rights_told()) == in_any_order(entries_of(vector["told"]))
    if vector["entries"] is not None:
        payload = bytes.fromhex(vector["hex"])[MNL_HEADER_SIZE:]
        assert Rights(entries=tuple(entries_of(vector["entries"]))).serialize() == payload


@pytest.mark.parametrize("vector", NODE)
def test_node_message(vector: Json) -> None:
    receiver = Receiver()
    arrival = receiver.take(vector)
    assert receiver.pair.flipc_next() == 1
    assert receiver.pair.statistics().malformed == (vector["taken"] is None)
    assert arrival == (NodeLeft() if vector["taken"] == "LEAVE" else None)


def test_a_pair_that_knows_no_peer_believes_its_word() -> None:
    pair = Pair(node_id=1, constants=ClusterConstants())
    words = {param.values[0]["name"]: bytes.fromhex(param.values[0]["hex"]) for param in NODE}
    assert pair.receive(words["hello_life"], 0) is None
    assert pair.statistics().malformed == 0
    for name, arrival in (("leave_life", NodeLeft), ("death", DeathTold)):
        pair = Pair(node_id=1, constants=ClusterConstants())
        assert isinstance(pair.receive(words[name], 0), arrival)


@pytest.mark.parametrize("vector", NAKS)
def test_refusal(vector: Json) -> None:
    receiver = Receiver()
    proxy = receiver.space.right_to(THERE)
    message = receiver.space.message(1, token="token")
    assert proxy is not None
    assert message is not None
    assert receiver.space.send(message, proxy) is SendResult.DONE
    assert len(receiver.told()) == 1
    assert receiver.take(vector) is None
    outcomes, again = receiver.recorder.outcomes, receiver.told()
    match vector["outcome"]:
        case None:
            assert (outcomes, again) == ([], [])
            assert receiver.pair.statistics().malformed == 1
        case ["again"]:
            ((header, payload),) = again
            assert MachMessage.parse(payload, header.object) == MachMessage(
                remote=THERE, id=1, resumed=True
            )
            assert outcomes == []
        case [_, reason]:
            (outcome,) = outcomes
            assert (outcome.token, outcome.kind) == ("token", OutcomeKind.FAILED)
            assert outcome.reason is NakReason[reason]
            assert again == []
    if "nak" in vector:
        payload = bytes.fromhex(vector["hex"])[MNL_HEADER_SIZE:]
        assert Nak.parse(payload) == Nak(**vector["nak"])
        assert Nak(**vector["nak"]).serialize() == payload


def test_every_command_has_vectors() -> None:
    commands = {param.values[0]["taken"] for param in NODE} - {None}
    assert commands == {command.name for command in NodeCommand} - {"DEATH"}
    told = {row[1] for param in RIGHTS for row in param.values[0]["entries"] or ()}
    assert {operation.name for operation in RightsOperation} <= told
    reasons = {
        param.values[0]["outcome"][1]
        for param in NAKS
        if param.values[0]["outcome"] and len(param.values[0]["outcome"]) == 2
    }
    assert reasons == {reason.name for reason in NakReason}


def test_the_tables_of_the_c_tests_are_up_to_date() -> None:
    command = [sys.executable, str(REPOSITORY / "tools" / "flipc_vectors.py"), "--check"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
