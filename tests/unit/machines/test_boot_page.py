# SPDX-License-Identifier: MIT
"""The boot page, byte by byte, and the boot count."""

from __future__ import annotations

import struct
from dataclasses import replace

import crc32c
import pytest

from emulator.errors import UsageError
from emulator.machines.boot_page import (
    BOOT_COUNT_OFFSET,
    BootArguments,
    BootLink,
    BootRoute,
    build_boot_page,
    read_boot_count,
    read_incarnation,
)
from emulator.model import ClusterConstants, Idle, LinkKind, NodeId, Trace
from emulator.protocol.route import Transit
from emulator.testing.box_writer import raise_boot_count

MANAGEMENT = BootLink(
    name="host",
    kind=LinkKind.VIRTIO_SERIAL,
    slot=1,
    peer=NodeId(0),
    payload_crc=True,
    replay=True,
)
RAW = BootLink(
    name="a-b",
    kind=LinkKind.IVSHMEM,
    slot=2,
    peer=NodeId(2),
    payload_crc=False,
    replay=False,
    raw=True,
)
TEXT = """node.id=1
node.name=a
launch=3
seed=18446744073709551615
nodes_max=64
window=64
keepalive_ns=100000000
link_down_after_ns=1000000000
dead_after_ns=3000000000
ack_delay_ns=100000
ack_count=16
idle=halt
poll_ns=50000
trace=digests
servers=echo traffic
link=name:host kind:virtio-serial slot:1 peer:0 payload_crc:1 replay:1 use:link
link=name:a-b kind:ivshmem slot:2 peer:2 payload_crc:0 replay:0 use:raw
"""


def test_a_link_that_a_server_drives() -> None:
    driven = replace(RAW, raw=False, driver="mnl_ring")
    assert driven.line().endswith(" use:driver driver:mnl_ring")


def arguments(*links: BootLink) -> BootArguments:
    return BootArguments(
        node_id=NodeId(1),
        node_name="a",
        launch=3,
        seed=(1 << 64) - 1,
        constants=ClusterConstants(),
        idle=Idle.HALT,
        poll_ns=50_000,
        trace=Trace.DIGESTS,
        servers=("echo", "traffic"),
        links=links,
    )


def test_text() -> None:
    assert arguments(MANAGEMENT, RAW).text() == TEXT


def test_routes_and_transits_follow_the_links() -> None:
    route = BootRoute(name="a-c.via-b", peer=NodeId(3), via=1, route=9)
    transit = Transit(route=7, ends=(2, 4), links=(0, 1))
    told = replace(arguments(MANAGEMENT, RAW), routes=(route,), transits=(transit,))
    assert told.text() == TEXT + (
        "link=name:a-c.via-b kind:route peer:3 via:1 route:9\ntransit=7 2:0 4:1\n"
    )


def test_version_is_written_only_where_it_is_asked_for() -> None:
    assert "version" not in RAW.line()
    assert replace(RAW, version=2).line() == RAW.line() + " version:2"


def test_page_is_laid_out_as_specified() -> None:
    page = build_boot_page(arguments(MANAGEMENT, RAW))
    text = TEXT.encode()
    assert len(page) == 4096
    assert page[0:8] == b"MNLBOOT1"
    assert page[8:12] == b"\x01\0\0\0"
    assert page[12:16] == len(text).to_bytes(4, "little")
    assert page[16:20] == crc32c.crc32c(text).to_bytes(4, "little")
    assert page[20:64] == bytes(44)
    assert page[64 : 64 + len(text)] == text
    assert page[64 + len(text) :] == bytes(4096 - 64 - len(text))


def test_crc_is_castagnoli() -> None:
    assert crc32c.crc32c(b"123456789") == 0xE3069283


def test_text_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match=r"boot arguments take \d+ bytes of 4032"):
        build_boot_page(arguments(*([RAW] * 60)))


def test_thirty_links_with_the_longest_names_fit() -> None:
    long = BootLink(
        name="x" * 31,
        kind=LinkKind.VIRTIO_SERIAL,
        slot=31,
        peer=NodeId(1023),
        payload_crc=True,
        replay=True,
    )
    build_boot_page(arguments(*([long] * 31)))


def test_boot_count() -> None:
    ram = memoryview(bytearray(0x900000))
    assert read_boot_count(ram) == 0
    assert read_incarnation(ram, 3) == 0
    record = b"MNLCOUNT" + struct.pack("<I", 2)
    record += struct.pack("<I", crc32c.crc32c(record))
    ram[BOOT_COUNT_OFFSET : BOOT_COUNT_OFFSET + 16] = record
    assert read_boot_count(ram) == 2
    assert read_incarnation(ram, 3) == 3 << 32 | 2
    assert raise_boot_count(ram) == 3
    assert read_boot_count(ram) == 3
    ram[BOOT_COUNT_OFFSET + 8] ^= 1
    assert read_boot_count(ram) == 0
