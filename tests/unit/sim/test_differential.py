# SPDX-License-Identifier: MIT
"""The Python node among nodes of the core: it holds what they hold, and is caught where it does not."""

from __future__ import annotations

from types import ModuleType

import pytest

from emulator.protocol.constants import ByteOrder, DataModel
from emulator.protocol.flipc import Pair
from emulator.protocol.ipc import accounts, outgoing
from emulator.protocol.link import LinkEnd
from emulator.protocol.node import NodeTable
from emulator.sim import Workload, generate, run, run_range
from emulator.sim.kinds import Profile

pytestmark = pytest.mark.timeout(120)

DIFFERENTIAL = Workload(differential=True)
SEEDS_WITH_BUG = 1500  # the rarest shows in one of 250


def test_the_python_node_plays_every_part() -> None:
    parts = set()
    for seed in range(1, 13):
        settings = generate(seed, DIFFERENTIAL).settings
        parts.add((settings["agent"], settings["agent_byte_order"], settings["agent_data_model"]))
    assert parts == {
        (place, order, model) for place in (1, 2, 3) for order in ByteOrder for model in DataModel
    }


def test_every_invariant_holds_with_it() -> None:
    totals, failure = run_range(1, 120, DIFFERENTIAL)
    assert failure is None, failure
    assert totals.counters["received"] > 1000
    assert all(totals.passed[number] for number in range(1, 16))


def test_a_hostile_node_does_not_confuse_it() -> None:
    _, failure = run_range(1, 25, Workload(differential=True, profile=Profile.HOSTILE))
    assert failure is None, failure


def test_an_error_in_it_is_the_end_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(*_: object) -> None:
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr(NodeTable, "trained", stumble)
    outcome = run(generate(1, DIFFERENTIAL))
    assert outcome.invariant == 0
    assert "of all things" in outcome.text


def _nothing(*_: object) -> None:
    return None


@pytest.mark.parametrize(
    ("owner", "name", "profile"),
    [
        pytest.param(Pair, "resume", Profile.LINKS, id="nothing is sent again after a cut"),
        pytest.param(Pair, "consumed", Profile.CONTROL, id="what was received is not settled"),
        pytest.param(Pair, "died", Profile.NODES, id="messages of the dead have no end"),
        pytest.param(
            accounts, "all_told", Profile.CONTROL, id="who answered for a right always will"
        ),
        pytest.param(outgoing, "return_all", Profile.CONTROL, id="what is refused is lost"),
        pytest.param(LinkEnd, "_renegotiate", Profile.LINKS, id="flags change within an epoch"),
    ],
)
def test_a_planted_bug_is_found(
    owner: type | ModuleType, name: str, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, _nothing)
    _, failure = run_range(1, SEEDS_WITH_BUG, Workload(differential=True, profile=profile))
    assert failure is not None
