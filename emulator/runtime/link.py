# SPDX-License-Identifier: MIT
"""A link of a running cluster: what a script holds to pull its cable and to wait for it."""

from __future__ import annotations

import difflib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NoReturn

from emulator.errors import DeadlineExpired, UsageError
from emulator.events.refusal import refusal_text
from emulator.events.types import (
    CarrierChanged,
    DirectionChanged,
    FaultKind,
    FaultReceipt,
    HostRefusal,
    LinkRefused,
)
from emulator.model import HOST_NAME, DirectionState, LinkKind
from emulator.runtime.deadline import Deadline
from emulator.runtime.link_runtime import LinkRuntime
from emulator.runtime.node_runtime import NodeRuntime
from emulator.runtime.route_runtime import RouteRuntime
from emulator.runtime.world import World


class Link(ABC):
    """One link of a running cluster. Made by `Cluster`; get it with `cluster.link(...)`."""

    def __init__(self, name: str, ends: tuple[str, str], world: World) -> None:
        self._name = name
        self._ends = ends
        self._world = world

    @property
    def name(self) -> str:
        """The link's name in the topology."""
        return self._name

    @property
    def ends(self) -> tuple[str, str]:
        """The names of the nodes it joins."""
        return self._ends

    @property
    def directions(self) -> tuple[str, str]:
        """Its directions, `a->b` and `b->a`."""
        first, second = self._ends
        return (f"{first}->{second}", f"{second}->{first}")

    @property
    @abstractmethod
    def kind(self) -> LinkKind:
        """What its frames travel through."""

    @property
    def is_management(self) -> bool:
        """Whether the host is one of its ends."""
        return HOST_NAME in self._ends

    @property
    def state(self) -> Mapping[str, DirectionState]:
        """The state of each direction, by its name."""
        return MappingProxyType(
            {name: self._state_of(index) for index, name in enumerate(self.directions)}
        )

    @property
    def is_up(self) -> bool:
        """Whether both directions are up."""
        return all(state is DirectionState.UP for state in self.state.values())

    async def cut(self, *, direction: str | None = None, allow_management: bool = False) -> None:
        """Take the carrier away.

        Args:
            direction: `a->b` to cut one direction only; None cuts both.
            allow_management: must be True for a management link.

        Raises:
            UsageError: unknown direction, or a management link without `allow_management`.
        """
        if self.is_management and not allow_management:
            raise UsageError(
                f"link {self._name} is a management link; without it the host is blind",
                hint="say cut(allow_management=True) if that is what you want",
            )
        self._change(FaultKind.CUT, direction)

    async def splice(self, *, direction: str | None = None) -> None:
        """Give the carrier back, under a new generation.

        Args:
            direction: `a->b` to splice one direction only; None splices both.

        Raises:
            UsageError: unknown direction.
        """
        self._change(FaultKind.SPLICE, direction)

    async def wait_up(self, *, within_s: float = 5.0) -> None:
        """Wait until both directions are up.

        Raises:
            DeadlineExpired: they are not after `within_s` seconds; says which and why.
        """
        await self._wait("up", lambda: self.is_up, within_s)

    async def wait_down(self, *, direction: str | None = None, within_s: float = 5.0) -> None:
        """Wait until a direction (None: both) is down at both of its ends.

        Raises:
            DeadlineExpired: it still is up at one of them after `within_s` seconds.
            UsageError: unknown direction.
        """
        indices = self._indices(direction)
        await self._wait(
            "down", lambda: all(self._is_down_at_both_ends(index) for index in indices), within_s
        )

    def explain(self) -> tuple[str, ...]:
        """Why it is in the state it is in: a line for each direction, and for a refusal."""
        refusal = self.refusal
        return (
            *(
                f"{self._name} {name}: {self._state_of(index).value}{self._reason_of(index)}"
                for index, name in enumerate(self.directions)
            ),
            *(() if refusal is None else (f"{self._name}: {refusal_text(refusal)}",)),
        )

    def __bool__(self) -> NoReturn:
        raise TypeError("a link has a state per direction: ask link.is_up or link.state['a->b']")

    def __repr__(self) -> str:
        states = ", ".join(f"{name} {state.value}" for name, state in self.state.items())
        return f"<link {self._name}: {states}>"

    @property
    @abstractmethod
    def refusal(self) -> LinkRefused | HostRefusal | None:
        """The first refusal to train since the cable or a life at its ends changed."""

    @abstractmethod
    def _state_of(self, index: int) -> DirectionState: ...

    @abstractmethod
    def _is_down_at_both_ends(self, index: int) -> bool: ...

    @abstractmethod
    def _reason_of(self, index: int) -> str: ...

    @abstractmethod
    def _set_carrier(self, index: int, *, up: bool) -> None: ...

    def _change(self, fault: FaultKind, direction: str | None) -> None:
        indices = self._indices(direction)
        requested_ns = time.monotonic_ns()
        for index in indices:
            self._set_carrier(index, up=fault is FaultKind.SPLICE)
        self._world.stream.emit(
            FaultReceipt(
                fault=fault,
                target=self._name,
                direction=direction or "",
                requested_ns=requested_ns,
            )
        )
        self._world.watch.changed()

    def _indices(self, direction: str | None) -> tuple[int, ...]:
        if direction is None:
            return (0, 1)
        wanted = direction.replace(" ", "")
        if wanted not in self.directions:
            near = difflib.get_close_matches(wanted, self.directions, n=1)
            guess = f"; did you mean '{near[0]}'?" if near else ""
            raise UsageError(
                f"link {self._name} has no direction '{direction}'{guess}",
                hint=f"its directions are {' and '.join(self.directions)}",
            )
        return (self.directions.index(wanted),)

    async def _wait(self, goal: str, condition: Callable[[], bool], within_s: float) -> None:
        deadline = Deadline.after(within_s)
        try:
            await self._world.watch.until(condition, deadline)
        except TimeoutError:
            raise DeadlineExpired(
                f"link {self._name} is not {goal} after {within_s:g} s",
                hint=f"see the consoles of its ends in {self._world.folder.path}",
                details=self.explain(),
            ) from None


