# SPDX-License-Identifier: MIT
"""What goes into a `LinkEnd` and what comes out: configuration, the owner's half of the contract,
outputs, counters.

Records only. `LinkEnd` itself is in `link.py`; the C implementation is driven through the same
records.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, Self

from emulator.protocol.constants import (
    LINK_DROP_COUNT,
    MESSAGE_MAX_DEFAULT,
    Admission,
    ByteOrder,
    ClusterConstants,
    DataModel,
    LinkDrop,
    LinkReason,
    LinkRefusal,
)
from emulator.protocol.frames import TrainRecord

__all__ = [
    "Admit",
    "ClockSample",
    "Confirmed",
    "Deliver",
    "Dropped",
    "Flow",
    "LinkConfig",
    "LinkCounters",
    "LinkStatistics",
    "Output",
    "PeerTrained",
    "Refused",
    "StateChanged",
    "Transmit",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkConfig:
    """What an end knows before anything arrives.

    Args:
        node_id: Our node.
        incarnation: Our life, not 0.
        peer_id: The node at the other end of the cable.
        constants: The cluster's.
        mtu: Largest payload this end sends or receives in one frame, 256 .. 65536 bytes.
        message_max: Largest mnl message this end receives, 256 .. 2^24 bytes.
        wants_crc: Ask for payload CRC even where the cable does not require it.
        offers_replay: Offer replay even where the cable does not require it.
        cable_frames: True for the end of a byte stream whose cable speaks by CABLE frames.
        byte_order: Of this node.
        data_model: Of this node.
        route: What its frames say they are of, 1 .. 65535; 0: of a cable.
    """

    node_id: int
    incarnation: int
    peer_id: int
    constants: ClusterConstants
    mtu: int = 16384
    message_max: int = MESSAGE_MAX_DEFAULT
    wants_crc: bool = False
    offers_replay: bool = False
    cable_frames: bool = False
    byte_order: ByteOrder = ByteOrder.LITTLE
    data_model: DataModel = DataModel.LP64
    route: int = 0


class Flow(Protocol):
    """The owner's FLIPC state of the pair behind a link; the link carries its acks and credits in
    every header.

    Called synchronously; must not call back into the link.
    """

    def peer_changed(self, incarnation: int) -> None:
        """The link now talks to this incarnation; every later call is about its pair."""

    def ack(self) -> int:
        """Return the FLIPC ack for a header that is being written: it goes out now."""

    def credit(self) -> int:
        """Return the FLIPC credit for a header that is being written."""

    def flipc_next(self) -> int:
        """Return the FLIPC sequence number expected next, for a training record."""

    def peer(self, flipc_ack: int, flipc_credit: int) -> None:
        """Take the peer's ack and credit from a header that counts."""

    def ack_deadline_ns(self) -> int | None:
        """Return when an ack that a header can carry has to go out; now or earlier: it is due.
        None: none is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockSample:
    """Relation of the peer's clock to ours, measured by an echo in training: ours = peer's +
    offset.

    Args:
        offset_ns: To be added to the peer's time.
        error_ns: The offset is wrong by at most this much, as of `taken_ns`.
        taken_ns: Our time of the measurement.
    """

    offset_ns: int
    error_ns: int
    taken_ns: int

    @classmethod
    def of_echo(cls, sent_ns: int, echoed_in_ns: int, echoed_out_ns: int, now_ns: int) -> Self:
        """Return the sample of one echo.

        Args:
            sent_ns: When we sent, by our clock.
            echoed_in_ns: When the peer received that, by its clock.
            echoed_out_ns: When the peer answered, by its clock.
            now_ns: When the answer arrived, by our clock.
        """
        return cls(
            offset_ns=(sent_ns - echoed_in_ns + now_ns - echoed_out_ns) // 2,
            error_ns=(now_ns - sent_ns - (echoed_out_ns - echoed_in_ns) + 1) // 2,
            taken_ns=now_ns,
        )

    def ours(self, peer_ns: int) -> int:
        """Return our time at the peer's time `peer_ns`."""
        return peer_ns + self.offset_ns


