# SPDX-License-Identifier: MIT
"""The two directions of a link end: whether each is up, its epoch, and every frame that goes out.

What the parts of a `LinkEnd` share: `link.py` decides which frame goes where, `link_training.py`
what training comes to, `link_data.py` what DATA means; here are the states that they bring about,
and the headers that tell the peer of them. Used by these three only.

Invariants: the two directions have lives of their own, one epoch each; an epoch in which DATA may
have been sent is never heard twice. Specified in docs/spec/link.md, sections 3 to 5.
"""

from __future__ import annotations

from enum import Enum

from crc32c import crc32c

from emulator.protocol.constants import (
    FLAG_CONFIRMED,
    TRAIN_FLAG_PAYLOAD_CRC,
    TRAIN_FLAG_REPLAY,
    Direction,
    FrameType,
    LinkDrop,
    LinkReason,
)
from emulator.protocol.fragments import SendWindow
from emulator.protocol.frames import FrameHeader, TrainRecord, encode_frame
from emulator.protocol.link_peer import LinkPeer
from emulator.protocol.link_types import (
    Confirmed,
    Dropped,
    Flow,
    LinkConfig,
    LinkCounters,
    Output,
    StateChanged,
    Transmit,
)
from emulator.protocol.receive_window import Mode, ReceiveWindow

__all__ = ["Carrier", "LinkState", "TxState"]


class TxState(Enum):
    """Where the transmit direction is."""

    DOWN = "down"
    TRAINING = "training"
    UP = "up"


class Carrier:
    """What the cable said last about one direction.

    Attributes:
        up: Whether it has carrier.
        generation: Of its cable; -1: nothing was said.
        checked: Bytes may change on the way.
    """

    __slots__ = ("checked", "generation", "up")

    def __init__(self) -> None:
        """Nothing was said."""
        self.up = False
        self.generation = -1
        self.checked = False


