# SPDX-License-Identifier: MIT
"""Sequences of tests/data/vectors/flipc/sequences.json: what a node does as home of a port, as holder
of rights and when ports move, byte by byte.

The C core plays the same in firmware/tests/unit/test_flipc_sequences.c. Node 1 has port 0 and port 1,
which is told what happens, and knows nodes 2 and 3.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from emulator.protocol.constants import ClusterConstants
from emulator.protocol.ipc import IpcSpace, Neighbour, Port, PortItem, SendResult, Transfer
from emulator.protocol.names import make_name
from emulator.protocol.wire_types import Disposition
from emulator.testing.mesh import Recorder

SEQUENCES = Path(__file__).parents[2] / "data" / "vectors" / "flipc" / "sequences.json"
WORLD = json.loads(SEQUENCES.read_text(encoding="utf-8"))["world"]
LIFE = WORLD["incarnation"]
TAG = 0x0102
SERIAL_THERE = 9
MESSAGE_ID = 7
Step = list[Any]


class Player:
    """Node 1. `handles` are rights: ports 0 and 1 first, then what it gets, in order."""

    def __init__(self) -> None:
        self.space = IpcSpace(
            node_id=1,
            incarnation=LIFE,
            constants=ClusterConstants(nodes_max=WORLD["nodes_max"]),
            observer=Recorder(),
        )
        self.nodes: dict[int, Neighbour] = {}
        self.sent = {2: 0, 3: 0}
        for node_id in self.sent:
            node = self.nodes[node_id] = self.space.neighbour(node_id)
            self.space.came_up(node, LIFE, 65536)
            node.pair.peer(0, 64)
        self.handles: list[tuple[Port, Disposition] | None] = []
        for _ in range(2):
            port = self.space.create(limit=WORLD["limit"])
            self.space.name_of(port)
            self.handles.append((port, Disposition.RECEIVE))

    def outs(self) -> list[Step]:
        """Return what goes out now, as steps."""
        found: list[Step] = []
        for node_id, node in self.nodes.items():
            messages: list[bytes] = []

            def send(message: bytes, messages: list[bytes] = messages) -> bool:
                messages.append(message)
                return True

            node.pair.pump(send)
            self.sent[node_id] += len(messages)
            found += [["out", node_id, message.hex()] for message in messages]
        return found

    def handle(self, index: int) -> tuple[Port, Disposition]:
        handle = self.handles[index]
        assert handle is not None
        return handle

    def play(self, step: Step) -> None:
        match step:
            case ["in", int(node_id), str(data)]:
                arrival = self.space.receive(self.nodes[node_id], bytes.fromhex(data), 0)
                assert arrival is None
            case ["settled", int(node_id)]:
                sent = self.sent[node_id]
                self.nodes[node_id].pair.peer(sent, sent + 64)
                self.space.drain(self.nodes[node_id])
            case ["receive", int(index), int(message_id)]:
                self._receive(index, message_id)
            case ["nothing", int(index)]:
                assert self.space.next_message(self.handle(index)[0], 0) is None
            case ["drop", int(index)]:
                self.space.release(*self.handle(index))
                self.handles[index] = None
            case ["name", int(node_id)]:
                port = self.space.right_to(make_name(node_id, TAG, SERIAL_THERE))
                assert port is not None
                self.handles.append((port, Disposition.SEND))
            case ["send", int(to), *what]:
                self._send(to, what)
            case ["die", int(node_id)]:
                self.space.died(self.nodes.pop(node_id))
            case ["ask", int(index)]:
                assert self.space.notify_no_senders(self.handle(index)[0], self.handle(1)[0])
            case _:
                raise AssertionError(step)

    def _receive(self, index: int, message_id: int) -> None:
        message = self.space.next_message(self.handle(index)[0], 0)
        assert message is not None
        assert message.id == message_id
        for slot in message.slots():
            kind, port = slot.disposition, self.space.take(message, slot)
            if port is not None:
                self.handles.append((port, kind))
        self.space.discard(message)

    def _send(self, to: int, what: list[Any]) -> None:
        items: list[PortItem] = []
        if what:
            transfer, index = Transfer[what[0]], what[1]
            items.append(PortItem(self.handle(index)[0], transfer))
            if what[0].startswith("MOVE"):
                self.handles[index] = None
        message = self.space.message(MESSAGE_ID, items=items)
        port, kind = self.handle(to)
        is_once = kind is Disposition.SEND_ONCE
        assert message is not None
        assert self.space.send(message, port, is_once=is_once) is SendResult.DONE
        if is_once:
            self.handles[to] = None

    def end(self) -> None:
        """Give everything back; nothing is left but what has to be told."""
        for index, handle in enumerate(self.handles):
            if handle is not None:
                self.play(["drop", index])
        assert self.space.names == {}


def sequences() -> list[Any]:
    content = json.loads(SEQUENCES.read_text(encoding="utf-8"))["sequences"]
    return [pytest.param(sequence, id=sequence["name"]) for sequence in content]


@pytest.mark.parametrize("sequence", sequences())
def test_sequence(sequence: dict[str, Any]) -> None:
    player = Player()
    expected: list[Step] = []
    found: list[Step] = []
    for step in sequence["steps"]:
        if step[0] == "out":
            expected.append(step)
            continue
        assert found == expected
        player.play(step)
        found, expected = player.outs(), []
    assert found == expected
    for node_id in list(player.nodes):
        player.play(["die", node_id])
    player.end()
