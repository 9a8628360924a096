# SPDX-License-Identifier: MIT
"""Codecs of complex messages, accounts and NODE messages for any content and any bytes, and the
account of rights that a node holds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    RIGHTS_COUNT_MAX,
    Death,
    Hello,
    MachMessage,
    Nak,
    Rights,
    RightsEntry,
)
from emulator.protocol.names import make_name
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