class LinkState:
    """Both directions, the windows in them, and what is known of the peer.

    Attributes:
        config: Who we are and what we can do.
        flow: FLIPC state of the pair behind this link.
        outputs: What came out and was not taken.
        carriers: Of both directions.
        peer: What is known of it.
        counters: Of the link.
        tx: State of the transmit direction.
        epoch: Of the transmit direction.
        train_count: TRAINs sent in that epoch.
        last_train_ns: When the last was.
        last_sent_ns: When the last frame was.
        tx_mode: What both agreed on for DATA that we send.
        window: DATA that we send.
        rx_up: State of the receive direction.
        peer_epoch: The one heard last; meaningful for comparison while the direction is down.
        last_heard_ns: When the peer was heard last.
        arrived: DATA that we receive.
    """

    def __init__(self, config: LinkConfig, flow: Flow) -> None:
        """Begin without carrier in either direction."""
        self.config = config
        self.flow = flow
        self.outputs: list[Output] = []
        self.carriers = {Direction.TX: Carrier(), Direction.RX: Carrier()}
        self.peer = LinkPeer(config.constants)
        self.counters = LinkCounters()
        self.tx = TxState.DOWN
        self.epoch = 0
        self.train_count = 0
        self.last_train_ns = 0
        self.last_sent_ns = 0
        self.tx_mode = Mode()
        self.window = SendWindow(replay=False)
        self.rx_up = False
        self.peer_epoch = 0
        self.last_heard_ns = 0
        self.arrived = ReceiveWindow(config.message_max)

    # States ---------------------------------------------------------------------------------------

    def change(self, reason: LinkReason, *, rx_up: bool, tx: TxState) -> None:
        """Enter a state and tell the owner if a direction came up or went down."""
        before = (self.rx_up, self.tx is TxState.UP)
        if self.rx_up and not rx_up:
            self.arrived.close()
        if self.tx is TxState.UP and tx is not TxState.UP:
            self.window = SendWindow(replay=False)
        self.rx_up = rx_up
        self.tx = tx
        tx_up = tx is TxState.UP
        if before == (rx_up, tx_up):
            return
        self.outputs.append(
            StateChanged(
                rx_up=rx_up,
                tx_up=tx_up,
                epoch=self.epoch,
                peer_epoch=self.peer_epoch if rx_up else 0,
                peer_incarnation=self.peer.incarnation,
                reason=reason,
                flipc_next=self.peer.flipc_next if tx_up else None,
            )
        )

    def close_rx(self, reason: LinkReason, now_ns: int) -> None:
        """Take the receive direction down and say so at once, because the peer may have much to
        send again."""
        if not self.rx_up:
            return
        self.change(reason, rx_up=False, tx=self.tx)
        if self.tx is TxState.UP:
            self.send(FrameType.ACK, now_ns)

    def leave_tx(self, reason: LinkReason) -> None:
        """Take the transmit direction down."""
        self.change(reason, rx_up=self.rx_up, tx=TxState.DOWN)

    def enter_training(self, reason: LinkReason, now_ns: int) -> None:
        """Train the transmit direction anew, in another epoch."""
        self.change(reason, rx_up=self.rx_up, tx=TxState.TRAINING)
        self.start_epoch(now_ns)

    def start_epoch(self, now_ns: int) -> None:
        """Begin another epoch and say so; the state stays what it is."""
        self.epoch += 1
        self.train_count = 0
        self.send_train(now_ns)

    def confirmed(self, header: FrameHeader, now_ns: int) -> None:
        """The peer hears our epoch: the transmit direction is up and `ack` counts."""
        if self.tx is TxState.TRAINING:
            self.tx_mode = self.negotiated()
            self.window = SendWindow(replay=self.tx_mode.replay)
            self.counters.trained += 1
            self.change(LinkReason.TRAINED, rx_up=self.rx_up, tx=TxState.UP)
        if self.tx is not TxState.UP:
            return
        message_count = self.window.acknowledge(header.ack, now_ns)
        if message_count is None:
            self.drop(LinkDrop.BAD_ACK)
        elif message_count:
            self.outputs.append(Confirmed(message_count))

    def negotiated(self) -> Mode:
        """Return what both records together say about DATA."""
        ours = self.own_flags()
        theirs = self.peer.record.flags if self.peer.record is not None else 0
        return Mode(
            payload_checked=bool((ours | theirs) & TRAIN_FLAG_PAYLOAD_CRC),
            replay=bool(ours & theirs & TRAIN_FLAG_REPLAY),
        )

    def own_flags(self) -> int:
        """Return the flags of our training record."""
        checked = any(state.checked for state in self.carriers.values())
        flags = TRAIN_FLAG_PAYLOAD_CRC if checked or self.config.wants_crc else 0
        return flags | (TRAIN_FLAG_REPLAY if checked or self.config.offers_replay else 0)

    # Deadlines (3.4) ------------------------------------------------------------------------------

    def silent_at_ns(self) -> int:
        """Return when the peer has been silent for too long; receive is up."""
        return self.last_heard_ns + self.config.constants.link_down_after_ns

    def ack_at_ns(self) -> int:
        """Return when a frame has to go out that carries acks, or at least shows life; transmit is
        UP."""
        constants = self.config.constants
        at_ns = self.last_sent_ns + constants.keepalive_ns
        owed_at_ns = self.arrived.ack_at_ns(constants.ack_delay_ns)
        if owed_at_ns is not None:
            at_ns = min(at_ns, owed_at_ns)
        flipc_at_ns = self.flow.ack_deadline_ns() if self.peer.incarnation else None
        return at_ns if flipc_at_ns is None else min(at_ns, flipc_at_ns)

    # Sending --------------------------------------------------------------------------------------

    def send(
        self,
        frame_type: FrameType,
        now_ns: int,
        *,
        flags: int = 0,
        seq: int | None = None,
        payload: bytes = b"",
    ) -> None:
        """Write a frame with a fresh header; it carries whatever acks are owed."""
        if not self.carriers[Direction.TX].up:
            return
        covered = payload and (frame_type is not FrameType.DATA or self.tx_mode.payload_checked)
        knows_peer = self.peer.incarnation != 0
        header = FrameHeader(
            src_node=self.config.node_id,
            dst_node=self.config.peer_id,
            src_incarnation=self.config.incarnation,
            dst_incarnation=self.peer.incarnation,
            src_epoch=self.epoch,
            dst_epoch=self.peer_epoch if self.rx_up else 0,
            type=frame_type,
            flags=flags,
            route=self.config.route,
            length=len(payload),
            seq=self.window.next_seq if seq is None else seq,
            ack=self.arrived.expected if self.rx_up else 0,
            flipc_ack=self.flow.ack() if knows_peer else 0,
            flipc_credit=self.flow.credit() if knows_peer else 0,
            payload_crc=crc32c(payload) if covered else 0,
        )
        self.arrived.acknowledged()
        self.last_sent_ns = now_ns
        self.put(header, payload)

    def put(self, header: FrameHeader, payload: bytes) -> None:
        """Hand a frame to the PHY."""
        frame = encode_frame(header, payload)
        self.counters.tx_frames += 1
        self.counters.tx_bytes += len(frame)
        self.outputs.append(Transmit(frame))

    def send_train(self, now_ns: int) -> None:
        """Send the training record."""
        record = TrainRecord(
            byte_order=self.config.byte_order,
            data_model=self.config.data_model,
            flags=self.own_flags(),
            mtu=self.config.mtu,
            message_max=self.config.message_max,
            constants=self.config.constants,
            flipc_next=self.flow.flipc_next() if self.peer.incarnation else 0,
            clock_ns=now_ns,
            echo_clock_ns=self.peer.echo_clock_ns,
            echo_received_ns=self.peer.echo_received_ns,
        )
        self.train_count += 1
        self.last_train_ns = now_ns
        self.send(
            FrameType.TRAIN,
            now_ns,
            flags=FLAG_CONFIRMED if self.tx is TxState.UP else 0,
            seq=self.train_count,
            payload=record.serialize(),
        )

    def drop(self, reason: LinkDrop) -> None:
        """Count a frame that was not used, and tell the owner."""
        self.counters.drops[reason] += 1
        self.outputs.append(Dropped(reason))
