# SPDX-License-Identifier: MIT
"""Reads one launch's black box into the event stream: what is new since the last look, with the host's times.

One machine may hold several lives, one after the other (resets). A life is what the boot count
says, which is at a place of its own; the black box is only believed for the life that it names.
"""

from __future__ import annotations

import time
from typing import Final

from emulator.events.stream import EventStream
from emulator.events.types import EventsLost, GuestEvent, StreamAccount
from emulator.machines.blackbox import BoxHeader, BoxState
from emulator.machines.ram import Ram
from emulator.model import Incarnation
from emulator.protocol.link_types import ClockSample
from emulator.runtime.box_events import BoxContext, guest_event, stream_account
from emulator.runtime.clock import ClockMap


class LifeReader:
    """Reader of the lives of one launch.

    Args:
        ram: the machine's memory.
        context: the node's names.
        stream: where events go.
    """

    def __init__(self, ram: Ram, context: BoxContext, stream: EventStream) -> None:
        self._ram: Final = ram
        self._context: Final = context
        self._stream: Final = stream
        self._looked_ns = time.monotonic_ns()
        self._life = Incarnation(0)
        self._box = ram.blackbox(self._life)
        self._life_not_before_ns = self._looked_ns
        self._clock = ClockMap(self._looked_ns)

    def boot_incarnation(self) -> Incarnation:
        """The life the machine is in by its boot count; 0 before the firmware's first step."""
        return self._ram.incarnation

    def follow(self, life: Incarnation) -> None:
        """From now on, read this life; what the one before wrote is not seen any more."""
        if self._life:  # its clock started after the last look at the one before
            self._life_not_before_ns = self._looked_ns
            self._clock = ClockMap(self._looked_ns)
        self._life = life
        self._box = self._ram.blackbox(life)

    def state(self) -> BoxState:
        """What the life says of itself."""
        header = self._header()
        return BoxState.EMPTY if header is None else header.state

    def panic_text(self) -> str:
        """What the kernel said when it panicked."""
        return self._box.panic_text()

    def measured(self, sample: ClockSample | None) -> None:
        """An exchange with the node bounded its clock's offset."""
        if sample is not None and sample.taken_ns > self._life_not_before_ns:
            self._clock.measured(sample.offset_ns, sample.error_ns, sample.taken_ns)

    def stood_still(self) -> None:
        """The machine was stopped and runs again."""
        self._clock.stood_still()

    def emit_new(self) -> list[GuestEvent]:
        """Emit what was written since the last look.

        Returns:
            The events, as emitted.
        """
        looked_before_ns, self._looked_ns = self._looked_ns, time.monotonic_ns()
        if self._header() is None:
            return []
        raw, lost = self._box.take_events()
        now_ns = time.monotonic_ns()
        if lost:
            self._stream.emit(
                EventsLost(node=self._context.node, incarnation=self._life, count=lost)
            )
        if raw:
            if not lost:
                self._clock.happened_after(raw[0].time_ns, looked_before_ns)
            self._clock.happened_before(raw[-1].time_ns, now_ns)
        emitted = []
        for event in raw:
            host_ns, error_ns = self._clock.host_time(event.time_ns, now_ns)
            host_ns = max(host_ns, self._life_not_before_ns)  # whatever its clock says
            typed = guest_event(
                event,
                self._context,
                incarnation=self._life,
                time_monotonic_ns=host_ns,
                time_error_ns=error_ns,
            )
            emitted.append(self._stream.emit(typed))
        return emitted

    def accounts(self, *, final: bool) -> list[StreamAccount]:
        """The account of every traffic stream with an end here; not emitted.

        Args:
            final: whether nothing can be added any more.
        """
        if self._header() is None:
            return []
        return [
            stream_account(ledger, self._context, incarnation=self._life, final=final)
            for ledger in self._box.ledgers()
        ]

    def _header(self) -> BoxHeader | None:
        header = self._box.header()
        return header if header is not None and header.incarnation == self._life else None
