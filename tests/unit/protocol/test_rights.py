# SPDX-License-Identifier: MIT
"""Codecs of complex messages, accounts and NODE messages for any content and any bytes, and the
account of rights that a node holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.protocol.constants import ClusterConstants
from emulator.protocol.flipc import CONTROL_RESERVE, UNTOLD_MAX, IpcArrived, Pair
from emulator.protocol.message_parts import (
    DESCRIPTORS_MAX,
    RIGHTS_MAX,
    BytesPart,
    Part,
    PortPart,
    PortsPart,
    parse_parts,
    serialize_parts,
)
from emulator.protocol.mnl import (
    MNL_HEADER_SIZE,
    RIGHTS_COUNT_MAX,
    Death,
    FlipcCommand,
    Hello,
    MachMessage,
    MnlHeader,
    Nak,
    Rights,
    RightsEntry,
    RightsOperation,
    Sub,
)
from emulator.protocol.names import make_name
from emulator.protocol.rights import Carried, HeldRights, carried
from emulator.protocol.wire_types import Disposition, MalformedMessage

GIVER = 1
HOLDER = 0
SEND, ONCE = Disposition.SEND, Disposition.SEND_ONCE

u8 = st.integers(0, 0xFF)
u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFFFFFF)
u64 = st.integers(0, 2**64 - 1)
i32 = st.integers(-(2**31), 2**31 - 1)
homes = st.none() | st.integers(0, 0xFFFE)
ordinary_names = st.builds(make_name, u16, st.integers(1, 0xFFFF), st.integers(1, 0xFFFFFFFF))
names = st.builds(make_name, u16, u16, st.integers(1, 0xFFFFFFFF))
null_ports = st.builds(PortPart, name=st.just(0), disposition=st.sampled_from([SEND, ONCE]))


def ports(disposition: Disposition) -> st.SearchStrategy[PortPart]:
    if disposition is Disposition.RECEIVE:
        return st.builds(
            PortPart,
            name=ordinary_names,
            disposition=st.just(disposition),
            limit=st.integers(1, 1024),
        )
    right = st.just(disposition)
    null = st.builds(PortPart, name=st.just(0), disposition=right)
    return null | st.builds(PortPart, name=names, disposition=right, home=homes)


def arrays(disposition: Disposition) -> st.SearchStrategy[PortsPart]:
    content = st.lists(ports(disposition), max_size=6).map(tuple)
    return st.builds(PortsPart, disposition=st.just(disposition), ports=content)


dispositions = st.sampled_from([Disposition.RECEIVE, SEND, ONCE])
parts: st.SearchStrategy[Part] = (
    dispositions.flatmap(ports)
    | dispositions.flatmap(arrays)
    | st.builds(BytesPart, st.binary(max_size=40))
)


@st.composite
def messages(draw: st.DrawFn) -> MachMessage:
    local = draw(st.just(0) | names)
    return MachMessage(
        remote=draw(u64),
        id=draw(i32),
        body=draw(st.binary(max_size=40)),
        local=local,
        remote_disposition=draw(st.sampled_from([SEND, ONCE])),
        local_disposition=draw(st.sampled_from([SEND, ONCE])) if local else Disposition.NONE,
        local_home=draw(homes) if local else None,
        sender=draw(u16),
        resumed=draw(st.booleans()),
        parts=tuple(draw(st.lists(parts, max_size=8))),
    )


entries = st.builds(RightsEntry, name=u64, operation=u32, value=u32)


@given(messages())
def test_messages_round_trip(message: MachMessage) -> None:
    payload = message.serialize()
    assert MachMessage.parse(payload, message.remote) == message
    assert message.size_bytes == len(payload)
    assert len(payload) % 8 == 0 or not message.parts


@given(st.builds(Rights, entries=st.lists(entries, max_size=RIGHTS_COUNT_MAX).map(tuple)))
def test_accounts_round_trip(rights: Rights) -> None:
    assert Rights.parse(rights.serialize()) == rights


@given(
    st.builds(Nak, sequence=u32, reason=u32, resend_to=i32)
    | st.builds(Death, node_id=u32, cause=u32, incarnation=u64)
    | st.builds(
        Hello,
        incarnation=u64,
        protocol_minimum=u8,
        protocol_maximum=u8,
        data_model=u8,
        byte_order=u8,
    )
)
def test_control_messages_round_trip(payload: Nak | Death | Hello) -> None:
    assert type(payload).parse(payload.serialize()) == payload


@pytest.mark.parametrize(
    "parse",
    [
        parse_parts,
        Rights.parse,
        Nak.parse,
        Death.parse,
        Hello.parse,
        lambda data: MachMessage.parse(data, 0),
    ],
    ids=["parts", "rights", "nak", "death", "hello", "mach"],
)
@given(data=st.binary(max_size=120))
def test_any_bytes_are_a_message_or_malformed(
    parse: Callable[[bytes], object], data: bytes
) -> None:
    try:
        parse(data)
    except MalformedMessage:
        return


@given(message=messages(), data=st.data())
def test_a_damaged_message_is_another_or_malformed(
    message: MachMessage, data: st.DataObject
) -> None:
    """What is understood is what would be written, but for the padding."""
    payload = bytearray(message.serialize())
    at = data.draw(st.integers(0, len(payload) - 1))
    payload[at] = data.draw(u8)
    try:
        understood = MachMessage.parse(bytes(payload), message.remote)
    except MalformedMessage:
        return
    again = understood.serialize()
    assert len(again) == len(payload)
    assert MachMessage.parse(again, message.remote) == understood


@given(st.binary(max_size=200), st.integers(1, 7))
def test_a_message_cut_short_is_malformed(body: bytes, missing: int) -> None:
    data = serialize_parts(body, [BytesPart(b"12345678")])
    with pytest.raises(MalformedMessage):
        parse_parts(data[:-missing])


@pytest.mark.parametrize(
    ("count", "is_sound"), [(DESCRIPTORS_MAX, True), (DESCRIPTORS_MAX + 1, False)]
)
def test_descriptors_are_bounded(count: int, is_sound: bool) -> None:
    data = serialize_parts(b"", [BytesPart(b"")] * count)
    if is_sound:
        assert len(parse_parts(data)[1]) == count
        return
    with pytest.raises(MalformedMessage):
        parse_parts(data)


@pytest.mark.parametrize("array_first", [True, False])
def test_rights_are_bounded_in_every_order(array_first: bool) -> None:
    null = PortPart(name=0, disposition=SEND)
    array = PortsPart(disposition=SEND, ports=(null,) * RIGHTS_MAX)
    both: list[Part] = [array, null] if array_first else [null, array]
    assert parse_parts(serialize_parts(b"", [array]))[1] == (array,)
    with pytest.raises(MalformedMessage):
        parse_parts(serialize_parts(b"", both))


# Holding -----------------------------------------------------------------------------------------

OTHER = 3
port_serials = st.integers(1, 3)
held_rights = st.builds(
    lambda serial, disposition, home, is_reply: Carried(
        name=make_name(GIVER, 1, serial), disposition=disposition, home=home, is_reply=is_reply
    ),
    port_serials,
    st.sampled_from([SEND, ONCE]),
    st.sampled_from([None, GIVER, HOLDER, OTHER]),
    st.booleans(),
)
steps = st.one_of(
    st.tuples(st.just("take"), st.lists(held_rights, max_size=5), st.booleans()),
    st.tuples(st.just("release"), port_serials, st.sampled_from([SEND, ONCE])),
    st.tuples(st.just("leave"), port_serials, st.integers(0, 2)),
    st.tuples(st.just("use"), port_serials, st.none()),
    st.tuples(st.just("dead"), port_serials, st.none()),
    st.tuples(st.just("moved"), port_serials, st.none()),
    st.tuples(st.just("all"), st.none(), st.none()),
    st.tuples(st.just("died"), st.none(), st.none()),
)


class Giver:
    """What the other node has on the holder's account, by what it gave and was told."""

    def __init__(self) -> None:
        self.account: Counter[tuple[int, Disposition]] = Counter()

    def told(self, back: tuple[RightsEntry, ...]) -> None:
        for entry in back:
            disposition = SEND if entry.operation == RightsOperation.DROP_SEND else ONCE
            self.account[entry.name, disposition] -= entry.value
            assert self.account[entry.name, disposition] >= 0, "given back what was not given"


