# SPDX-License-Identifier: MIT
"""A route's machinery: what its two ends say of it and whether its path has carrier. `RouteLink` is its public face.

A route has no cable, so nobody tells of its carrier: a direction of it is cut while a link of its
path is cut in that direction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from emulator.events.types import DirectionChanged, LinkEndChanged, LinkRefused
from emulator.model import DirectionState, Route
from emulator.runtime.link_status import EndReport
from emulator.runtime.world import World

PathStates = Callable[[int], Iterable[DirectionState]]


class RouteRuntime:
    """One route between two guests.

    Args:
        route: the route.
        path_states: gives the states of the path's links, in one direction of the route.
        world: what it shares with the rest.
    """

    def __init__(self, route: Route, path_states: PathStates, world: World) -> None:
        self.route = route
        self.ends = [EndReport(), EndReport()]
        self.refusal: LinkRefused | None = None
        self._path_states = path_states
        self._world = world
        self._shown = (DirectionState.CUT, DirectionState.CUT)

    def end_changed(self, event: LinkEndChanged) -> None:
        """An end reported a change."""
        if event.node in self.route.ends:
            self.ends[self.route.ends.index(event.node)] = EndReport.of(event)
            self.look()

    def end_refused(self, event: LinkRefused) -> None:
        """An end would not train with the other one, or heard that the other one will not."""
        self.refusal = self.refusal or event
        self._world.watch.changed()

    def life_over(self, node: str) -> None:
        """The life of a node on the path is over."""
        self.refusal = None
        if node in self.route.ends:
            self.ends[self.route.ends.index(node)] = EndReport()
        self.look()

    def state(self, index: int) -> DirectionState:
        """State of one direction."""
        if DirectionState.CUT in self._path_states(index):
            return DirectionState.CUT
        writer, reader = self.ends[index], self.ends[1 - index]
        is_up = writer.tx_up and reader.rx_up and writer.own_epoch == reader.peer_epoch
        return DirectionState.UP if is_up else DirectionState.DOWN

    def states(self) -> tuple[DirectionState, DirectionState]:
        """State of both directions."""
        return self.state(0), self.state(1)

    def look(self) -> None:
        """Tell the stream which direction changed since the last look."""
        before, self._shown = self._shown, self.states()
        for index, state in enumerate(self._shown):
            if state is not before[index]:
                self._world.stream.emit(
                    DirectionChanged(
                        link=self.route.name,
                        direction=self.route.directions[index],
                        state=state,
                    )
                )
