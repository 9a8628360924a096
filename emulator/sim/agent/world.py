# SPDX-License-Identifier: MIT
"""The simulated world as the agent's node sees it: cables that take frames, and the accounts.

A thin shell of `firmware/sim/sim_agent.h`; to be used within the world's own calls only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from emulator.sim.library import ffi

if TYPE_CHECKING:
    from emulator.sim.functions import SimFunctions

__all__ = ["FOREIGN", "NO_PORT", "PortState", "World"]

NO_PORT: Final = 0xFFFFFFFF  # no port, or no message
FOREIGN: Final = 0xFFFFFFFE  # what a hostile node had a hand in
_BODY_MAX: Final = 16384


class PortState:
    """What the world knows of a port."""

    __slots__ = ("is_dead", "is_gone", "is_own", "is_suspect", "was_told_dead")

    def __init__(self, bits: int) -> None:
        self.is_dead = bool(bits & 1)
        self.is_gone = bool(bits & 2)
        self.is_own = bool(bits & 4)
        self.was_told_dead = bool(bits & 8)
        self.is_suspect = bool(bits & 16)


class World:
    """Functions of the library by the words of the agent."""

    def __init__(self, library: SimFunctions) -> None:
        """Args:
        library: the simulator.
        """
        self._library = library
        self._body = ffi.new("uint64_t[]", _BODY_MAX // 8)
        self._bytes = ffi.cast("uint8_t *", self._body)
        self.transmit = library.sim_agent_transmit
        self.link = library.sim_agent_link
        self.refused = library.sim_agent_refused
        self.dropped = library.sim_agent_dropped
        self.up = library.sim_agent_up
        self.dead = library.sim_agent_dead
        self.stale = library.sim_agent_stale
        self.port_named = library.sim_agent_port_named
        self.port_died = library.sim_agent_port_died
        self.port_gone = library.sim_agent_port_gone
        self.service_port = library.sim_agent_service_port
        self.outcome = library.sim_agent_outcome
        self.began = library.sim_agent_began
        self.exercised = library.sim_agent_exercised

    def port(self, *, is_service: bool) -> int:
        """Open the account of a port; NO_PORT: there are too many."""
        return self._library.sim_agent_port(is_service)

    def port_state(self, port: int) -> PortState:
        """Return what is known of a port."""
        return PortState(self._library.sim_agent_port_state(port))

    def pick(self, number: int) -> tuple[int, int]:
        """Return a port of anybody's and its name; NO_PORT: there is none."""
        name = ffi.new("uint64_t *")
        port = self._library.sim_agent_pick(number, name)
        return port, cast("list[int]", name)[0]

    def message(self, size: int, port: int, reply_port: int) -> tuple[int, bytes]:
        """Open the account of a message; return its number and body.

        Args:
            size: bytes of the body, at least 16.
            port: whereto; NO_PORT: an answer to a hostile node.
            reply_port: where the answer goes, or NO_PORT.
        """
        number = self._library.sim_agent_message(self._bytes, size, port, reply_port)
        return number, bytes(ffi.buffer(self._body, size))

    def sent(self, message: int, *, is_sent: bool) -> None:
        """The message is on its way, or will never be."""
        self._library.sim_agent_sent(message, is_sent)

    def received(
        self,
        body: bytes,
        source: tuple[int, int],
        *,
        has_reply: bool,
        port: int,
        is_set: bool,
    ) -> int:
        """A program has a message; return the port to answer to, NO_PORT or FOREIGN.

        Args:
            body: of it.
            source: node id and incarnation that sent it.
            has_reply: it brought a right to answer.
            port: it came through; NO_PORT with `is_set`.
            is_set: it came through a port set.
        """
        return self._library.sim_agent_received(
            ffi.from_buffer(body), len(body), *source, has_reply, port, is_set
        )

    def violated(self, invariant: int, text: str) -> None:
        """An invariant does not hold."""
        self._library.sim_agent_violated(invariant, text.encode())
