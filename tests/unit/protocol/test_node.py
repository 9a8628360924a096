# SPDX-License-Identifier: MIT
"""The node table: who lives, who is dead, who may claim an id."""

from __future__ import annotations

from emulator.protocol.constants import (
    ClusterConstants,
    LinkRefusal,
    NodeDeathCause,
    Verdict,
)
from emulator.protocol.node import NodeDeath, NodeTable

CONSTANTS = ClusterConstants()
OLD, NEW = 0x1_0000_0001, 0x2_0000_0001
MS = 1_000_000


def up(table: NodeTable, link: int, incarnation: int, now_ns: int = 0) -> None:
    assert table.admit(link, 7, incarnation, now_ns) is Verdict.ACCEPT
    table.trained(7, incarnation)
    table.link_changed(link, 7, incarnation, True, now_ns)


def test_unknown_node_is_nobody() -> None:
    table = NodeTable(CONSTANTS)
    assert table.incarnation(7) == 0
    assert not table.is_dead(7, OLD)
    assert table.next_deadline_ns() is None
    assert table.tick(10**12) == []


def test_first_life_is_accepted_and_known() -> None:
    table = NodeTable(CONSTANTS)
    up(table, 0, OLD)
    assert table.incarnation(7) == OLD


def test_larger_incarnation_kills_the_older_once() -> None:
    table = NodeTable(CONSTANTS)
    up(table, 0, OLD)
    assert table.admit(0, 7, NEW, 1) is Verdict.ACCEPT
    death = NodeDeath(node_id=7, incarnation=OLD, cause=NodeDeathCause.INCARNATION)
    assert table.trained(7, NEW) == death
    assert table.trained(7, NEW) is None
    assert table.is_dead(7, OLD)
    assert table.declare_dead(7, OLD, NodeDeathCause.HOST) == ()
    assert table.incarnation(7) == NEW


def test_older_and_dead_lives_are_stale() -> None:
    table = NodeTable(CONSTANTS)
    up(table, 0, NEW)
    assert table.admit(0, 7, OLD, 1) is LinkRefusal.STALE
    assert table.declare_dead(7, NEW, NodeDeathCause.HOST) == (
        NodeDeath(node_id=7, incarnation=NEW, cause=NodeDeathCause.HOST),
    )
    assert table.declare_dead(7, NEW, NodeDeathCause.SILENCE) == ()
    assert table.admit(0, 7, NEW, 1) is LinkRefusal.STALE
    assert table.admit(0, 7, NEW + 1, 1) is Verdict.ACCEPT
    assert table.incarnation(7) == 0


def test_death_of_a_life_nobody_knew_is_remembered() -> None:
    table = NodeTable(CONSTANTS)
    assert table.declare_dead(7, OLD, NodeDeathCause.HOST) != ()
    assert table.admit(0, 7, OLD, 0) is LinkRefusal.STALE


def test_death_of_a_newer_life_tells_the_death_of_the_one_known_first() -> None:
    table = NodeTable(CONSTANTS)
    up(table, 0, OLD)
    assert table.declare_dead(7, NEW, NodeDeathCause.HOST) == (
        NodeDeath(node_id=7, incarnation=OLD, cause=NodeDeathCause.INCARNATION),
        NodeDeath(node_id=7, incarnation=NEW, cause=NodeDeathCause.HOST),
    )
    assert table.incarnation(7) == 0


def test_death_of_an_old_life_leaves_the_new_one_alone() -> None:
    table = NodeTable(CONSTANTS)
    up(table, 0, NEW)
    table.declare_dead(7, OLD, NodeDeathCause.HOST)
    assert table.incarnation(7) == NEW


def test_twin_is_held_then_refused_when_the_first_shows_life() -> None:
    table = NodeTable(CONSTANTS)
    up(table, 0, OLD)
    assert table.admit(1, 7, NEW, 10 * MS) is Verdict.HOLD
    assert table.admit(1, 7, NEW, 30 * MS) is Verdict.HOLD
    table.heard(0, 7, 40 * MS)  # it may have been on its way
    assert table.admit(1, 7, NEW, 50 * MS) is Verdict.HOLD
    table.heard(0, 7, 61 * MS)  # half a keep-alive after the claim
    assert table.admit(1, 7, NEW, 70 * MS) is LinkRefusal.DUPLICATE_ID


def test_restart_seen_by_one_link_first_is_accepted_when_the_other_goes_down() -> None:
    table = NodeTable(CONSTANTS)
    up(table, 0, OLD)
    assert table.admit(1, 7, NEW, 10 * MS) is Verdict.HOLD
    table.link_changed(0, 7, OLD, False, 20 * MS)
    assert table.admit(1, 7, NEW, 30 * MS) is Verdict.ACCEPT


def test_link_that_hears_the_claim_too_speaks_for_the_first_no_more() -> None:
    table = NodeTable(CONSTANTS)
    up(table, 0, OLD)
    up(table, 1, OLD)
    assert table.admit(1, 7, NEW, 10 * MS) is Verdict.HOLD
    assert table.admit(0, 7, NEW, 20 * MS) is Verdict.ACCEPT


def test_older_life_is_stale_once_the_newer_one_is_not_heard() -> None:
    table = NodeTable(CONSTANTS)
    up(table, 0, NEW)
    assert table.admit(1, 7, OLD, 10 * MS) is Verdict.HOLD
    table.link_changed(0, 7, NEW, False, 20 * MS)
    assert table.admit(1, 7, OLD, 30 * MS) is LinkRefusal.STALE


def test_node_0_is_never_presumed_dead() -> None:
    table = NodeTable(CONSTANTS)
    assert table.trained(0, OLD) is None
    table.link_changed(0, 0, OLD, True, 0)
    table.link_changed(0, 0, OLD, False, 1)
    assert table.next_deadline_ns() is None


def test_second_link_of_the_same_life_is_no_twin() -> None:
    table = NodeTable(CONSTANTS)
    up(table, 0, OLD)
    assert table.admit(1, 7, OLD, 1) is Verdict.ACCEPT


def test_dead_after_counts_from_the_last_link_down() -> None:
    table = NodeTable(CONSTANTS)
    up(table, 0, OLD)
    up(table, 1, OLD)
    table.link_changed(0, 7, OLD, False, 1000 * MS)
    assert table.next_deadline_ns() is None
    table.link_changed(1, 7, OLD, False, 2000 * MS)
    table.link_changed(0, 7, OLD, False, 2500 * MS)
    assert table.next_deadline_ns() == 5000 * MS
    assert table.tick(5000 * MS - 1) == []
    assert table.tick(5000 * MS) == [
        NodeDeath(node_id=7, incarnation=OLD, cause=NodeDeathCause.SILENCE)
    ]
    assert table.tick(9000 * MS) == []
    assert table.next_deadline_ns() is None


def test_link_that_comes_back_in_time_saves_the_node() -> None:
    table = NodeTable(CONSTANTS)
    up(table, 0, OLD)
    table.link_changed(0, 7, OLD, False, 0)
    table.link_changed(0, 7, OLD, True, 2999 * MS)
    assert table.next_deadline_ns() is None
