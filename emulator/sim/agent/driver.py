# SPDX-License-Identifier: MIT
"""Joins the Python node to the simulator: the world calls it, by C callbacks, one at a time.

An error in it is a violation of the run, not an error of the caller: the world is told, and the node
does nothing more.
"""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, cast

from emulator.protocol.constants import ByteOrder, ClusterConstants, DataModel, Direction
from emulator.sim.agent.node import Cable, Life, Setup
from emulator.sim.agent.ports import Mach, Witness
from emulator.sim.agent.program import Program
from emulator.sim.agent.world import World
from emulator.sim.library import ffi, open_library
from emulator.sim.schedule import entry_of

if TYPE_CHECKING:
    from emulator.sim.functions import CData, SettingsFields

__all__ = ["Agent", "play_agent"]

_STREAM: Final = 1
_WANTS_CRC: Final = 1  # of an end's options
_OFFERS_REPLAY: Final = 2
_NODES_MAX: Final = 8
_NEVER: Final = 2**64 - 1
_ROUNDS_MAX: Final = 64  # of work and program that feed each other, in one call


class Agent:
    """The node that `settings.agent` names, over all its lives in one run after another."""

    def __init__(self) -> None:
        """Register with the library, for all runs to come."""
        library = open_library()
        self._world = World(library)
        self._entries: Sequence[CData] = ()
        self._setup: Setup | None = None
        self._node_ids: tuple[int, ...] = ()
        self._life: Life | None = None
        self._program: Program | None = None
        self._is_broken = False
        self._is_draining = False
        self._is_closing = False
        self._callbacks = self._make_callbacks()
        library.sim_agent_set(self._callbacks[0])

    # What the world calls ---------------------------------------------------------------------

    def _begin(self, settings: CData, entries: CData) -> None:
        self._setup, self._node_ids = _setup_of(cast("SettingsFields", settings))
        self._entries = cast("Sequence[CData]", entries)
        self._life = self._program = None
        self._is_draining = self._is_closing = False

    def _boot(self, incarnation: int, _now_ns: int) -> None:
        assert self._setup is not None
        self._life = life = Life(self._world, self._setup, incarnation, Witness(self._world))
        self._program = Program(self._world, Mach(life), self._setup.node_id, self._node_ids)
        if self._is_draining:
            self._program.drain()
        if self._is_closing:
            self._program.close()

    def _end(self) -> None:
        self._life = self._program = None

    def _carrier(self, link: int, direction: int, *state: int) -> None:
        is_up, generation, is_checked, now_ns = state
        if self._life is not None:
            self._life.carrier(
                link,
                Direction(direction),
                generation,
                now_ns,
                up=bool(is_up),
                checked=bool(is_checked),
            )

    def _frame(self, link: int, data: CData, length: int, now_ns: int) -> None:
        if self._life is not None:
            self._life.frame(link, bytes(ffi.buffer(data, length)), now_ns)

    def _run(self, now_ns: int) -> int:
        life, program = self._life, self._program
        if life is None or program is None:
            return _NEVER
        for _ in range(_ROUNDS_MAX):
            life.did_something = False
            life.work(now_ns)
            program.step(now_ns)
            if not life.did_something:
                break
        deadline_ns = life.next_deadline_ns()
        until_ns = program.next_deadline_ns()
        return until_ns if deadline_ns is None else min(deadline_ns, until_ns)

    def _submit(self, entry: int) -> None:
        if self._program is not None:
            self._program.submit(entry, entry_of(self._entries[entry]))

    def _notice(self, node_id: int, incarnation: int, now_ns: int) -> None:
        if self._life is not None:
            self._life.notice(node_id, incarnation, now_ns)

    def _drain(self) -> None:
        self._is_draining = True
        if self._program is not None:
            self._program.drain()

    def _close(self) -> None:
        self._is_closing = True
        if self._program is not None:
            self._program.close()

    def _idle(self) -> int:
        return self._program is None or self._program.is_idle

    def _closed(self) -> int:
        return self._program is None or self._program.is_closed

    def _left(self) -> int:
        if self._life is None or self._program is None:
            return 0
        return self._program.left + self._life.left

    # Callbacks --------------------------------------------------------------------------------

    def _make_callbacks(self) -> tuple[CData, list[CData]]:
        """The struct that the library wants, and what it points to."""
        functions: dict[str, tuple[str, Callable[..., object], int | None]] = {
            "begin": (
                "void(const struct sim_settings *, const struct sim_entry *)",
                self._begin,
                None,
            ),
            "boot": ("void(uint64_t, uint64_t)", self._boot, None),
            "end": ("void(void)", self._end, None),
            "carrier": (
                "void(uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint64_t)",
                self._carrier,
                None,
            ),
            "frame": ("void(uint32_t, uint8_t *, uint32_t, uint64_t)", self._frame, None),
            "run": ("uint64_t(uint64_t)", self._run, _NEVER),
            "submit": ("void(uint32_t)", self._submit, None),
            "notice": ("void(uint32_t, uint64_t, uint64_t)", self._notice, None),
            "drain": ("void(void)", self._drain, None),
            "close": ("void(void)", self._close, None),
            "is_idle": ("uint32_t(void)", self._idle, 1),
            "is_closed": ("uint32_t(void)", self._closed, 1),
            "left": ("uint64_t(void)", self._left, 0),
        }
        agent = ffi.new("struct sim_agent *")
        kept: list[CData] = []
        for name, (signature, function, otherwise) in functions.items():
            callback = ffi.callback(signature, self._guarded(function, otherwise))
            kept.append(cast("CData", callback))
            setattr(agent, name, callback)
        return agent, kept

    def _guarded(
        self, function: Callable[..., object], otherwise: int | None
    ) -> Callable[..., object]:
        is_first = function == self._begin

        def call(*arguments: object) -> object:
            self._is_broken = self._is_broken and not is_first
            if self._is_broken:
                return otherwise
            try:
                return function(*arguments)
            except Exception:  # whatever it is: the run is over, and its seed is told
                self._is_broken = True
                lines = traceback.format_exc().strip().splitlines()
                self._world.violated(0, " | ".join(line.strip() for line in lines[-3:]))
                return otherwise

        return call


@functools.cache
def play_agent() -> Agent:
    """Have the Python node play its part in all runs of this process that have one."""
    return Agent()


def _setup_of(settings: SettingsFields) -> tuple[Setup, tuple[int, ...]]:
    index = settings.agent - 1
    first_id = settings.first_id
    links = (settings.links[number] for number in range(settings.link_count))
    cables = tuple(
        Cable(
            link=number,
            peer_id=first_id + link.ends[1 - end],
            is_stream=link.kind == _STREAM,
            mtu=link.mtu,
            wants_crc=bool(link.options[end] & _WANTS_CRC),
            offers_replay=bool(link.options[end] & _OFFERS_REPLAY),
        )
        for number, link in enumerate(links)
        for end in range(2)
        if link.ends[end] == index
    )
    setup = Setup(
        node_id=first_id + index,
        byte_order=ByteOrder(settings.agent_byte_order),
        data_model=DataModel(settings.agent_data_model),
        constants=ClusterConstants(
            nodes_max=_NODES_MAX,
            window=settings.window,
            keepalive_ns=settings.keepalive_ns,
            link_down_after_ns=settings.link_down_after_ns,
            dead_after_ns=settings.dead_after_ns,
            ack_delay_ns=settings.ack_delay_ns,
            ack_count=settings.ack_count,
        ),
        cables=cables,
    )
    return setup, tuple(range(first_id, first_id + settings.node_count))
