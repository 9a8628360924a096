# SPDX-License-Identifier: MIT
"""The node table: which incarnation of each node is known, which are dead, and who may claim an id.

One table per node, asked by all of its links (`LinkEnd`'s `admit`). Declared dead is final and told
exactly once. Three things declare an incarnation dead: node 0's word, a larger incarnation that
trains, and `dead_after_ns` without any link to it. No I/O and no clock. Specified in
docs/spec/link.md, sections 3.2 and 4.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from emulator.protocol.constants import (
    Admission,
    ClusterConstants,
    LinkRefusal,
    NodeDeathCause,
    Verdict,
)

__all__ = ["NodeDeath", "NodeTable"]


_HOST_ID: Final = 0  # nobody presumes node 0 dead


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeDeath:
    """An incarnation was declared dead; reported once."""

    node_id: int
    incarnation: int
    cause: NodeDeathCause


@dataclass(slots=True)
class _LinkView:
    incarnation: int = 0
    up: bool = False
    heard_ns: int = 0
    claim: int = 0  # another life that wants to train on it; 0: none
    claim_ns: int = 0  # since when


@dataclass(slots=True)
class _Entry:
    incarnation: int = 0  # alive; 0: none is
    dead_incarnation: int = 0  # everything up to this one is dead
    links: dict[int, _LinkView] = field(default_factory=dict)
    unreachable_since_ns: int | None = None


class NodeTable:
    """What one node knows of the lives of the others.

    `link_index` is any number that tells the owner's links apart.
    """

    def __init__(self, constants: ClusterConstants) -> None:
        """Begin knowing nobody."""
        self._constants = constants
        self._entries: dict[int, _Entry] = {}

    def incarnation(self, node_id: int) -> int:
        """Return the incarnation that is alive as far as we know, 0 for none."""
        entry = self._entries.get(node_id)
        return entry.incarnation if entry is not None else 0

    def is_dead(self, node_id: int, incarnation: int) -> bool:
        """Return whether that incarnation was declared dead."""
        entry = self._entries.get(node_id)
        return entry is not None and incarnation <= entry.dead_incarnation

    def admit(self, link_index: int, node_id: int, incarnation: int, now_ns: int) -> Admission:
        """Decide about a claim heard on a link.

        Returns:
            ACCEPT; STALE for a life that is dead or older than one known; DUPLICATE_ID if another
            link shows that another incarnation lives on after the claim; HOLD until that is known.
        """
        entry = self._entries.setdefault(node_id, _Entry())
        if incarnation <= entry.dead_incarnation:
            return LinkRefusal.STALE
        if entry.incarnation in (0, incarnation):
            return Verdict.ACCEPT
        verdict = self._settle_claim(entry, link_index, incarnation, now_ns)
        if verdict is Verdict.ACCEPT and incarnation < entry.incarnation:
            return LinkRefusal.STALE
        return verdict

    def _settle_claim(
        self, entry: _Entry, link_index: int, incarnation: int, now_ns: int
    ) -> Admission:
        """Two lives claim one id: whoever still speaks well after the claim is alive.

        What was on its way before then proves nothing, hence the half keep-alive; and a link on
        which the other life claims, too, no longer speaks for the old one.
        """
        view = entry.links.setdefault(link_index, _LinkView())
        if view.claim != incarnation:
            view.claim, view.claim_ns = incarnation, now_ns
        living = [
            other
            for other in entry.links.values()
            if other is not view
            and other.up
            and other.incarnation == entry.incarnation
            and not other.claim
        ]
        if not living:
            return Verdict.ACCEPT
        last_heard_ns = max(other.heard_ns for other in living)
        if last_heard_ns <= view.claim_ns + self._constants.keepalive_ns // 2:
            return Verdict.HOLD
        view.claim = 0
        return LinkRefusal.DUPLICATE_ID

    def trained(self, node_id: int, incarnation: int) -> NodeDeath | None:
        """An admitted incarnation trained; an older one that was alive is dead now.

        Returns:
            The death of the older one, to be told before anything of the new one.
        """
        entry = self._entries.setdefault(node_id, _Entry())
        older = entry.incarnation
        entry.incarnation = incarnation
        entry.unreachable_since_ns = None
        if older in (0, incarnation):
            return None
        entry.dead_incarnation = max(entry.dead_incarnation, older)
        return NodeDeath(node_id=node_id, incarnation=older, cause=NodeDeathCause.INCARNATION)

    def heard(self, link_index: int, node_id: int, now_ns: int) -> None:
        """A frame of the trained incarnation arrived on a link."""
        entry = self._entries.get(node_id)
        if entry is not None and link_index in entry.links:
            entry.links[link_index].heard_ns = now_ns

    def link_changed(
        self, link_index: int, node_id: int, incarnation: int, up: bool, now_ns: int
    ) -> None:
        """A link to a node changed.

        Args:
            link_index: Which.
            node_id: Its peer.
            incarnation: The one that it talks to; 0 unknown.
            up: Whether the receive direction is: silence is not to hear.
            now_ns: The time.
        """
        entry = self._entries.setdefault(node_id, _Entry())
        entry.links[link_index] = _LinkView(incarnation, up, now_ns)
        reachable = any(
            view.up and view.incarnation == entry.incarnation for view in entry.links.values()
        )
        if reachable or entry.incarnation == 0 or node_id == _HOST_ID:
            entry.unreachable_since_ns = None
        elif entry.unreachable_since_ns is None:
            entry.unreachable_since_ns = now_ns

    def declare_dead(
        self, node_id: int, incarnation: int, cause: NodeDeathCause
    ) -> tuple[NodeDeath, ...]:
        """Record that an incarnation, known or not, and all older ones are dead.

        Returns:
            The deaths to be told, in order: first that of an older life which was alive as far as
            we knew, and must have died unnoticed. None if it was declared before.
        """
        entry = self._entries.setdefault(node_id, _Entry())
        if incarnation <= entry.dead_incarnation:
            return ()
        older = entry.incarnation
        entry.dead_incarnation = incarnation
        if older <= incarnation:
            entry.incarnation = 0
            entry.unreachable_since_ns = None
        death = NodeDeath(node_id=node_id, incarnation=incarnation, cause=cause)
        if not 0 < older < incarnation:
            return (death,)
        unnoticed = NodeDeath(node_id=node_id, incarnation=older, cause=NodeDeathCause.INCARNATION)
        return (unnoticed, death)

    def tick(self, now_ns: int) -> list[NodeDeath]:
        """Return the deaths by silence that are due, declared now."""
        deaths: list[NodeDeath] = []
        for node_id, entry in self._entries.items():
            since_ns = entry.unreachable_since_ns
            if since_ns is None or now_ns < since_ns + self._constants.dead_after_ns:
                continue
            deaths += self.declare_dead(node_id, entry.incarnation, NodeDeathCause.SILENCE)
        return deaths

    def next_deadline_ns(self) -> int | None:
        """Return when `tick()` has something to do, None never."""
        return min(
            (
                entry.unreachable_since_ns + self._constants.dead_after_ns
                for entry in self._entries.values()
                if entry.unreachable_since_ns is not None
            ),
            default=None,
        )
