# SPDX-License-Identifier: MIT
"""What one link end knows of the node at the other end: its life, its training record, its clock.

Used by `LinkEnd` only, which decides what follows from it. Specified in docs/spec/link.md, section
3.2.
"""

from __future__ import annotations

from emulator.protocol.constants import (
    MESSAGE_MAX_MAXIMUM,
    MESSAGE_MAX_MINIMUM,
    MTU_MAXIMUM,
    MTU_MINIMUM,
    ClusterConstants,
    LinkRefusal,
)
from emulator.protocol.frames import FrameHeader, TrainRecord
from emulator.protocol.link_types import ClockSample

_VERSION = 1


class LinkPeer:
    """The peer's life that the link talks to, and which older ones are past.

    Attributes:
        incarnation: The one we talk to; 0: none known.
        newest: The newest incarnation ever accepted here.
        dead: The newest that the owner declared dead to us.
        record: Its training record heard last.
        flipc_next: The FLIPC number it expects next as far as its records said so to this life of
            ours.
        echo_clock_ns: Its clock in that record; 0: none heard.
        echo_received_ns: When that arrived.
        round_trip_ns: Measured in training; 0: not yet.
        clock: How its clock relates to ours; None: not measured.
    """

    def __init__(self, constants: ClusterConstants) -> None:
        """Know nobody."""
        self._constants = constants
        self.newest = 0
        self.dead = 0
        self.begin(0)

    def begin(self, incarnation: int) -> None:
        """Talk to another life, of which nothing is known yet; 0 for none."""
        self.incarnation = incarnation
        self.newest = max(self.newest, incarnation)
        self.record: TrainRecord | None = None
        self.flipc_next: int | None = None
        self.echo_clock_ns = 0
        self.echo_received_ns = 0
        self.round_trip_ns = 0
        self.clock: ClockSample | None = None
        self._last_train = (0, 0)  # epoch and seq

    def objection(self, header: FrameHeader, record: TrainRecord) -> LinkRefusal | None:
        """Return why a claim cannot be accepted whatever the owner says, or None (steps 1 and
        2)."""
        if not record.version_min <= _VERSION <= record.version_max:
            return LinkRefusal.VERSION
        if record.constants != self._constants:
            return LinkRefusal.CONSTANTS
        if not (
            MTU_MINIMUM <= record.mtu <= MTU_MAXIMUM
            and MESSAGE_MAX_MINIMUM <= record.message_max <= MESSAGE_MAX_MAXIMUM
            and record.byte_order in (1, 2)
            and record.data_model in (1, 2)
        ):
            return LinkRefusal.PARAMETERS
        if header.src_incarnation == 0:
            return LinkRefusal.INCARNATION
        if header.src_incarnation < self.newest or header.src_incarnation <= self.dead:
            return LinkRefusal.STALE
        if (
            header.src_incarnation == self.incarnation
            and self.record is not None
            and record.message_max < self.record.message_max
        ):
            return LinkRefusal.PARAMETERS  # longer messages may be under way
        return None

    def advance(self, header: FrameHeader) -> bool:
        """Return whether a TRAIN of this life is newer than every one before, and remember it (step
        3)."""
        position = (header.src_epoch, header.seq)
        if position <= self._last_train:
            return False
        self._last_train = position
        return True

    def note(self, record: TrainRecord, *, is_ours: bool, now_ns: int) -> None:
        """Take the record of an accepted TRAIN.

        Args:
            record: Of this life.
            is_ours: It was said to our life, so its FLIPC number and its echo mean something.
            now_ns: The time.
        """
        self.record = record
        self.echo_clock_ns = record.clock_ns
        self.echo_received_ns = now_ns
        if not is_ours:
            return
        self.flipc_next = record.flipc_next
        held_ns = record.clock_ns - record.echo_received_ns
        round_trip_ns = now_ns - record.echo_clock_ns - held_ns
        if record.echo_clock_ns == 0 or held_ns < 0 or round_trip_ns <= 0:
            return
        # The peer may have been stopped since it heard us: then the sample is poor, but still true.
        if now_ns - record.echo_clock_ns < self._constants.link_down_after_ns:
            self.round_trip_ns = round_trip_ns
        self.clock = ClockSample.of_echo(
            record.echo_clock_ns, record.echo_received_ns, record.clock_ns, now_ns
        )