def play(held: HeldRights, giver: Giver, step: tuple[str, object, object]) -> None:
    match step:
        case "take", list(rights), bool(keep):
            for right in rights:
                giver.account[right.name, right.disposition] += right.home != HOLDER
            giver.told(held.take(rights, keep=keep))
        case "release", int(serial), Disposition() as disposition:
            giver.told(held.release(make_name(GIVER, 1, serial), disposition))
        case "leave", int(serial), int(leave):
            giver.told(held.release(make_name(GIVER, 1, serial), SEND, leave=leave))
            assert held.count(make_name(GIVER, 1, serial), SEND) <= leave
        case "use", int(serial), _:
            name = make_name(GIVER, 1, serial)
            giver.account[name, ONCE] -= held.count(name, ONCE) > 0
            held.use_once(name)
        case ("dead" | "moved") as word, int(serial), _:
            name = make_name(GIVER, 1, serial)
            operation = RightsOperation["PORT_" + word.upper()]
            giver.told(held.told([RightsEntry(name=name, operation=operation)]))
            if word == "dead":
                giver.account[name, SEND] = giver.account[name, ONCE] = 0
        case "all", _, _:
            giver.told(held.release_all())
        case _:
            held.died()
            giver.account.clear()


@given(st.lists(steps, max_size=30))
def test_the_giver_s_account_is_what_is_held(
    program: list[tuple[str, object, object]],
) -> None:
    held, giver = HeldRights(HOLDER, GIVER), Giver()
    for step in program:
        play(held, giver, step)
        for (name, disposition), count in giver.account.items():
            assert held.count(name, disposition) == count
        counts = held.statistics()
        assert counts.received == counts.held + counts.given_back + counts.used + counts.void
        assert counts.held == giver.account.total()
    giver.told(held.release_all())
    assert not +giver.account
    assert held.statistics().held == 0


