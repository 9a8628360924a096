# SPDX-License-Identifier: MIT
"""Offsets and numbers that the firmware's headers and this package must agree on."""

from __future__ import annotations

import re
from enum import IntEnum
from pathlib import Path

import pytest

from emulator.links import cable_page
from emulator.machines import blackbox, boot_page, machine
from emulator.model import DeathCause
from emulator.protocol import constants

ABI = Path(__file__).parents[3] / "firmware" / "include" / "abi"


def header(name: str) -> str:
    return (ABI / name).read_text(encoding="ascii")


def constant(text: str, name: str) -> int:
    match = re.search(rf"#define {name} (0x[0-9a-f]+|\d+)", text)
    assert match is not None, name
    return int(match[1], 0)


@pytest.mark.parametrize(
    ("file", "name", "ours"),
    [
        ("boot.h", "BOOT_AREA_OFFSET", boot_page.BOOT_PAGE_OFFSET),
        ("boot.h", "BOOT_COUNT_OFFSET", boot_page.BOOT_COUNT_OFFSET),
        ("boot.h", "BOOT_TEXT_MAXIMUM", boot_page.BOOT_TEXT_MAXIMUM),
        ("boot.h", "BOOT_VERSION", boot_page.BOOT_VERSION),
        ("boot.h", "BOOT_MAGIC", int.from_bytes(boot_page.BOOT_MAGIC, "little")),
        ("boot.h", "BOOT_COUNT_MAGIC", int.from_bytes(boot_page.COUNT_MAGIC, "little")),
        ("boot.h", "BOOT_BLACKBOX_OFFSET", blackbox.BLACKBOX_OFFSET),
        ("boot.h", "BOOT_BLACKBOX_SIZE", blackbox.BLACKBOX_BYTES),
        ("boot.h", "BOOT_RAM_MINIMUM", machine.RAM_BYTES_MINIMUM),
        ("blackbox.h", "BLACKBOX_MAGIC", int.from_bytes(blackbox.BLACKBOX_MAGIC, "little")),
        ("blackbox.h", "BLACKBOX_VERSION", blackbox.BLACKBOX_VERSION),
        ("blackbox.h", "BLACKBOX_EVENTS_OFFSET", blackbox.EVENTS_OFFSET),
        ("blackbox.h", "BLACKBOX_EVENT_COUNT", blackbox.EVENT_COUNT),
        ("blackbox.h", "BLACKBOX_LEDGERS_OFFSET", blackbox.LEDGERS_OFFSET),
        ("blackbox.h", "BLACKBOX_LEDGER_COUNT", blackbox.LEDGER_COUNT),
        ("blackbox.h", "BLACKBOX_PANIC_MAXIMUM", blackbox.PANIC_MAXIMUM),
        ("cable.h", "CABLE_MAGIC", int.from_bytes(cable_page.CABLE_MAGIC, "little")),
        ("cable.h", "CABLE_VERSION", cable_page.CABLE_VERSION),
        ("cable.h", "CABLE_REGION_SIZE", cable_page.REGION_BYTES),
        ("cable.h", "CABLE_RING_CONTROL_SIZE", cable_page.RING_CONTROL_BYTES),
        ("cable.h", "CABLE_RING_DATA_SIZE", cable_page.RING_DATA_BYTES),
        ("cable.h", "CABLE_END_CHECKED", cable_page.FLAG_CHECKED),
    ],
)
def test_constant(file: str, name: str, ours: int) -> None:
    assert constant(header(file), name) == ours


@pytest.mark.parametrize(
    ("file", "prefix", "ours"),
    [
        ("blackbox.h", "BLACKBOX_STATE_", blackbox.BoxState),
        ("blackbox.h", "BLACKBOX_EVENT_", blackbox.BoxEventKind),
        ("frame.h", "FRAME_", constants.FrameType),
        ("frame.h", "LINK_REFUSAL_", constants.LinkRefusal),
        ("frame.h", "LINK_REASON_", constants.LinkReason),
        ("frame.h", "LINK_DROP_(?!COUNT)", constants.LinkDrop),
        ("frame.h", "NODE_DEATH_", constants.NodeDeathCause),
        ("frame.h", "NODE_DEATH_", DeathCause),
    ],
)
def test_enumeration(file: str, prefix: str, ours: type[IntEnum]) -> None:
    theirs = re.findall(rf"^\s+{prefix}(\w+) = (\d+),", header(file), re.MULTILINE)
    assert {name: int(value) for name, value in theirs} == {item.name: item.value for item in ours}