Admit = Callable[[int, int], Admission]
"""Asked with (node id, incarnation) on each TRAIN whose record is acceptable."""


@dataclass(frozen=True, slots=True)
class Transmit:
    """A frame for the PHY."""

    frame: bytes


@dataclass(frozen=True, slots=True)
class Deliver:
    """A whole mnl message arrived."""

    message: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChanged:
    """A direction came up or went down.

    Args:
        rx_up: Receive direction, now.
        tx_up: Transmit direction, now.
        epoch: Ours.
        peer_epoch: The one heard; 0 while the receive direction is down.
        peer_incarnation: The one the link talks to; 0 unknown.
        reason: Of the change.
        flipc_next: When `tx_up`: the next FLIPC number the peer expects of us as far as its records
            said; None: they did not.
    """

    rx_up: bool
    tx_up: bool
    epoch: int
    peer_epoch: int
    peer_incarnation: int
    reason: LinkReason
    flipc_next: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerTrained:
    """The receive direction comes up with this incarnation of the peer; told before the
    StateChanged that says so.

    Args:
        node_id: The peer.
        incarnation: Its life.
        record: Its training record.
        is_new_life: It is not the incarnation this end heard last; an older one is dead.
    """

    node_id: int
    incarnation: int
    record: TrainRecord
    is_new_life: bool


@dataclass(frozen=True, slots=True)
class Dropped:
    """A frame was not used."""

    reason: LinkDrop


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A claim was refused: by us (`incarnation` is the peer's) or ours by the peer (`incarnation`
    is ours)."""

    by_us: bool
    reason: LinkRefusal
    incarnation: int


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The peer's link end has this many more whole messages (links with replay only)."""

    message_count: int


Output = Transmit | Deliver | StateChanged | PeerTrained | Dropped | Refused | Confirmed


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkStatistics:
    """Counters of a link end; `struct link_statistics` of firmware/include/abi/services.h.

    Args:
        peer: Node id at the other end.
        rx_up: Receive direction, now.
        tx_up: Transmit direction, now.
        epoch: Ours.
        peer_epoch: The one heard, 0 for none.
        trained: Times the transmit direction came up.
        tx_frames: Frames sent, of every type.
        tx_data_frames: DATA frames among them, replays included.
        tx_bytes: Bytes of all frames sent.
        rx_frames: Frames received that passed the integrity checks.
        rx_data_frames: DATA frames accepted in order.
        rx_bytes: Bytes of `rx_frames`.
        replays: Times everything unacknowledged was sent again.
        naks: NAK frames sent.
        round_trip_ns: Of the last training; 0 unknown.
        forwarded: Frames of routes that came by this link and were passed on.
        drops: Count of each LinkDrop, by its number.
    """

    peer: int
    rx_up: bool
    tx_up: bool
    epoch: int
    peer_epoch: int
    trained: int
    tx_frames: int
    tx_data_frames: int
    tx_bytes: int
    rx_frames: int
    rx_data_frames: int
    rx_bytes: int
    replays: int
    naks: int
    round_trip_ns: int
    forwarded: int
    drops: tuple[int, ...]

    def dropped(self, reason: LinkDrop) -> int:
        """Return how often `reason` happened."""
        return self.drops[reason]


@dataclass(slots=True)
class LinkCounters:
    """The counters of `LinkStatistics` while they count."""

    trained: int = 0
    tx_frames: int = 0
    tx_data_frames: int = 0
    tx_bytes: int = 0
    rx_frames: int = 0
    rx_data_frames: int = 0
    rx_bytes: int = 0
    replays: int = 0
    naks: int = 0
    forwarded: int = 0
    drops: list[int] = field(default_factory=lambda: [0] * LINK_DROP_COUNT)

    def numbers(self) -> dict[str, int]:
        """Return every counter but the drops, by name."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "drops"}
