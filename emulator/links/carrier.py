# SPDX-License-Identifier: MIT
"""The truth about a cable: which ends are plugged in, which directions are cut, and what follows
from it.

No I/O. Direction `d` carries what end `d` sends; the other end, `1 - d`, hears it. A direction has
carrier if nobody cut it and both machines run. Its generation rises at every change of its carrier,
so that an end which missed a flap still learns of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

END_COUNT: Final = 2
_GENERATION_MASK: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Direction:
    """One direction of a cable at one moment."""

    index: int
    carrier: bool
    generation: int


class CarrierState:
    """Carrier of both directions of one cable."""

    def __init__(self) -> None:
        self._cut = [False, False]
        self._plugged = [False, False]
        self._directions = [
            Direction(index=index, carrier=False, generation=1) for index in range(END_COUNT)
        ]

    @property
    def directions(self) -> tuple[Direction, Direction]:
        """Both directions as they are now."""
        first, second = self._directions
        return first, second

    def is_plugged(self, end: int) -> bool:
        """Whether a machine runs at that end."""
        return self._plugged[end]

    def is_cut(self, direction: int) -> bool:
        """Whether somebody cut that direction."""
        return self._cut[direction]

    def plug(self, end: int) -> tuple[Direction, ...]:
        """A machine starts at an end. Returns the directions that changed."""
        self._plugged[end] = True
        return self._update()

    def unplug(self, end: int) -> tuple[Direction, ...]:
        """The machine at an end is gone. Returns the directions that changed."""
        self._plugged[end] = False
        return self._update()

    def cut(self, direction: int) -> tuple[Direction, ...]:
        """Take the carrier away. Returns the directions that changed: none if it was cut."""
        self._cut[direction] = True
        return self._update()

    def splice(self, direction: int) -> tuple[Direction, ...]:
        """Give the carrier back. Returns the directions that changed: none if it was whole."""
        self._cut[direction] = False
        return self._update()

    def _update(self) -> tuple[Direction, ...]:
        changed = []
        for index, old in enumerate(self._directions):
            carrier = all(self._plugged) and not self._cut[index]
            if carrier != old.carrier:
                generation = (old.generation + 1) & _GENERATION_MASK
                new = Direction(index=index, carrier=carrier, generation=generation)
                self._directions[index] = new
                changed.append(new)
        return tuple(changed)
