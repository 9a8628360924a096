# SPDX-License-Identifier: MIT
"""When a direction is up: carrier, writer, reader and epoch must agree."""

from __future__ import annotations

import pytest

from emulator.events.types import LinkEndChanged
from emulator.links.carrier import Direction
from emulator.model import DirectionState, LinkReason
from emulator.runtime.link_status import LinkStatus

CUT, DOWN, UP = DirectionState.CUT, DirectionState.DOWN, DirectionState.UP


def end(
    node: str,
    life: int = 1,
    *,
    tx: bool = True,
    rx: bool = True,
    own: int = 1,
    peer: int = 1,
    reason: LinkReason = LinkReason.TRAINED,
) -> LinkEndChanged:
    return LinkEndChanged(
        node=node,
        incarnation=life,
        guest_time_ns=0,
        link="a-b",
        peer="x",
        rx_up=rx,
        tx_up=tx,
        own_epoch=own,
        peer_epoch=peer,
        reason=reason,
    )


def carrier(status: LinkStatus, *values: bool) -> None:
    for index, value in enumerate(values):
        status.carrier(Direction(index=index, carrier=value, generation=1))


@pytest.fixture
def status() -> LinkStatus:
    status = LinkStatus()
    carrier(status, True, True)
    return status


def test_without_carrier_it_is_cut() -> None:
    assert LinkStatus().states() == (CUT, CUT)


def test_both_ends_must_say_so(status: LinkStatus) -> None:
    assert status.states() == (DOWN, DOWN)
    status.report(0, end("a"))
    assert status.states() == (DOWN, DOWN)
    status.report(1, end("b"))
    assert status.states() == (UP, UP)


def test_directions_are_apart(status: LinkStatus) -> None:
    status.report(0, end("a", rx=False))
    status.report(1, end("b", tx=False))
    assert status.states() == (UP, DOWN)


def test_epochs_must_agree(status: LinkStatus) -> None:
    status.report(0, end("a", own=3, peer=5))
    status.report(1, end("b", own=5, peer=2))
    assert status.states() == (DOWN, UP)


def test_old_epoch_does_not_count_after_a_cut_and_splice(status: LinkStatus) -> None:
    status.report(0, end("a"))
    status.report(1, end("b"))
    carrier(status, False)
    assert status.states() == (CUT, UP)
    carrier(status, True)
    assert status.states() == (DOWN, UP)  # both still speak of the epoch before the cut
    status.report(0, end("a", own=2))
    status.report(1, end("b", peer=2))
    assert status.states() == (UP, UP)


def test_epoch_of_a_new_life_counts_though_it_is_lower(status: LinkStatus) -> None:
    status.report(0, end("a", own=9))
    status.report(1, end("b", peer=9))
    carrier(status, False, False)
    status.gone(0)
    assert status.states() == (CUT, CUT)
    carrier(status, True, True)
    status.report(0, end("a", life=2, own=1))
    status.report(1, end("b", own=2, peer=1))
    assert status.states()[0] is UP


def test_end_that_is_gone_is_down(status: LinkStatus) -> None:
    status.report(0, end("a"))
    status.report(1, end("b"))
    status.gone(1)
    assert status.states() == (DOWN, DOWN)


def test_reason_of_a_direction_that_is_up_or_was_never_trained(status: LinkStatus) -> None:
    assert status.reason(0) == "training"
    status.report(0, end("a"))
    status.report(1, end("b"))
    assert status.reason(0) == ""


def test_reason_is_of_the_end_that_closed_the_direction(status: LinkStatus) -> None:
    status.report(0, end("a"))
    status.report(1, end("b", rx=False, reason=LinkReason.SILENT))
    assert (status.state(0), status.reason(0)) == (DOWN, "silent")
    status.report(0, end("a", tx=False, reason=LinkReason.PEER_LOST_US))
    assert status.reason(0) == "silent"  # not what the other end made of it
