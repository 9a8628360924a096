# SPDX-License-Identifier: MIT
"""The link protocol: one end of one link, as a state machine.

`LinkEnd` is what the owner holds: it takes carrier changes, frames and the time, decides which
frame is for us and whose business it is, and knows the next deadline. The states of the two
directions and the frames that go out are `link_state.py`, training is `link_training.py`, messages
are `link_data.py`. It reads no clock and does no I/O: the owner sends what `take_outputs()` gives
to the PHY, and calls `tick()` no later than `next_deadline_ns()`. It knows nothing of ports or of
other links; what concerns all links of a node (which incarnation is dead, whether an id is taken)
it asks through `admit`.

Specified in docs/spec/link.md, sections 3 to 5, whose numbers the comments name.
"""

from __future__ import annotations

from typing import Final

from emulator.protocol.constants import (
    CABLE_FLAG_CHECKED,
    CABLE_NODE,
    FRAME_HEADER_SIZE,
    TRAIN_INTERVAL_NS,
    Direction,
    FrameType,
    LinkDrop,
    LinkReason,
)
from emulator.protocol.frames import CableRecord, FrameHeader, check_frame
from emulator.protocol.link_data import LinkData
from emulator.protocol.link_state import LinkState, TxState
from emulator.protocol.link_training import LinkTraining
from emulator.protocol.link_types import (
    Admit,
    ClockSample,
    Flow,
    LinkConfig,
    LinkStatistics,
    Output,
)

__all__ = ["LinkEnd"]

_TYPES: Final = frozenset(FrameType)


