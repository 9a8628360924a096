# SPDX-License-Identifier: MIT
"""Plays the conversations of tests/data/vectors/link/*.json between two ends of a link.

A script has two ends, a (node 1) and b (node 2), and steps. Each step does one thing, then every
output of both ends is
collected: transmitted frames wait in an outbox until a later step moves, drops or damages them.
    `expect` lists, per end, the
frames and the other outputs of that step, each in order; of a record only the fields written there
are compared.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from crc32c import crc32c

from emulator.protocol.constants import (
    MESSAGE_MAX_DEFAULT,
    Admission,
    ClusterConstants,
    Direction,
    FrameType,
    LinkDrop,
    LinkReason,
    LinkRefusal,
    Verdict,
)
from emulator.protocol.frames import (
    FrameHeader,
    RefuseRecord,
    TrainRecord,
    cable_frame,
    encode_frame,
)
from emulator.protocol.link_types import (
    Confirmed,
    Deliver,
    Dropped,
    LinkConfig,
    Output,
    PeerTrained,
    Refused,
    StateChanged,
    Transmit,
)
from emulator.testing.memory_link import MakeLink

__all__ = [
    "End",
    "Json",
    "Player",
    "ScriptFlow",
    "check_step",
    "config_of",
    "describe",
    "mnl_message",
    "number",
    "outcome_of",
]

Json = dict[str, Any]
NS_PER_US: Final = 1000
LIFE: Final = 0x1_0000_0001
_ENDS: Final[Json] = {
    "a": {"node_id": 1, "peer_id": 2, "incarnation": LIFE},
    "b": {"node_id": 2, "peer_id": 1, "incarnation": LIFE},
}
_OTHER: Final = {"a": "b", "b": "a"}


class ScriptFlow:
    """FLIPC numbers that a script sets; remembers what the peer said."""

    def __init__(self) -> None:
        self.values: Json = {"ack": 0, "credit": 64, "flipc_next": 0, "deadline_us": None}
        self.heard: tuple[int, int] | None = None
        self.lives: list[int] = []

    def peer_changed(self, incarnation: int) -> None:
        self.lives.append(incarnation)
        self.heard = None

    def ack(self) -> int:
        self.values["deadline_us"] = None
        return int(self.values["ack"])

    def credit(self) -> int:
        return int(self.values["credit"])

    def flipc_next(self) -> int:
        return int(self.values["flipc_next"])

    def peer(self, flipc_ack: int, flipc_credit: int) -> None:
        self.heard = (flipc_ack, flipc_credit)

    def ack_deadline_ns(self) -> int | None:
        deadline_us = self.values["deadline_us"]
        return None if deadline_us is None else int(deadline_us) * NS_PER_US


def mnl_message(size: int, fill: int) -> bytes:
    """Return an mnl message of `size` bytes in all; the link reads only its size field."""
    body = bytes((fill + i) & 0xFF for i in range(size - 24))
    return bytes([2, 1, 0, 1]) + bytes(16) + len(body).to_bytes(4, "little") + body


def number(value: int | str) -> int:
    """Return a number that a script may have written in hexadecimal."""
    return value if isinstance(value, int) else int(value, 0)


def config_of(name: str, fields: Json) -> LinkConfig:
    """Return the configuration of an end; a script names what differs from the defaults."""
    merged = {**_ENDS[name], **fields}
    constants = ClusterConstants(**merged.pop("constants", {}))
    merged["incarnation"] = number(merged["incarnation"])
    return LinkConfig(constants=constants, **{"mtu": 256, **merged})


class End:
    """One end of a script."""

    def __init__(self, make_link: MakeLink, name: str, fields: Json) -> None:
        self.name = name
        self.fields = fields
        self.admission: Admission = Verdict.ACCEPT
        self.flow = ScriptFlow()
        self.outbox: list[bytes] = []
        self.link = make_link(config_of(name, fields), self.flow, self._admit)

    def _admit(self, _node_id: int, _incarnation: int) -> Admission:
        return self.admission


class Player:
    """Plays one script."""

    def __init__(self, make_link: MakeLink, script: Json) -> None:
        self._make_link = make_link
        fields = script.get("ends", {})
        self.ends = {name: End(make_link, name, fields.get(name, {})) for name in _ENDS}
        self.now_us = 1000
        self.collected: dict[str, list[Output]] = {}

    def play(self, step: Json) -> dict[str, list[Output]]:
        """Do one step and return what came out of each end."""
        self.now_us = max(self.now_us, int(step.get("at_us", self.now_us)))
        self.collected = {name: [] for name in self.ends}
        action = getattr(self, f"_do_{step['do']}")
        action(step)
        self._collect()
        return self.collected

    @property
    def now_ns(self) -> int:
        """The time of both ends."""
        return self.now_us * NS_PER_US

    def _collect(self) -> None:
        for name, end in self.ends.items():
            outputs = end.link.take_outputs()
            self.collected[name] += outputs
            end.outbox += [out.frame for out in outputs if isinstance(out, Transmit)]

    def _deliver(self, source: str, frame: bytes) -> None:
        self.ends[_OTHER[source]].link.receive(frame, self.now_ns)
        self._collect()

    def _do_carrier(self, step: Json) -> None:
        for name in step["ends"]:
            for direction in step.get("directions", ["TX", "RX"]):
                self.ends[name].link.carrier(
                    Direction[direction],
                    step["up"],
                    step.get("generation", 1),
                    step.get("checked", False),
                    self.now_ns,
                )

    def _do_move(self, step: Json) -> None:
        outbox = self.ends[step["from"]].outbox
        for _ in range(step.get("count", len(outbox))):
            self._deliver(step["from"], outbox.pop(0))

    def _do_drop(self, step: Json) -> None:
        outbox = self.ends[step["from"]].outbox
        del outbox[: step.get("count", len(outbox))]

    def _do_duplicate(self, step: Json) -> None:
        self._deliver(step["from"], self.ends[step["from"]].outbox[0])

    def _do_swap(self, step: Json) -> None:
        outbox = self.ends[step["from"]].outbox
        outbox[0], outbox[1] = outbox[1], outbox[0]

    def _do_corrupt(self, step: Json) -> None:
        frame = bytearray(self.ends[step["from"]].outbox.pop(0))
        frame[step["offset"]] ^= step["xor"]
        self._deliver(step["from"], bytes(frame))

    def _do_settle(self, step: Json) -> None:
        """Move frames, one from each end in turn, until nothing is on its way; `lost` ends' frames
        vanish."""
        self._collect()
        while any(end.outbox for end in self.ends.values()):
            for name, end in self.ends.items():
                if name in step.get("lost", []):
                    end.outbox.clear()
                elif end.outbox:
                    self._deliver(name, end.outbox.pop(0))

    def _do_wait(self, step: Json) -> None:
        """Go on to a time, ticking at every deadline and moving frames as `settle` does."""
        until_us = step["until_us"]
        while True:
            self._do_settle(step)
            deadlines = [end.link.next_deadline_ns() for end in self.ends.values()]
            next_ns = min((d for d in deadlines if d is not None), default=None)
            if next_ns is None or next_ns > until_us * NS_PER_US:
                break
            self.now_us = max(self.now_us, -(-next_ns // NS_PER_US))
            for end in self.ends.values():
                end.link.tick(self.now_ns)
        self.now_us = until_us

    def _do_tick(self, step: Json) -> None:
        self.ends[step["end"]].link.tick(self.now_ns)

    def _do_send(self, step: Json) -> None:
        message = mnl_message(step["size"], step.get("fill", 0))
        for _ in range(step.get("count", 1)):
            accepted = self.ends[step["end"]].link.send(message, self.now_ns)
            assert accepted is step.get("accepted", True), step
            self._collect()

    def _do_inject(self, step: Json) -> None:
        self.ends[step["to"]].link.receive(self._frame(step), self.now_ns)

    def _do_cable(self, step: Json) -> None:
        frame = cable_frame(
            Direction[step["direction"]],
            up=step["up"],
            generation=step["generation"],
            checked=step.get("checked", True),
        )
        self.ends[step["to"]].link.receive(frame, self.now_ns)

    def _do_admit(self, step: Json) -> None:
        answer = step["answer"]
        self.ends[step["end"]].admission = (
            Verdict[answer] if answer in Verdict.__members__ else LinkRefusal[answer]
        )

    def _do_flow(self, step: Json) -> None:
        self.ends[step["end"]].flow.values.update(step["values"])

    def _do_restart(self, step: Json) -> None:
        """The end's node has a new life; what it had written is still on its way."""
        old = self.ends[step["end"]]
        fields = {**old.fields, "incarnation": step["incarnation"]}
        new = End(self._make_link, old.name, fields)
        new.outbox = old.outbox
        self.ends[old.name] = new

    def _do_close(self, step: Json) -> None:
        self.ends[step["end"]].link.close(self.now_ns)

    def _do_garbage(self, step: Json) -> None:
        self.ends[step["end"]].link.garbage(self.now_ns)

    def _do_peer_dead(self, step: Json) -> None:
        self.ends[step["end"]].link.peer_dead(number(step["incarnation"]), self.now_ns)

    def _do_nothing(self, _step: Json) -> None:
        """Only the checks of the step count."""

    def _frame(self, step: Json) -> bytes:
        """Return a frame for `to` with the fields of the step, the rest as its peer would write
        it."""
        if "hex" in step:
            return bytes.fromhex(step["hex"])
        payload = self._payload(step)
        target = self.ends[step["to"]]
        config = config_of(target.name, target.fields)
        fields: Json = {
            "src_node": config.peer_id,
            "dst_node": config.node_id,
            "src_incarnation": LIFE,
            "dst_incarnation": config.incarnation,
            "src_epoch": 1,
            "dst_epoch": 1,
            "flags": 0,
            "length": len(payload),
            "seq": 0,
            "ack": 0,
            "flipc_ack": 0,
            "flipc_credit": 0,
            "payload_crc": crc32c(payload) if payload else 0,
        }
        fields.update(step.get("header", {}))
        fields["type"] = FrameType[step["type"]] if step["type"] in FrameType.__members__ else 99
        header = FrameHeader(**{key: number(value) for key, value in fields.items()})
        return encode_frame(header, payload)

    def _payload(self, step: Json) -> bytes:
        if "train" in step:
            fields = dict(step["train"])
            constants = ClusterConstants(**fields.pop("constants", {}))
            record = TrainRecord(mtu=256, message_max=MESSAGE_MAX_DEFAULT, constants=constants)
            return replace(record, **fields).serialize()
        if "refuse" in step:
            refuse = step["refuse"]
            return RefuseRecord(
                reason=LinkRefusal[refuse["reason"]], incarnation=number(refuse["incarnation"])
            ).serialize()
        if "message" in step:
            message = mnl_message(step["message"]["size"], step["message"].get("fill", 0))
            return message[slice(*step["message"].get("cut", [None, None]))]
        return bytes.fromhex(step.get("payload", ""))


