# SPDX-License-Identifier: MIT
"""A link of a running cluster: what a script holds to pull its cable and to wait for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from emulator.model import DirectionState, LinkKind


class Link:
    """One link of a running cluster. Made by `Cluster`; get it with `cluster.link(...)`."""

    @property
    def name(self) -> str:
        """The link's name in the topology."""
        raise NotImplementedError

    @property
    def kind(self) -> LinkKind:
        """What its frames travel through."""
        raise NotImplementedError

    @property
    def ends(self) -> tuple[str, str]:
        """The names of the nodes it joins."""
        raise NotImplementedError

    @property
    def directions(self) -> tuple[str, str]:
        """Its directions, `a->b` and `b->a`."""
        raise NotImplementedError

    @property
    def is_management(self) -> bool:
        """Whether the host is one of its ends."""
        raise NotImplementedError

    @property
    def state(self) -> Mapping[str, DirectionState]:
        """The state of each direction, by its name."""
        raise NotImplementedError

    @property
    def is_up(self) -> bool:
        """Whether both directions are up."""
        raise NotImplementedError

    async def cut(self, *, direction: str | None = None, allow_management: bool = False) -> None:
        """Take the carrier away.

        Args:
            direction: `a->b` to cut one direction only; None cuts both.
            allow_management: must be True for a management link.

        Raises:
            UsageError: unknown direction, or a management link without `allow_management`.
        """
        raise NotImplementedError

    async def splice(self, *, direction: str | None = None) -> None:
        """Give the carrier back, under a new generation.

        Args:
            direction: `a->b` to splice one direction only; None splices both.

        Raises:
            UsageError: unknown direction.
        """
        raise NotImplementedError

    async def wait_up(self, *, within_s: float = 5.0) -> None:
        """Wait until both directions are up.

        Raises:
            DeadlineExpired: they are not after `within_s` seconds; says which and why.
        """
        raise NotImplementedError

    async def wait_down(self, *, direction: str | None = None, within_s: float = 5.0) -> None:
        """Wait until a direction (None: both) is not up at either of its ends.

        Raises:
            DeadlineExpired: it still is after `within_s` seconds.
        """
        raise NotImplementedError

    def __bool__(self) -> NoReturn:
        raise TypeError("a link has a state per direction: ask link.is_up or link.state['a->b']")