class LinkEnd:
    """One end of one link.

    Every method that takes `now_ns` wants the node's monotonic clock in nanoseconds, never running
    backwards.
    """

    def __init__(self, config: LinkConfig, flow: Flow, admit: Admit) -> None:
        """Begin without carrier in either direction.

        Args:
            config: Who we are and what we can do.
            flow: FLIPC state of the pair behind this link.
            admit: Asked about each claim of an incarnation.
        """
        self._link = LinkState(config, flow)
        self._training = LinkTraining(self._link, admit)
        self._data = LinkData(self._link)

    # What the owner calls -------------------------------------------------------------------------

    def take_outputs(self) -> list[Output]:
        """Return everything that came out since the last call, in order."""
        outputs = self._link.outputs
        self._link.outputs = []
        return outputs

    def carrier(
        self, direction: Direction, up: bool, generation: int, checked: bool, now_ns: int
    ) -> None:
        """Take the state of one direction from the cable.

        Args:
            direction: Of this end.
            up: Whether the direction has carrier.
            generation: A new one means that the direction was cut and spliced, even if `up` did not
                change.
            checked: True if bytes may change on the way: payload CRC and replay are required.
            now_ns: The time.
        """
        link = self._link
        state = link.carriers[direction]
        if (state.up, state.generation, state.checked) == (up, generation, checked):
            return
        flags_before = link.own_flags()
        state.up = up
        state.generation = generation
        state.checked = checked
        if direction is Direction.RX:
            link.close_rx(LinkReason.CARRIER, now_ns)
        else:
            link.leave_tx(LinkReason.CARRIER)
        if link.own_flags() != flags_before:
            self._renegotiate(now_ns)
        self._training.is_parked = False
        if link.carriers[Direction.TX].up and link.tx is TxState.DOWN:
            link.enter_training(LinkReason.CARRIER, now_ns)

    def receive(self, frame: bytes, now_ns: int) -> None:
        """Take a frame from the PHY; any bytes are allowed."""
        self._take(frame, now_ns)
        self._data.pump(now_ns)  # its ack may have made room

    def send(self, message: bytes, now_ns: int) -> bool:
        """Send one whole mnl message.

        Returns:
            False if the transmit direction is not up or its replay window has no room; nothing
            changed then.

        Raises:
            ValueError: The message is shorter than an mnl header or longer than the peer receives.
        """
        return self._data.send(message, now_ns)

    def acknowledge(self, now_ns: int) -> None:
        """Send an ACK now, if the transmit direction is up: whoever watches sees that we live."""
        if self._link.tx is TxState.UP:
            self._link.send(FrameType.ACK, now_ns)

    def tick(self, now_ns: int) -> None:
        """Do everything whose deadline has come."""
        link = self._link
        if link.tx is TxState.TRAINING and now_ns >= link.last_train_ns + TRAIN_INTERVAL_NS:
            link.send_train(now_ns)
        if link.rx_up and now_ns >= link.silent_at_ns():
            link.close_rx(LinkReason.SILENT, now_ns)
        if link.tx is not TxState.UP:
            return
        replay_at_ns = self._data.replay_at_ns()
        if replay_at_ns is not None and now_ns >= replay_at_ns:
            self._data.replay(now_ns)
        if link.tx is TxState.UP and now_ns >= link.ack_at_ns():
            link.send(FrameType.ACK, now_ns)

    def next_deadline_ns(self) -> int | None:
        """Return when `tick()` has something to do; the past means now, None never."""
        link = self._link
        deadlines: list[int] = []
        if link.tx is TxState.TRAINING:
            deadlines.append(link.last_train_ns + TRAIN_INTERVAL_NS)
        if link.rx_up:
            deadlines.append(link.silent_at_ns())
        if link.tx is TxState.UP:
            deadlines.append(link.ack_at_ns())
            replay_at_ns = self._data.replay_at_ns()
            if replay_at_ns is not None:
                deadlines.append(replay_at_ns)
        return min(deadlines, default=None)

    def close(self, now_ns: int) -> None:
        """Stop in order: tell the peer, take both directions down; a later carrier change starts
        again."""
        link = self._link
        if link.tx is not TxState.DOWN:
            link.send(FrameType.DOWN, now_ns)
        for state in link.carriers.values():
            state.up = False
        link.change(LinkReason.DRIVER_STOPPED, rx_up=False, tx=TxState.DOWN)

    def garbage(self, now_ns: int) -> None:
        """Close the receive direction because what it carried breaks the protocol above; the peer
        retrains."""
        self._link.close_rx(LinkReason.GARBAGE, now_ns)

    def peer_dead(self, incarnation: int, now_ns: int) -> None:
        """Forget an incarnation of the peer that was declared dead elsewhere.

        Args:
            incarnation: This one and everything older is refused as STALE from now on.
            now_ns: The time.
        """
        self._training.peer_dead(incarnation, now_ns)

    def count_foreign(self, drop: LinkDrop | None) -> None:
        """Count a frame of a route that came by this link: passed on, or dropped and why."""
        if drop is None:
            self._link.counters.forwarded += 1
        else:
            self._link.drop(drop)

    def statistics(self) -> LinkStatistics:
        """Return the counters as they are now."""
        link = self._link
        return LinkStatistics(
            peer=link.config.peer_id,
            rx_up=link.rx_up,
            tx_up=link.tx is TxState.UP,
            epoch=link.epoch,
            peer_epoch=link.peer_epoch if link.rx_up else 0,
            round_trip_ns=link.peer.round_trip_ns,
            **link.counters.numbers(),
            drops=tuple(link.counters.drops),
        )

    def clock(self) -> ClockSample | None:
        """Return how the peer's clock relates to ours, from its last training; None: not known."""
        return self._link.peer.clock

    # Where frames go (3.1) ------------------------------------------------------------------------

    def _take(self, frame: bytes, now_ns: int) -> None:
        link = self._link
        header = check_frame(
            frame, link.config.mtu, payload_checked=link.arrived.mode.payload_checked
        )
        if isinstance(header, LinkDrop):
            link.drop(header)
            if header is LinkDrop.BAD_PAYLOAD:
                self._data.take_damaged(FrameHeader.parse(frame), now_ns)
            return
        link.counters.rx_frames += 1
        link.counters.rx_bytes += len(frame)
        payload = frame[FRAME_HEADER_SIZE:]
        if header.type == FrameType.CABLE:
            self._take_cable(header, payload, now_ns)
        elif header.type not in _TYPES:
            link.drop(LinkDrop.BAD_TYPE)
        elif not link.carriers[Direction.RX].up:
            link.drop(LinkDrop.NOT_TRAINED)
        elif header.dst_node != link.config.node_id:
            link.drop(LinkDrop.WRONG_NODE)
        elif header.type == FrameType.REFUSE:
            self._training.take_refuse(header, payload)
        elif header.src_node != link.config.peer_id:
            self._training.take_stranger(header)
        elif header.dst_incarnation not in (0, link.config.incarnation):
            link.drop(LinkDrop.STALE_DESTINATION)
        elif header.type == FrameType.TRAIN:
            self._training.take_train(header, payload, now_ns)
        else:
            self._take_ordinary(header, payload, now_ns)

    def _take_cable(self, header: FrameHeader, payload: bytes, now_ns: int) -> None:
        if not self._link.config.cable_frames or header.src_node != CABLE_NODE:
            self._link.drop(LinkDrop.BAD_TYPE)
            return
        record = CableRecord.parse(payload)
        if record is None or record.direction not in (Direction.TX, Direction.RX):
            self._link.drop(LinkDrop.BAD_RECORD)
            return
        self.carrier(
            Direction(record.direction),
            record.carrier != 0,
            record.generation,
            bool(record.flags & CABLE_FLAG_CHECKED),
            now_ns,
        )

    def _take_ordinary(self, header: FrameHeader, payload: bytes, now_ns: int) -> None:
        link = self._link
        source = (header.src_incarnation, header.src_epoch)
        is_known = source == (link.peer.incarnation, link.peer_epoch)
        lost_us = is_known and header.dst_epoch == 0 and link.tx is TxState.UP
        if lost_us:  # heeded even while we do not hear the peer, or two deaf ends would stay so
            link.enter_training(LinkReason.PEER_LOST_US, now_ns)
        if not link.rx_up or not is_known:
            link.drop(LinkDrop.STALE_SOURCE if link.rx_up else LinkDrop.NOT_TRAINED)
            return
        link.last_heard_ns = now_ns
        if header.dst_incarnation == link.config.incarnation:
            link.flow.peer(header.flipc_ack, header.flipc_credit)
            if header.dst_epoch == link.epoch:
                link.confirmed(header, now_ns)
        if header.type == FrameType.DATA:
            self._data.take_data(header, payload, now_ns)
        elif header.type == FrameType.ACK:
            self._data.take_count(header, now_ns)
        elif header.type == FrameType.NAK:
            self._data.take_nak(header, now_ns)
        elif header.type == FrameType.DOWN:
            link.close_rx(LinkReason.PEER_CLOSED, now_ns)

    def _renegotiate(self, now_ns: int) -> None:
        """Our flags are others than this epoch's TRAINs told, or than the peer's epoch was opened
        with.

        A direction of ours that is up keeps what it has; the peer's next TRAIN compares.
        """
        self._link.close_rx(LinkReason.CARRIER, now_ns)
        if self._link.tx is TxState.TRAINING:
            self._link.start_epoch(now_ns)