class GuestLink(Link):
    """A link between two guests."""

    def __init__(self, runtime: LinkRuntime, world: World) -> None:
        super().__init__(runtime.spec.name, runtime.spec.ends, world)
        self._runtime = runtime

    @property
    def kind(self) -> LinkKind:
        """What its frames travel through."""
        return self._runtime.spec.kind

    @property
    def is_raw(self) -> bool:
        """Whether it is left to a raw server: no link protocol runs on it, so it never comes up."""
        return self._runtime.spec.raw

    @property
    def refusal(self) -> LinkRefused | None:
        """The first refusal to train since the cable or a life at its ends changed."""
        return self._runtime.refusal

    def _state_of(self, index: int) -> DirectionState:
        return self._runtime.status.state(index)

    def _is_down_at_both_ends(self, index: int) -> bool:
        writer, reader = self._runtime.status.ends[index], self._runtime.status.ends[1 - index]
        return not writer.tx_up and not reader.rx_up

    def _reason_of(self, index: int) -> str:
        state = self._state_of(index)
        if state is not DirectionState.DOWN:
            return f" ({self._runtime.reason(index)})" if state is DirectionState.CUT else ""
        writer, reader = self._runtime.status.ends[index], self._runtime.status.ends[1 - index]
        return (
            f" ({self.ends[index]} transmits: {_yes(writer.tx_up)}, epoch {writer.own_epoch}, "
            f"last change {writer.reason}; {self.ends[1 - index]} hears: {_yes(reader.rx_up)}, "
            f"epoch {reader.peer_epoch}, last change {reader.reason})"
        )

    def _set_carrier(self, index: int, *, up: bool) -> None:
        cable = self._runtime.cable
        if up:
            cable.splice(index)
        else:
            cable.cut(index)


