# SPDX-License-Identifier: MIT
"""The link protocol: one end of one link, as a state machine.

It trains both directions, keeps them alive, and refuses peers that cannot be trained with; DATA frames
are the business of its two windows, `fragments.SendWindow` and `receive_window.ReceiveWindow`. It reads
no clock and does no I/O: the owner passes carrier changes, frames and the time, sends what
`take_outputs()` gives to the PHY, and calls `tick()` no later than `next_deadline_ns()`. It knows
nothing of ports or of other links; what concerns all links of a node (which incarnation is dead,
whether an id is taken) it asks through `admit`.

Invariants: the two directions have lives of their own, one epoch each; only a transmit direction
that is UP raises its epoch in answer to the peer, so two ends that reset at once cannot chase each
other; an epoch in which DATA may have been sent is never heard twice. Specified in
docs/spec/link.md, sections 3 to 5, whose numbers the comments below name.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from crc32c import crc32c

from emulator.protocol.constants import (
    CABLE_FLAG_CHECKED,
    CABLE_NODE,
    FLAG_CONFIRMED,
    FRAME_HEADER_SIZE,
    REPLAY_TRIES_MAX,
    TRAIN_FLAG_PAYLOAD_CRC,
    TRAIN_FLAG_REPLAY,
    TRAIN_INTERVAL_NS,
    Admission,
    Direction,
    FrameType,
    LinkDrop,
    LinkReason,
    LinkRefusal,
    Verdict,
)
from emulator.protocol.fragments import FragmentError, SendWindow
from emulator.protocol.frames import (
    CableRecord,
    FrameHeader,
    RefuseRecord,
    TrainRecord,
    check_frame,
    encode_frame,
)
from emulator.protocol.link_peer import LinkPeer
from emulator.protocol.link_types import (
    Admit,
    ClockSample,
    Confirmed,
    Deliver,
    Dropped,
    Flow,
    LinkConfig,
    LinkCounters,
    LinkStatistics,
    Output,
    PeerTrained,
    Refused,
    StateChanged,
    Transmit,
)
from emulator.protocol.receive_window import Mode, Order, ReceiveWindow

__all__ = ["LinkEnd"]

_TYPES: Final = frozenset(FrameType)


class _TxState(Enum):
    DOWN = "down"
    TRAINING = "training"
    UP = "up"


class _Carrier:
    """What the cable said last about one direction."""

    __slots__ = ("checked", "generation", "up")

    def __init__(self) -> None:
        self.up = False
        self.generation = -1
        self.checked = False


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
        self._config = config
        self._flow = flow
        self._admit = admit
        self._outputs: list[Output] = []
        self._carriers = {Direction.TX: _Carrier(), Direction.RX: _Carrier()}
        self._parked = False
        self._peer = LinkPeer(config.constants)
        # Transmit direction.
        self._tx = _TxState.DOWN
        self._epoch = 0
        self._train_count = 0
        self._last_train_ns = 0
        self._last_sent_ns = 0
        self._tx_mode = Mode()
        self._window = SendWindow(replay=False)
        # Receive direction.
        self._rx_up = False
        self._peer_epoch = 0  # heard last; meaningful for comparison while down
        self._last_heard_ns = 0
        self._arrived = ReceiveWindow(config.message_max)
        self._counters = LinkCounters()

    # What the owner calls ---------------------------------------------------------------------

    def take_outputs(self) -> list[Output]:
        """Return everything that came out since the last call, in order."""
        outputs = self._outputs
        self._outputs = []
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
        state = self._carriers[direction]
        if (state.up, state.generation, state.checked) == (up, generation, checked):
            return
        flags_before = self._own_flags()
        state.up = up
        state.generation = generation
        state.checked = checked
        if direction is Direction.RX:
            self._close_rx(LinkReason.CARRIER, now_ns)
        else:
            self._leave_tx(LinkReason.CARRIER)
        if self._own_flags() != flags_before:
            self._renegotiate(now_ns)
        self._parked = False
        if self._carriers[Direction.TX].up and self._tx is _TxState.DOWN:
            self._enter_training(LinkReason.CARRIER, now_ns)

    def _renegotiate(self, now_ns: int) -> None:
        """Our flags are others than this epoch's TRAINs told, or than the peer's epoch was opened
        with.

        A direction of ours that is up keeps what it has; the peer's next TRAIN compares.
        """
        self._close_rx(LinkReason.CARRIER, now_ns)
        if self._tx is _TxState.TRAINING:
            self._start_epoch(now_ns)

    def receive(self, frame: bytes, now_ns: int) -> None:
        """Take a frame from the PHY; any bytes are allowed."""
        self._take(frame, now_ns)
        self._pump(now_ns)  # its ack may have made room

    def _take(self, frame: bytes, now_ns: int) -> None:
        header = check_frame(
            frame, self._config.mtu, payload_checked=self._arrived.mode.payload_checked
        )
        if isinstance(header, LinkDrop):
            self._drop(header)
            if header is LinkDrop.BAD_PAYLOAD:
                self._take_damaged(FrameHeader.parse(frame), now_ns)
            return
        self._counters.rx_frames += 1
        self._counters.rx_bytes += len(frame)
        payload = frame[FRAME_HEADER_SIZE:]
        if header.type == FrameType.CABLE:
            self._take_cable(header, payload, now_ns)
        elif header.type not in _TYPES:
            self._drop(LinkDrop.BAD_TYPE)
        elif not self._carriers[Direction.RX].up:
            self._drop(LinkDrop.NOT_TRAINED)
        elif header.dst_node != self._config.node_id:
            self._drop(LinkDrop.WRONG_NODE)
        elif header.type == FrameType.REFUSE:
            self._take_refuse(header, payload)
        elif header.src_node != self._config.peer_id:
            self._take_stranger(header)
        elif header.dst_incarnation not in (0, self._config.incarnation):
            self._drop(LinkDrop.STALE_DESTINATION)
        elif header.type == FrameType.TRAIN:
            self._take_train(header, payload, now_ns)
        else:
            self._take_ordinary(header, payload, now_ns)

    def send(self, message: bytes, now_ns: int) -> bool:
        """Send one whole mnl message.

        Returns:
            False if the transmit direction is not up or its replay window has no room; nothing
            changed then.

        Raises:
            ValueError: The message is shorter than an mnl header or longer than the peer receives.
        """
        if self._tx is not _TxState.UP or not self._window.has_room():
            return False
        assert self._peer.record is not None
        if not 24 <= len(message) <= self._peer.record.message_max:
            raise ValueError(f"mnl message of {len(message)} bytes")
        self._window.queue(message, min(self._config.mtu, self._peer.record.mtu))
        self._pump(now_ns)
        return True

    def acknowledge(self, now_ns: int) -> None:
        """Send an ACK now, if the transmit direction is up: whoever watches sees that we live."""
        if self._tx is _TxState.UP:
            self._send(FrameType.ACK, now_ns)

    def tick(self, now_ns: int) -> None:
        """Do everything whose deadline has come."""
        if self._tx is _TxState.TRAINING and now_ns >= self._last_train_ns + TRAIN_INTERVAL_NS:
            self._send_train(now_ns)
        if self._rx_up and now_ns >= self._silent_at_ns():
            self._close_rx(LinkReason.SILENT, now_ns)
        if self._tx is not _TxState.UP:
            return
        replay_at_ns = self._window.replay_at_ns(self._peer.round_trip_ns)
        if replay_at_ns is not None and now_ns >= replay_at_ns:
            self._replay(now_ns)
        if self._tx is _TxState.UP and now_ns >= self._ack_at_ns():
            self._send(FrameType.ACK, now_ns)

    def next_deadline_ns(self) -> int | None:
        """Return when `tick()` has something to do; the past means now, None never."""
        deadlines: list[int] = []
        if self._tx is _TxState.TRAINING:
            deadlines.append(self._last_train_ns + TRAIN_INTERVAL_NS)
        if self._rx_up:
            deadlines.append(self._silent_at_ns())
        if self._tx is _TxState.UP:
            deadlines.append(self._ack_at_ns())
            replay_at_ns = self._window.replay_at_ns(self._peer.round_trip_ns)
            if replay_at_ns is not None:
                deadlines.append(replay_at_ns)
        return min(deadlines, default=None)

    def close(self, now_ns: int) -> None:
        """Stop in order: tell the peer, take both directions down; a later carrier change starts
        again."""
        if self._tx is not _TxState.DOWN:
            self._send(FrameType.DOWN, now_ns)
        for state in self._carriers.values():
            state.up = False
        self._change(LinkReason.DRIVER_STOPPED, rx_up=False, tx=_TxState.DOWN)

    def garbage(self, now_ns: int) -> None:
        """Close the receive direction because what it carried breaks the protocol above; the peer
        retrains."""
        self._close_rx(LinkReason.GARBAGE, now_ns)

    def peer_dead(self, incarnation: int, now_ns: int) -> None:
        """Forget an incarnation of the peer that was declared dead elsewhere.

        Args:
            incarnation: This one and everything older is refused as STALE from now on.
            now_ns: The time.
        """
        peer = self._peer
        peer.dead = max(peer.dead, incarnation)
        if peer.incarnation == 0 or peer.incarnation > incarnation:
            return
        was_up = self._tx is _TxState.UP
        self._end_life()
        peer.begin(0)
        if was_up:
            self._start_epoch(now_ns)

    def count_foreign(self, drop: LinkDrop | None) -> None:
        """Count a frame of a route that came by this link: passed on, or dropped and why."""
        if drop is None:
            self._counters.forwarded += 1
        else:
            self._drop(drop)

    def statistics(self) -> LinkStatistics:
        """Return the counters as they are now."""
        return LinkStatistics(
            peer=self._config.peer_id,
            rx_up=self._rx_up,
            tx_up=self._tx is _TxState.UP,
            epoch=self._epoch,
            peer_epoch=self._peer_epoch if self._rx_up else 0,
            round_trip_ns=self._peer.round_trip_ns,
            **self._counters.numbers(),
            drops=tuple(self._counters.drops),
        )

    def clock(self) -> ClockSample | None:
        """Return how the peer's clock relates to ours, from its last training; None: not known."""
        return self._peer.clock

    # State of the two directions --------------------------------------------------------------

    def _change(self, reason: LinkReason, *, rx_up: bool, tx: _TxState) -> None:
        """Enter a state and tell the owner if a direction came up or went down."""
        before = (self._rx_up, self._tx is _TxState.UP)
        if self._rx_up and not rx_up:
            self._arrived.close()
        if self._tx is _TxState.UP and tx is not _TxState.UP:
            self._window = SendWindow(replay=False)
        self._rx_up = rx_up
        self._tx = tx
        tx_up = tx is _TxState.UP
        if before == (rx_up, tx_up):
            return
        self._outputs.append(
            StateChanged(
                rx_up=rx_up,
                tx_up=tx_up,
                epoch=self._epoch,
                peer_epoch=self._peer_epoch if rx_up else 0,
                peer_incarnation=self._peer.incarnation,
                reason=reason,
                flipc_next=self._peer.flipc_next if tx_up else None,
            )
        )

    def _close_rx(self, reason: LinkReason, now_ns: int) -> None:
        """Take the receive direction down and say so at once, because the peer may have much to
        send again."""
        if not self._rx_up:
            return
        self._change(reason, rx_up=False, tx=self._tx)
        if self._tx is _TxState.UP:
            self._send(FrameType.ACK, now_ns)

    def _leave_tx(self, reason: LinkReason) -> None:
        self._change(reason, rx_up=self._rx_up, tx=_TxState.DOWN)

    def _enter_training(self, reason: LinkReason, now_ns: int) -> None:
        self._change(reason, rx_up=self._rx_up, tx=_TxState.TRAINING)
        self._start_epoch(now_ns)

    def _start_epoch(self, now_ns: int) -> None:
        self._epoch += 1
        self._train_count = 0
        self._send_train(now_ns)

    def _negotiated(self) -> Mode:
        ours = self._own_flags()
        theirs = self._peer.record.flags if self._peer.record is not None else 0
        return Mode(
            payload_checked=bool((ours | theirs) & TRAIN_FLAG_PAYLOAD_CRC),
            replay=bool(ours & theirs & TRAIN_FLAG_REPLAY),
        )

    def _own_flags(self) -> int:
        checked = any(state.checked for state in self._carriers.values())
        flags = TRAIN_FLAG_PAYLOAD_CRC if checked or self._config.wants_crc else 0
        return flags | (TRAIN_FLAG_REPLAY if checked or self._config.offers_replay else 0)

    # Deadlines (3.4) --------------------------------------------------------------------------

    def _silent_at_ns(self) -> int:
        return self._last_heard_ns + self._config.constants.link_down_after_ns

    def _ack_at_ns(self) -> int:
        """Return when a frame has to go out that carries acks, or at least shows life; transmit is
        UP."""
        constants = self._config.constants
        at_ns = self._last_sent_ns + constants.keepalive_ns
        owed_at_ns = self._arrived.ack_at_ns(constants.ack_delay_ns)
        if owed_at_ns is not None:
            at_ns = min(at_ns, owed_at_ns)
        flipc_at_ns = self._flow.ack_deadline_ns() if self._peer.incarnation else None
        return at_ns if flipc_at_ns is None else min(at_ns, flipc_at_ns)

    # Sending ----------------------------------------------------------------------------------

    def _send(
        self,
        frame_type: FrameType,
        now_ns: int,
        *,
        flags: int = 0,
        seq: int | None = None,
        payload: bytes = b"",
    ) -> None:
        """Write a frame with a fresh header; it carries whatever acks are owed."""
        if not self._carriers[Direction.TX].up:
            return
        covered = payload and (frame_type is not FrameType.DATA or self._tx_mode.payload_checked)
        knows_peer = self._peer.incarnation != 0
        header = FrameHeader(
            src_node=self._config.node_id,
            dst_node=self._config.peer_id,
            src_incarnation=self._config.incarnation,
            dst_incarnation=self._peer.incarnation,
            src_epoch=self._epoch,
            dst_epoch=self._peer_epoch if self._rx_up else 0,
            type=frame_type,
            flags=flags,
            route=self._config.route,
            length=len(payload),
            seq=self._window.next_seq if seq is None else seq,
            ack=self._arrived.expected if self._rx_up else 0,
            flipc_ack=self._flow.ack() if knows_peer else 0,
            flipc_credit=self._flow.credit() if knows_peer else 0,
            payload_crc=crc32c(payload) if covered else 0,
        )
        self._arrived.acknowledged()
        self._last_sent_ns = now_ns
        self._put(header, payload)

    def _put(self, header: FrameHeader, payload: bytes) -> None:
        frame = encode_frame(header, payload)
        self._counters.tx_frames += 1
        self._counters.tx_bytes += len(frame)
        self._outputs.append(Transmit(frame))

    def _send_train(self, now_ns: int) -> None:
        record = TrainRecord(
            byte_order=self._config.byte_order,
            data_model=self._config.data_model,
            flags=self._own_flags(),
            mtu=self._config.mtu,
            message_max=self._config.message_max,
            constants=self._config.constants,
            flipc_next=self._flow.flipc_next() if self._peer.incarnation else 0,
            clock_ns=now_ns,
            echo_clock_ns=self._peer.echo_clock_ns,
            echo_received_ns=self._peer.echo_received_ns,
        )
        self._train_count += 1
        self._last_train_ns = now_ns
        self._send(
            FrameType.TRAIN,
            now_ns,
            flags=FLAG_CONFIRMED if self._tx is _TxState.UP else 0,
            seq=self._train_count,
            payload=record.serialize(),
        )

    def _send_data(self, seq: int, flags: int, payload: bytes, now_ns: int) -> None:
        self._counters.tx_data_frames += 1
        self._send(FrameType.DATA, now_ns, flags=flags, seq=seq, payload=payload)

    def _pump(self, now_ns: int) -> None:
        """Send the pieces for which the window has room."""
        while (taken := self._window.take(now_ns)) is not None:
            seq, piece = taken
            self._send_data(seq, piece.flags, piece.payload, now_ns)

    def _replay(self, now_ns: int) -> None:
        """Send everything unacknowledged again, or give the epoch up (3.5)."""
        if self._window.tries == REPLAY_TRIES_MAX:
            self._enter_training(LinkReason.REPLAY_EXHAUSTED, now_ns)
            return
        self._counters.replays += 1
        for seq, piece in self._window.replayed(now_ns):
            self._send_data(seq, piece.flags, piece.payload, now_ns)

    # Receiving --------------------------------------------------------------------------------

    def _drop(self, reason: LinkDrop) -> None:
        self._counters.drops[reason] += 1
        self._outputs.append(Dropped(reason))

    def _take_cable(self, header: FrameHeader, payload: bytes, now_ns: int) -> None:
        if not self._config.cable_frames or header.src_node != CABLE_NODE:
            self._drop(LinkDrop.BAD_TYPE)
            return
        record = CableRecord.parse(payload)
        if record is None or record.direction not in (Direction.TX, Direction.RX):
            self._drop(LinkDrop.BAD_RECORD)
            return
        self.carrier(
            Direction(record.direction),
            record.carrier != 0,
            record.generation,
            bool(record.flags & CABLE_FLAG_CHECKED),
            now_ns,
        )

    def _take_stranger(self, header: FrameHeader) -> None:
        """Not the peer the cable names: perhaps somebody with our own id (3.1, rules 3 and 4)."""
        self._drop(LinkDrop.WRONG_PEER)
        if header.type == FrameType.TRAIN:
            is_twin = header.src_node == self._config.node_id
            self._refuse(header, LinkRefusal.DUPLICATE_ID if is_twin else LinkRefusal.WRONG_PEER)

    def _take_refuse(self, header: FrameHeader, payload: bytes) -> None:
        """Park if the refusal is about our life (3.7)."""
        record = RefuseRecord.parse(payload)
        if record is None or record.reason not in set(LinkRefusal):
            self._drop(LinkDrop.BAD_RECORD)
        elif record.incarnation != self._config.incarnation:
            self._drop(LinkDrop.STALE_DESTINATION)
        elif not self._parked and self._tx is not _TxState.DOWN:
            self._parked = True
            if header.src_node == self._config.peer_id:
                self._peer.newest = max(self._peer.newest, header.src_incarnation)
            self._change(LinkReason.REFUSED, rx_up=False, tx=_TxState.DOWN)
            self._outputs.append(
                Refused(
                    by_us=False, reason=LinkRefusal(record.reason), incarnation=record.incarnation
                )
            )

    def _refuse(self, header: FrameHeader, reason: LinkRefusal) -> None:
        """Answer a TRAIN with REFUSE; nothing else of our state changes."""
        self._outputs.append(Refused(by_us=True, reason=reason, incarnation=header.src_incarnation))
        if not self._carriers[Direction.TX].up:
            return
        payload = RefuseRecord(reason=reason, incarnation=header.src_incarnation).serialize()
        self._put(
            FrameHeader(
                src_node=self._config.node_id,
                dst_node=header.src_node,
                src_incarnation=self._config.incarnation,
                dst_incarnation=header.src_incarnation,
                src_epoch=self._epoch,
                dst_epoch=0,
                type=FrameType.REFUSE,
                route=self._config.route,
                length=len(payload),
                seq=self._window.next_seq,
                payload_crc=crc32c(payload),
            ),
            payload,
        )

    # TRAIN (3.2) ------------------------------------------------------------------------------

    def _take_train(self, header: FrameHeader, payload: bytes, now_ns: int) -> None:
        record = TrainRecord.parse(payload)
        if record is None or header.src_epoch == 0:
            self._drop(LinkDrop.BAD_RECORD)
            return
        verdict: Admission | None = self._peer.objection(header, record)
        if verdict is None:
            verdict = self._admit(header.src_node, header.src_incarnation)
        if isinstance(verdict, LinkRefusal):
            self._refuse(header, verdict)
        elif verdict is Verdict.HOLD or not self._unpark(header):
            self._drop(LinkDrop.NOT_TRAINED)
        else:
            self._accept_train(header, record, now_ns)

    def _unpark(self, header: FrameHeader) -> bool:
        """Return whether training may go on: a parked link wakes for a new life of the peer
        only."""
        if self._parked and header.src_incarnation > self._peer.newest:
            self._parked = False
        return not self._parked

    def _accept_train(self, header: FrameHeader, record: TrainRecord, now_ns: int) -> None:
        """Steps 2 to 5 of 3.2 for a claim that is admitted."""
        is_new_life = header.src_incarnation != self._peer.incarnation
        lost_us = self._tx is _TxState.UP and is_new_life
        if is_new_life:
            self._begin_life(header.src_incarnation)
        if not self._peer.advance(header):
            self._drop(LinkDrop.DUPLICATE)
            return
        is_ours = header.dst_incarnation == self._config.incarnation
        self._peer.note(record, is_ours=is_ours, now_ns=now_ns)
        self._open_rx(header, record, is_new_life=is_new_life, now_ns=now_ns)
        if is_ours:
            self._flow.peer(header.flipc_ack, header.flipc_credit)
        trains_before = (self._epoch, self._train_count)
        if self._tx is _TxState.DOWN and self._carriers[Direction.TX].up:
            self._enter_training(LinkReason.CARRIER, now_ns)  # was parked
        elif lost_us:
            self._start_epoch(now_ns)
        elif is_ours and header.dst_epoch == self._epoch and self._tx is not _TxState.DOWN:
            self._confirmed(header, now_ns)
            if self._tx_mode != self._negotiated():
                self._enter_training(LinkReason.RETRAIN, now_ns)
        elif self._tx is _TxState.UP:
            self._enter_training(LinkReason.PEER_LOST_US, now_ns)
        is_answered = trains_before != (self._epoch, self._train_count)
        if not header.flags & FLAG_CONFIRMED and not is_answered and self._tx is not _TxState.DOWN:
            self._send_train(now_ns)

    def _begin_life(self, incarnation: int) -> None:
        """The peer has another life: everything of the old one goes, and the owner hears of it
        first."""
        self._end_life()
        self._peer.begin(incarnation)
        self._flow.peer_changed(incarnation)

    def _end_life(self) -> None:
        """Take both directions down in one word; an epoch has to be started if the link was up."""
        tx = _TxState.TRAINING if self._tx is _TxState.UP else self._tx
        self._change(LinkReason.NODE_DEAD, rx_up=False, tx=tx)

    def _open_rx(
        self, header: FrameHeader, record: TrainRecord, *, is_new_life: bool, now_ns: int
    ) -> None:
        """Bring the receive direction up, unless DATA of this epoch may have been missed (3.2, step
        3)."""
        is_new_epoch = is_new_life or header.src_epoch != self._peer_epoch
        self._last_heard_ns = now_ns
        if self._rx_up and not is_new_epoch:
            return
        if not is_new_epoch and header.flags & FLAG_CONFIRMED:
            return
        if self._rx_up:
            self._change(LinkReason.RETRAIN, rx_up=False, tx=self._tx)
        self._peer_epoch = header.src_epoch
        self._arrived.open(self._negotiated())
        self._outputs.append(
            PeerTrained(
                node_id=header.src_node,
                incarnation=header.src_incarnation,
                record=record,
                is_new_life=is_new_life,
            )
        )
        self._change(LinkReason.TRAINED, rx_up=True, tx=self._tx)

    # Frames of a trained direction (3.1, rules 6 to 8) ----------------------------------------

    def _take_ordinary(self, header: FrameHeader, payload: bytes, now_ns: int) -> None:
        source = (header.src_incarnation, header.src_epoch)
        is_known = source == (self._peer.incarnation, self._peer_epoch)
        lost_us = is_known and header.dst_epoch == 0 and self._tx is _TxState.UP
        if lost_us:  # heeded even while we do not hear the peer, or two deaf ends would stay so
            self._enter_training(LinkReason.PEER_LOST_US, now_ns)
        if not self._rx_up or not is_known:
            self._drop(LinkDrop.STALE_SOURCE if self._rx_up else LinkDrop.NOT_TRAINED)
            return
        self._last_heard_ns = now_ns
        if header.dst_incarnation == self._config.incarnation:
            self._flow.peer(header.flipc_ack, header.flipc_credit)
            if header.dst_epoch == self._epoch:
                self._confirmed(header, now_ns)
        if header.type == FrameType.DATA:
            self._take_data(header, payload, now_ns)
        elif header.type == FrameType.ACK:
            self._take_count(header, now_ns)
        elif header.type == FrameType.NAK:
            self._take_nak(header, now_ns)
        elif header.type == FrameType.DOWN:
            self._close_rx(LinkReason.PEER_CLOSED, now_ns)

    def _confirmed(self, header: FrameHeader, now_ns: int) -> None:
        """The peer hears our epoch: the transmit direction is up and `ack` counts."""
        if self._tx is _TxState.TRAINING:
            self._tx_mode = self._negotiated()
            self._window = SendWindow(replay=self._tx_mode.replay)
            self._counters.trained += 1
            self._change(LinkReason.TRAINED, rx_up=self._rx_up, tx=_TxState.UP)
        if self._tx is not _TxState.UP:
            return
        message_count = self._window.acknowledge(header.ack, now_ns)
        if message_count is None:
            self._drop(LinkDrop.BAD_ACK)
        elif message_count:
            self._outputs.append(Confirmed(message_count))

    def _take_nak(self, header: FrameHeader, now_ns: int) -> None:
        if header.dst_epoch == self._epoch and self._window.has_unacknowledged:
            self._replay(now_ns)

    def _take_damaged(self, header: FrameHeader, now_ns: int) -> None:
        """DATA of the epoch heard lost its payload: where nothing is replayed, nobody else will say
        so (3.5)."""
        is_heard = (
            header.type == FrameType.DATA
            and self._rx_up
            and header.dst_node == self._config.node_id
            and header.src_node == self._config.peer_id
            and header.dst_incarnation in (0, self._config.incarnation)
            and (header.src_incarnation, header.src_epoch)
            == (self._peer.incarnation, self._peer_epoch)
        )
        if is_heard and not self._arrived.mode.replay:
            self._close_rx(LinkReason.GAP, now_ns)

    def _take_count(self, header: FrameHeader, now_ns: int) -> None:
        """A pure ack says how many DATA frames were sent before it: are some missing at the end,
        where no further DATA shows it (3.5)?"""
        is_short = self._arrived.order(header.seq) is Order.AHEAD
        if self._rx_up and is_short and not self._arrived.mode.replay:
            self._drop(LinkDrop.OUT_OF_ORDER)
            self._close_rx(LinkReason.GAP, now_ns)

    def _take_data(self, header: FrameHeader, payload: bytes, now_ns: int) -> None:
        match self._arrived.order(header.seq):
            case Order.NEXT:
                self._accept_data(header, payload, now_ns)
            case Order.REPEATED:
                self._drop(LinkDrop.DUPLICATE)
                self._owe(now_ns)
            case Order.AHEAD:
                self._drop(LinkDrop.OUT_OF_ORDER)
                if self._arrived.mode.replay:
                    self._ask_again(now_ns)
                else:
                    self._close_rx(LinkReason.GAP, now_ns)

    def _ask_again(self, now_ns: int) -> None:
        """One NAK a gap."""
        if not self._arrived.nak_sent and self._tx is _TxState.UP:
            self._arrived.nak_sent = True
            self._counters.naks += 1
            self._send(FrameType.NAK, now_ns)

    def _accept_data(self, header: FrameHeader, payload: bytes, now_ns: int) -> None:
        try:
            message = self._arrived.accept(header.flags, payload)
        except FragmentError:
            self._drop(LinkDrop.BAD_FRAGMENT)
            self._close_rx(LinkReason.GARBAGE, now_ns)
            return
        self._counters.rx_data_frames += 1
        if message is not None:
            self._outputs.append(Deliver(message))
        self._owe(now_ns)

    def _owe(self, now_ns: int) -> None:
        """Note that a DATA frame wants its ack, and send it if many do."""
        owed = self._arrived.owe(now_ns)
        if owed >= self._config.constants.ack_count and self._tx is _TxState.UP:
            self._send(FrameType.ACK, now_ns)
