# SPDX-License-Identifier: MIT
"""The state of a link's directions, from what its two ends and its cable say. No I/O.

A direction is up when its cable has carrier, its writer says that it transmits, its reader says
that it hears, and both speak of the same epoch. The reports of the two ends come one after the
other and late, so "both say up" alone would call a link up in the moment between a cut and the
ends' noticing it: an epoch that was there before the last change of carrier does not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from emulator.events.types import LinkEndChanged
from emulator.links.carrier import END_COUNT, Direction
from emulator.model import DirectionState

_NEVER: Final = (0, 0)
# What says only that the other end closed it, or that nothing is wrong with the cable any more.
_NO_CAUSES: Final = ("none", "carrier", "trained", "retrain", "peer lost us", "peer closed")


@dataclass(frozen=True, slots=True, kw_only=True)
class EndReport:
    """What one end said last."""

    incarnation: int = 0
    rx_up: bool = False
    tx_up: bool = False
    own_epoch: int = 0
    peer_epoch: int = 0
    reason: str = "none"

    @classmethod
    def of(cls, event: LinkEndChanged) -> EndReport:
        """What an end says with an event."""
        return cls(
            incarnation=event.incarnation,
            rx_up=event.rx_up,
            tx_up=event.tx_up,
            own_epoch=event.own_epoch,
            peer_epoch=event.peer_epoch,
            reason=event.reason.name.lower().replace("_", " "),
        )

    @property
    def epoch_key(self) -> tuple[int, int]:
        """Names the epoch of what this end transmits, among all its lives."""
        return (self.incarnation, self.own_epoch)


class LinkStatus:
    """State of both directions of one link."""

    def __init__(self) -> None:
        self._ends = [EndReport(), EndReport()]
        self._carrier = [False, False]
        self._stale: list[tuple[int, int]] = [_NEVER, _NEVER]

    @property
    def ends(self) -> tuple[EndReport, EndReport]:
        """What each end said last."""
        return self._ends[0], self._ends[1]

    def report(self, end: int, event: LinkEndChanged) -> None:
        """An end changed."""
        self._ends[end] = EndReport.of(event)

    def gone(self, end: int) -> None:
        """The life behind an end is over."""
        self._ends[end] = EndReport()

    def carrier(self, direction: Direction) -> None:
        """The cable changed: the epoch in use until now is over."""
        index = direction.index
        self._carrier[index] = direction.carrier
        self._stale[index] = max(self._stale[index], self._ends[index].epoch_key)

    def state(self, direction: int) -> DirectionState:
        """State of one direction."""
        if not self._carrier[direction]:
            return DirectionState.CUT
        writer, reader = self._ends[direction], self._ends[1 - direction]
        trained = (
            writer.tx_up
            and reader.rx_up
            and writer.own_epoch == reader.peer_epoch
            and writer.epoch_key > self._stale[direction]
        )
        return DirectionState.UP if trained else DirectionState.DOWN

    def reason(self, direction: int) -> str:
        """Why a direction that has carrier is not up, in a few words; empty when it is up."""
        if self.state(direction) is DirectionState.UP:
            return ""
        writer, reader = self._ends[direction], self._ends[1 - direction]
        closed = ([] if reader.rx_up else [reader]) + ([] if writer.tx_up else [writer])
        causes = [end.reason for end in closed if end.reason not in _NO_CAUSES]
        return causes[0] if causes else "training"

    def states(self) -> tuple[DirectionState, DirectionState]:
        """State of both directions."""
        first, second = (self.state(direction) for direction in range(END_COUNT))
        return first, second