class RouteLink(Link):
    """A link without a cable: a path between two guests over nodes that forward."""

    def __init__(self, runtime: RouteRuntime, kind: LinkKind, world: World) -> None:
        super().__init__(runtime.route.name, runtime.route.ends, world)
        self._runtime = runtime
        self._kind = kind

    @property
    def kind(self) -> LinkKind:
        """What its frames travel through on the first stretch."""
        return self._kind

    @property
    def refusal(self) -> LinkRefused | None:
        """The first refusal to train since a life on the path ended."""
        return self._runtime.refusal

    @property
    def path(self) -> tuple[str, ...]:
        """The names of the nodes along it, both ends included."""
        return self._runtime.route.nodes

    async def cut(self, *, direction: str | None = None, allow_management: bool = False) -> None:
        """A route has no carrier of its own.

        Raises:
            UsageError: always.
        """
        raise self._no_cable("cut")

    async def splice(self, *, direction: str | None = None) -> None:
        """A route has no carrier of its own.

        Raises:
            UsageError: always.
        """
        raise self._no_cable("splice")

    def _no_cable(self, verb: str) -> UsageError:
        return UsageError(
            f"{self._name} is a route and has no cable to {verb}",
            hint=f"{verb} a link of its path: {' - '.join(self.path)}",
        )

    def _state_of(self, index: int) -> DirectionState:
        return self._runtime.state(index)

    def _is_down_at_both_ends(self, index: int) -> bool:
        writer, reader = self._runtime.ends[index], self._runtime.ends[1 - index]
        return not writer.tx_up and not reader.rx_up

    def _reason_of(self, index: int) -> str:
        state = self._state_of(index)
        if state is DirectionState.UP:
            return ""
        if state is DirectionState.CUT:
            return f" (its path {' - '.join(self.path)} is cut)"
        writer, reader = self._runtime.ends[index], self._runtime.ends[1 - index]
        return (
            f" ({self.ends[index]}: last change {writer.reason}; "
            f"{self.ends[1 - index]}: last change {reader.reason})"
        )

    def _set_carrier(self, index: int, *, up: bool) -> None:
        raise self._no_cable("splice" if up else "cut")


class ManagementLink(Link):
    """A node's link to the host; direction 0 is the node's to the host."""

    def __init__(self, node: NodeRuntime, world: World) -> None:
        super().__init__(f"{node.spec.name}-{HOST_NAME}", (node.spec.name, HOST_NAME), world)
        self._node = node
        self._shown = (DirectionState.CUT, DirectionState.CUT)
        self._generation = 1
        self._refusal: HostRefusal | None = None
        self._refused_launch = 0

    @property
    def refusal(self) -> HostRefusal | None:
        """The first refusal to train in the node's present launch."""
        present = self._node.launch is not None and self._node.launches == self._refused_launch
        return self._refusal if present else None

    def refused(self, event: HostRefusal) -> None:
        """Node 0 or the node would not train with the other."""
        if self.refusal is None:
            self._refusal, self._refused_launch = event, self._node.launches
        self._world.watch.changed()

    @property
    def kind(self) -> LinkKind:
        """What its frames travel through."""
        return LinkKind.VIRTIO_SERIAL

    def look(self) -> None:
        """Tell the stream which direction changed since the last look."""
        before, self._shown = self._shown, (self._state_of(0), self._state_of(1))
        for index, state in enumerate(self._shown):
            if state is not before[index]:
                self._world.stream.emit(
                    DirectionChanged(
                        link=self.name,
                        direction=self.directions[index],
                        state=state,
                        reason=self._why(index) or _of_training(before[index], state),
                    )
                )
        if self._shown != before:
            self._world.watch.changed()

    def _state_of(self, index: int) -> DirectionState:
        if self._node.management_cut[index] or self._node.launch is None:
            return DirectionState.CUT
        up = self._world.host.directions_up(self._node.spec.id)[index]
        return DirectionState.UP if up else DirectionState.DOWN

    def _is_down_at_both_ends(self, index: int) -> bool:
        return self._state_of(index) is not DirectionState.UP

    def _reason_of(self, index: int) -> str:
        why = self._why(index)
        return f" ({why})" if why else ""

    def _why(self, index: int) -> str:
        if self._node.launch is None:
            return f"{self._node.spec.name} off"
        return "by us" if self._node.management_cut[index] else ""

    def _set_carrier(self, index: int, *, up: bool) -> None:
        if self._node.management_cut[index] is not up:
            return
        self._node.management_cut[index] = not up
        self._node.apply_management_cut(index)
        self._generation += 1
        self._world.stream.emit(
            CarrierChanged(
                link=self.name,
                direction=self.directions[index],
                carrier=up,
                generation=self._generation,
            )
        )
        self.look()


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _of_training(before: DirectionState, state: DirectionState) -> str:
    """What a direction with carrier does that was cut until now."""
    return "training" if (before, state) == (DirectionState.CUT, DirectionState.DOWN) else ""
