# SPDX-License-Identifier: MIT
"""Carrier and generations through every change of a cable."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from emulator.links.carrier import CarrierState, Direction


def direction(index: int, carrier: bool, generation: int) -> Direction:
    return Direction(index=index, carrier=carrier, generation=generation)


def test_life_of_a_cable() -> None:
    state = CarrierState()
    assert state.directions == (direction(0, False, 1), direction(1, False, 1))
    assert state.plug(0) == ()
    assert state.plug(1) == (direction(0, True, 2), direction(1, True, 2))
    assert state.cut(0) == (direction(0, False, 3),)
    assert state.cut(0) == ()
    assert state.splice(0) == (direction(0, True, 4),)
    assert state.unplug(1) == (direction(0, False, 5), direction(1, False, 3))
    assert state.cut(1) == ()
    assert state.plug(1) == (direction(0, True, 6),)  # a cut outlives a restart
    assert state.splice(1) == (direction(1, True, 4),)


@given(st.lists(st.tuples(st.sampled_from(["plug", "unplug", "cut", "splice"]), st.integers(0, 1))))
def test_generation_rises_with_every_change_and_only_then(steps: list[tuple[str, int]]) -> None:
    state = CarrierState()
    for verb, index in steps:
        before = state.directions
        changed = getattr(state, verb)(index)
        for old, new in zip(before, state.directions, strict=True):
            if new in changed:
                assert new.generation == old.generation + 1
                assert new.carrier is not old.carrier
            else:
                assert new == old
        for item in state.directions:
            whole = state.is_plugged(0) and state.is_plugged(1) and not state.is_cut(item.index)
            assert item.carrier is whole
