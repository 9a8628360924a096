# SPDX-License-Identifier: MIT
"""Passing on, against tests/data/vectors/route, in Python and in C."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.core.route import CTransitTable
from emulator.protocol.constants import FrameType, LinkDrop
from emulator.protocol.frames import FrameHeader, encode_frame
from emulator.protocol.route import Transit, TransitTable, route_of

VECTORS = json.loads(
    (Path(__file__).parents[2] / "data" / "vectors" / "route" / "next_link.json").read_text()
)
CASES = [pytest.param(case, id=case["name"]) for case in VECTORS["cases"]]
TRANSITS = [
    Transit(route=row["route"], ends=tuple(row["ends"]), links=tuple(row["links"]))
    for row in VECTORS["transits"]
]


class Table(Protocol):
    def next_link(self, link: int, frame: bytes) -> int | LinkDrop: ...


Make = Callable[[Iterable[Transit]], Table]


@pytest.fixture(params=[TransitTable, CTransitTable], ids=["python", "c"])
def make_table(request: pytest.FixtureRequest) -> Make:
    """One implementation of the table."""
    make: Make = request.param
    return make


@pytest.mark.parametrize("case", CASES)
def test_next_link(make_table: Make, case: dict[str, Any]) -> None:
    expected = case["next"] if "next" in case else LinkDrop[case["drop"]]
    assert make_table(TRANSITS).next_link(case["link"], bytes.fromhex(case["hex"])) == expected


def test_a_table_without_records_refuses_everything(make_table: Make) -> None:
    frame = encode_frame(FrameHeader(src_node=1, dst_node=2, type=FrameType.ACK, route=1))
    assert make_table([]).next_link(0, frame) is LinkDrop.WRONG_NODE


@given(
    route=st.integers(0, 7),
    source=st.integers(0, 9),
    destination=st.integers(0, 9),
    link=st.integers(0, 7),
)
def test_a_frame_never_leaves_by_the_link_it_came_by(
    route: int, source: int, destination: int, link: int
) -> None:
    header = FrameHeader(src_node=source, dst_node=destination, type=FrameType.ACK, route=route)
    way_out = TransitTable(TRANSITS).next_link(link, encode_frame(header))
    assert isinstance(way_out, LinkDrop) or way_out != link


def test_route_of_a_frame() -> None:
    assert (
        route_of(encode_frame(FrameHeader(src_node=1, dst_node=2, type=3, route=0xABCD))) == 0xABCD
    )
    assert str(TRANSITS[1]) == "5 1:2 3:4"
