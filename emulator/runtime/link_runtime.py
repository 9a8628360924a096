# SPDX-License-Identifier: MIT
"""A link's machinery: its cable, and what is known of its ends. `Link` is its public face."""

from __future__ import annotations

from emulator.events.types import (
    CableTampered,
    CarrierChanged,
    DirectionChanged,
    LinkEndChanged,
    LinkRefused,
)
from emulator.links.cable import Cable, SharedMemoryCable
from emulator.links.carrier import Direction
from emulator.links.stream import StreamCable
from emulator.model import DirectionState, LinkKind, LinkSpec
from emulator.runtime.link_status import LinkStatus
from emulator.runtime.world import World


class LinkRuntime:
    """One link between two guests.

    Args:
        spec: the link as the topology describes it.
        world: what it shares with the rest.
    """

    def __init__(self, spec: LinkSpec, world: World) -> None:
        self.spec = spec
        self.status = LinkStatus()
        self.refusal: LinkRefused | None = None  # the first since the cable or a life changed
        self._world = world
        self._shown = self.status.states()
        self._tampered: set[tuple[int, int]] = set()
        self.cable: Cable = (
            SharedMemoryCable(spec.name, self._carrier)
            if spec.kind is LinkKind.IVSHMEM
            else StreamCable(self._carrier)
        )

    def end_of(self, node: str) -> int:
        """Which end of the cable a node has."""
        return self.spec.ends.index(node)

    def end_changed(self, event: LinkEndChanged) -> None:
        """An end reported a change."""
        if event.node in self.spec.ends:
            self.status.report(self.end_of(event.node), event)
            self._show()

    def end_refused(self, event: LinkRefused) -> None:
        """An end would not train with the other one, or heard that the other one will not."""
        self.refusal = self.refusal or event
        self._world.watch.changed()

    def reason(self, index: int) -> str:
        """Why a direction is not up, in a few words; empty when it is."""
        state = self.status.state(index)
        if state is DirectionState.CUT:
            carrier = self.cable.state
            absent = [
                name for end, name in enumerate(self.spec.ends) if not carrier.is_plugged(end)
            ]
            return f"{' and '.join(absent)} off" if absent else "by us"
        if state is DirectionState.DOWN and self.refusal is not None:
            return "refused: " + self.refusal.refusal.name.lower().replace("_", " ")
        return self.status.reason(index)

    def life_over(self, node: str) -> None:
        """The life behind an end is over."""
        self.refusal = None
        self.status.gone(self.end_of(node))
        self._show()

    def check_page(self) -> None:
        """Report what a guest wrote where only the host may, each word once."""
        for difference in self.cable.differences():
            key = (difference.offset, difference.found)
            if key not in self._tampered:
                self._tampered.add(key)
                self._world.stream.emit(
                    CableTampered(
                        link=self.spec.name,
                        offset=difference.offset,
                        expected=difference.expected,
                        found=difference.found,
                    )
                )

    def close(self) -> None:
        """Release the cable."""
        self.check_page()
        self.cable.close()

    def _carrier(self, direction: Direction) -> None:
        self.status.carrier(direction)
        self.refusal = None
        self._world.stream.emit(
            CarrierChanged(
                link=self.spec.name,
                direction=self.spec.directions[direction.index],
                carrier=direction.carrier,
                generation=direction.generation,
            )
        )
        self._show()

    def _show(self) -> None:
        states = self.status.states()
        before, self._shown = self._shown, states
        for index, state in enumerate(states):
            if state is not before[index]:
                self._world.stream.emit(
                    DirectionChanged(
                        link=self.spec.name,
                        direction=self.spec.directions[index],
                        state=state,
                        reason=self.reason(index),
                    )
                )
