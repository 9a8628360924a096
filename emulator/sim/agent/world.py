# SPDX-License-Identifier: MIT
"""The simulated world as the agent's node sees it: cables that take frames, and the accounts.

A thin shell of `firmware/sim/sim_agent.h`; to be used within the world's own calls only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from emulator.sim.library import ffi

if TYPE_CHECKING:
    from emulator.sim.functions import SimFunctions

__all__ = ["CARGO_MAX", "FOREIGN", "NO_PORT", "PortState", "World"]

NO_PORT: Final = 0xFFFFFFFF  # no port, or no message
FOREIGN: Final = 0xFFFFFFFE  # what a hostile node had a hand in
CARGO_MAX: Final = 4  # rights that a message carries besides that to answer
_BODY_MAX: Final = 16384


class PortState:
    """What the world knows of a port."""

    __slots__ = (
        "has_moved",
        "is_dead",
        "is_foreign",
        "is_gone",
        "is_own",
        "may_be_dead",
        "was_told_dead",
    )

    def __init__(self, bits: int) -> None:
        self.is_dead = bool(bits & 1)
        self.is_gone = bool(bits & 2)
        self.is_own = bool(bits & 4)
        self.was_told_dead = bool(bits & 8)
        self.is_foreign = bool(bits & 16)  # it was a suspect's at some time
        self.has_moved = bool(bits & 32)
        self.may_be_dead = bool(bits & 64)  # as this life has reason to think


class World:
    """Functions of the library by the words of the agent."""

    def __init__(self, library: SimFunctions) -> None:
        """Args:
        library: the simulator.
        """
        self._library = library
        self._body = ffi.new("uint64_t[]", _BODY_MAX // 8)
        self._number = ffi.new("uint32_t *")
        self._rights = ffi.new("uint32_t[]", CARGO_MAX)
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
        self.is_diverted = library.sim_agent_is_diverted
        self.diverted = library.sim_agent_diverted
        self.right = library.sim_agent_right
        self.right_is_firm = library.sim_agent_right_is_firm
        self.right_by_name = library.sim_agent_right_by_name
        self.right_ended = library.sim_agent_right_ended
        self.right_unmade = library.sim_agent_right_unmade
        self.right_port = library.sim_agent_right_port
        self.carries = library.sim_agent_carries
        self.carries_reply = library.sim_agent_carries_reply
        self.uses = library.sim_agent_uses
        self.carried_reply = library.sim_agent_carried_reply
        self.right_arrived = library.sim_agent_right_arrived
        self.asked = library.sim_agent_asked
        self.not_asked = library.sim_agent_not_asked
        self.told = library.sim_agent_told
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
    ) -> tuple[int, int]:
        """A program has a message; return the port to answer to, NO_PORT or FOREIGN, and which
        message it is, or NO_PORT.

        Args:
            body: of it.
            source: node id and incarnation that sent it.
            has_reply: it brought a right to answer.
            port: it came through; NO_PORT with `is_set`.
            is_set: it came through a port set.
        """
        number = self._number
        answer_to = self._library.sim_agent_received(
            ffi.from_buffer(body), len(body), *source, has_reply, port, is_set, number
        )
        return answer_to, cast("list[int]", number)[0]

    def cargo(self, message: int) -> list[int]:
        """Return the rights that a message brought besides that to answer, FOREIGN for a place
        without one."""
        count = self._library.sim_agent_cargo(message, self._rights)
        return list(cast("list[int]", self._rights)[0:count])

    def violated(self, invariant: int, text: str) -> None:
        """An invariant does not hold."""
        self._library.sim_agent_violated(invariant, text.encode())