def describe(output: Output) -> tuple[str, Json]:
    """Return an output as scripts write it."""
    match output:
        case Transmit(frame):
            header = FrameHeader.parse(frame)
            return FrameType(header.type).name, {
                "src_epoch": header.src_epoch,
                "dst_epoch": header.dst_epoch,
                "dst_incarnation": hex(header.dst_incarnation),
                "flags": header.flags,
                "seq": header.seq,
                "ack": header.ack,
                "length": header.length,
                "flipc_ack": header.flipc_ack,
                "flipc_credit": header.flipc_credit,
                "crc": header.payload_crc != 0,
            }
        case Deliver(message):
            return "Deliver", {"size": len(message), "crc32c": hex(crc32c(message))}
        case StateChanged():
            return "StateChanged", {
                "rx_up": output.rx_up,
                "tx_up": output.tx_up,
                "epoch": output.epoch,
                "peer_epoch": output.peer_epoch,
                "peer_incarnation": hex(output.peer_incarnation),
                "reason": LinkReason(output.reason).name,
                "flipc_next": output.flipc_next,
            }
        case PeerTrained():
            return "PeerTrained", {
                "node_id": output.node_id,
                "incarnation": hex(output.incarnation),
                "is_new_life": output.is_new_life,
            }
        case Dropped(reason):
            return "Dropped", {"reason": LinkDrop(reason).name}
        case Refused():
            return "Refused", {
                "by_us": output.by_us,
                "reason": LinkRefusal(output.reason).name,
                "incarnation": hex(output.incarnation),
            }
        case Confirmed(message_count):
            return "Confirmed", {"message_count": message_count}


