# SPDX-License-Identifier: MIT
"""DATA of a link end: messages that go out in pieces and arrive whole, and what is said when a
piece is missing (docs/spec/link.md, sections 3.5 and 3.6).

A part of `LinkEnd`, which gives it the DATA, ACK and NAK of a trained direction. The order of
frames and their pieces are the business of the windows, `fragments.SendWindow` and
`receive_window.ReceiveWindow`.
"""

from __future__ import annotations

from emulator.protocol.constants import (
    REPLAY_TRIES_MAX,
    FrameType,
    LinkDrop,
    LinkReason,
)
from emulator.protocol.fragments import FragmentError
from emulator.protocol.frames import FrameHeader
from emulator.protocol.link_state import LinkState, TxState
from emulator.protocol.link_types import Deliver
from emulator.protocol.receive_window import Order

__all__ = ["LinkData"]


class LinkData:
    """Moves messages through the windows of both directions."""

    def __init__(self, link: LinkState) -> None:
        """Begin with nothing sent.

        Args:
            link: Whose part this is.
        """
        self._link = link

    # Out ------------------------------------------------------------------------------------------

    def send(self, message: bytes, now_ns: int) -> bool:
        """Send one whole mnl message, as `LinkEnd.send()` says."""
        link = self._link
        if link.tx is not TxState.UP or not link.window.has_room():
            return False
        assert link.peer.record is not None
        if not 24 <= len(message) <= link.peer.record.message_max:
            raise ValueError(f"mnl message of {len(message)} bytes")
        link.window.queue(message, min(link.config.mtu, link.peer.record.mtu))
        self.pump(now_ns)
        return True

    def pump(self, now_ns: int) -> None:
        """Send the pieces for which the window has room."""
        while (taken := self._link.window.take(now_ns)) is not None:
            seq, piece = taken
            self._send_data(seq, piece.flags, piece.payload, now_ns)

    def replay_at_ns(self) -> int | None:
        """Return when everything unacknowledged has to go out again, None if nothing is."""
        return self._link.window.replay_at_ns(self._link.peer.round_trip_ns)

    def replay(self, now_ns: int) -> None:
        """Send everything unacknowledged again, or give the epoch up (3.5)."""
        link = self._link
        if link.window.tries == REPLAY_TRIES_MAX:
            link.enter_training(LinkReason.REPLAY_EXHAUSTED, now_ns)
            return
        link.counters.replays += 1
        for seq, piece in link.window.replayed(now_ns):
            self._send_data(seq, piece.flags, piece.payload, now_ns)

    def _send_data(self, seq: int, flags: int, payload: bytes, now_ns: int) -> None:
        self._link.counters.tx_data_frames += 1
        self._link.send(FrameType.DATA, now_ns, flags=flags, seq=seq, payload=payload)

    # In -------------------------------------------------------------------------------------------

    def take_data(self, header: FrameHeader, payload: bytes, now_ns: int) -> None:
        """Take a piece of a message."""
        link = self._link
        match link.arrived.order(header.seq):
            case Order.NEXT:
                self._accept_data(header, payload, now_ns)
            case Order.REPEATED:
                link.drop(LinkDrop.DUPLICATE)
                self._owe(now_ns)
            case Order.AHEAD:
                link.drop(LinkDrop.OUT_OF_ORDER)
                if link.arrived.mode.replay:
                    self._ask_again(now_ns)
                else:
                    link.close_rx(LinkReason.GAP, now_ns)

    def take_nak(self, header: FrameHeader, now_ns: int) -> None:
        """The peer misses something: send it again."""
        if header.dst_epoch == self._link.epoch and self._link.window.has_unacknowledged:
            self.replay(now_ns)

    def take_damaged(self, header: FrameHeader, now_ns: int) -> None:
        """DATA of the epoch heard lost its payload: where nothing is replayed, nobody else will say
        so (3.5)."""
        link = self._link
        is_heard = (
            header.type == FrameType.DATA
            and link.rx_up
            and header.dst_node == link.config.node_id
            and header.src_node == link.config.peer_id
            and header.dst_incarnation in (0, link.config.incarnation)
            and (header.src_incarnation, header.src_epoch)
            == (link.peer.incarnation, link.peer_epoch)
        )
        if is_heard and not link.arrived.mode.replay:
            link.close_rx(LinkReason.GAP, now_ns)

    def take_count(self, header: FrameHeader, now_ns: int) -> None:
        """A pure ack says how many DATA frames were sent before it: are some missing at the end,
        where no further DATA shows it (3.5)?"""
        link = self._link
        is_short = link.arrived.order(header.seq) is Order.AHEAD
        if link.rx_up and is_short and not link.arrived.mode.replay:
            link.drop(LinkDrop.OUT_OF_ORDER)
            link.close_rx(LinkReason.GAP, now_ns)

    def _accept_data(self, header: FrameHeader, payload: bytes, now_ns: int) -> None:
        link = self._link
        try:
            message = link.arrived.accept(header.flags, payload)
        except FragmentError:
            link.drop(LinkDrop.BAD_FRAGMENT)
            link.close_rx(LinkReason.GARBAGE, now_ns)
            return
        link.counters.rx_data_frames += 1
        if message is not None:
            link.outputs.append(Deliver(message))
        self._owe(now_ns)

    def _ask_again(self, now_ns: int) -> None:
        """One NAK a gap."""
        link = self._link
        if not link.arrived.nak_sent and link.tx is TxState.UP:
            link.arrived.nak_sent = True
            link.counters.naks += 1
            link.send(FrameType.NAK, now_ns)

    def _owe(self, now_ns: int) -> None:
        """Note that a DATA frame wants its ack, and send it if many do."""
        link = self._link
        owed = link.arrived.owe(now_ns)
        if owed >= link.config.constants.ack_count and link.tx is TxState.UP:
            link.send(FrameType.ACK, now_ns)
