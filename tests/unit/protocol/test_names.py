# SPDX-License-Identifier: MIT
"""Names of ports between nodes."""

from __future__ import annotations

import pytest

from emulator.errors import HostError
from emulator.protocol.names import (
    NAME_NULL,
    NameAllocator,
    bootstrap_port,
    describe,
    is_well_known,
    kernel_port,
    make_name,
    node_of,
    serial_of,
    tag_of,
    tag_of_incarnation,
)


def test_parts_of_a_name() -> None:
    name = make_name(0x0102, 0x0304, 0x05060708)
    assert name == 0x0102_0304_0506_0708
    assert (node_of(name), tag_of(name), serial_of(name)) == (0x0102, 0x0304, 0x05060708)
    assert describe(name) == "258.772.84281096"
    assert describe(NAME_NULL) == "null"


def test_well_known_names_have_tag_0() -> None:
    assert bootstrap_port(3) == 0x0003_0000_0000_0001
    assert kernel_port(3) == 0x0003_0000_0000_0002
    assert is_well_known(kernel_port(0))
    assert not is_well_known(NAME_NULL)
    assert not is_well_known(make_name(3, 1, 2))


def test_tag_is_never_that_of_well_known_names() -> None:
    for incarnation in (0, 1, 65534, 65535, 1 << 32, (7 << 32) | 65535, (1 << 64) - 1):
        assert 1 <= tag_of_incarnation(incarnation) <= 65535


def test_names_of_a_life_are_given_out_once() -> None:
    names = NameAllocator(5, 9)
    assert names.last_serial == 0
    given = [names.allocate() for _ in range(3)]
    assert given == [make_name(5, tag_of_incarnation(9), serial) for serial in (1, 2, 3)]
    assert names.last_serial == 3


def test_names_run_out_loudly(monkeypatch: pytest.MonkeyPatch) -> None:
    names = NameAllocator(5, 9)
    monkeypatch.setattr(names, "_serial", 0xFFFFFFFF)
    with pytest.raises(HostError, match="used up"):
        names.allocate()