def outcome_of(outputs: list[Output]) -> Json:
    """Return the outputs of one end in one step: frames and everything else, each in order."""
    described = [(isinstance(output, Transmit), describe(output)) for output in outputs]
    return {
        "frames": [{"type": kind, **fields} for is_frame, (kind, fields) in described if is_frame],
        "events": [
            {"event": kind, **fields} for is_frame, (kind, fields) in described if not is_frame
        ],
    }


def check_step(player: Player, step: Json, outputs: dict[str, list[Output]]) -> None:
    """Compare what came out of a step, and the state after it, with what the script expects."""
    for name, expected in step.get("expect", {}).items():
        actual = outcome_of(outputs[name])
        for stream in ("frames", "events"):
            wanted = expected.get(stream, [])
            shown = [
                {key: value for key, value in got.items() if key in want}
                for got, want in zip(actual[stream], wanted, strict=False)
            ]
            assert (shown, len(actual[stream])) == (wanted, len(wanted)), (
                f"{step.get('why', step['do'])}: {stream} of {name}: {actual[stream]}"
            )
    for name, fields in step.get("state", {}).items():
        statistics = player.ends[name].link.statistics()
        actual = {key: getattr(statistics, key) for key in fields}
        assert actual == fields, f"{step.get('why', step['do'])}: state of {name}"
    for name, drops in step.get("drops", {}).items():
        statistics = player.ends[name].link.statistics()
        actual = {drop.name: statistics.drops[drop] for drop in LinkDrop if statistics.drops[drop]}
        assert actual == drops, f"{step.get('why', step['do'])}: drops of {name}"
    for name, deadline_us in step.get("deadline_us", {}).items():
        deadline_ns = player.ends[name].link.next_deadline_ns()
        assert deadline_ns == (None if deadline_us is None else deadline_us * NS_PER_US), (
            f"{step.get('why', step['do'])}: deadline of {name}"
        )
    for name, heard in step.get("heard", {}).items():
        assert player.ends[name].flow.heard == tuple(heard)