@given(messages())
def test_rights_are_carried_in_order(message: MachMessage) -> None:
    rights = carried(message)
    assert [right.is_reply for right in rights] == sorted(
        (right.is_reply for right in rights), reverse=True
    )
    assert sum(right.is_reply for right in rights) == (message.local != 0)
    assert all(right.name for right in rights)


# In a pair ---------------------------------------------------------------------------------------

DESTINATION = make_name(HOLDER, 1, 1)


def arrive(pair: Pair, sequence: int, message: MachMessage) -> object:
    payload = message.serialize()
    header = MnlHeader(
        sub=Sub.FLIPC,
        cmd=FlipcCommand.IPC,
        sequenced=True,
        node_id=GIVER,
        object=message.remote,
        options=sequence,
        size=len(payload),
    )
    return pair.receive(header.serialize() + payload, 0)


def told_by(pair: Pair) -> list[RightsEntry]:
    sent: list[bytes] = []

    def send(message: bytes) -> bool:
        sent.append(message)
        return True

    pair.pump(send)
    found: list[RightsEntry] = []
    for message in sent:
        if MnlHeader.parse(message).cmd == FlipcCommand.RIGHTS:
            found += Rights.parse(message[MNL_HEADER_SIZE:]).entries
    return found


def holder() -> Pair:
    return Pair(node_id=HOLDER, constants=ClusterConstants(), peer_id=GIVER)


def test_what_is_untold_is_added_up() -> None:
    pair = holder()
    port = make_name(GIVER, 1, 5)
    for sequence in range(10):
        right = PortPart(name=port, disposition=SEND)
        arrive(pair, sequence, MachMessage(remote=DESTINATION, id=1, parts=(right, right)))
        pair.consumed(sequence, 0)
    pair.peer(0, 64)
    assert told_by(pair) == [RightsEntry(name=port, operation=RightsOperation.DROP_SEND, value=20)]
    assert told_by(pair) == []


def test_a_reply_right_is_held_until_it_is_used() -> None:
    pair = holder()
    pair.peer(0, 64)
    port = make_name(GIVER, 1, 5)
    request = MachMessage(remote=DESTINATION, id=1, local=port, local_disposition=ONCE)
    for sequence in range(2):
        arrive(pair, sequence, request)
        pair.consumed(sequence, 0)
    assert pair.held(port, ONCE) == 2
    pair.enqueue(MachMessage(remote=port, id=101, remote_disposition=ONCE), None)
    assert told_by(pair) == []
    assert pair.held(port, ONCE) == 1
    pair.give_back(port, ONCE)
    assert told_by(pair) == [RightsEntry(name=port, operation=RightsOperation.DEAD_ONCE)]
    rights = pair.statistics().rights
    assert (rights.received, rights.used, rights.given_back, rights.held) == (2, 1, 1, 0)


def test_a_giver_that_lets_nothing_be_told_gives_nothing_any_more() -> None:
    """Its credit stays at 0, so everything given back waits; it waits in bounded memory."""
    pair = holder()
    serial = refused = 0
    for sequence in range(40):
        array = tuple(
            PortPart(name=make_name(GIVER, 1, serial + i + 1), disposition=SEND)
            for i in range(RIGHTS_MAX)
        )
        serial += RIGHTS_MAX
        parts_of_it = (PortsPart(disposition=SEND, ports=array),)
        arrival = arrive(pair, sequence, MachMessage(remote=DESTINATION, id=1, parts=parts_of_it))
        if isinstance(arrival, IpcArrived):
            pair.consumed(sequence, 0)
        else:
            refused += 1
    assert refused == 40 - UNTOLD_MAX // RIGHTS_MAX
    assert pair.statistics().refused == refused
    told = told_by(pair)
    assert len(told) <= CONTROL_RESERVE * RIGHTS_COUNT_MAX
