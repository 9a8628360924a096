# SPDX-License-Identifier: MIT
"""Training of a link end: whose claim is accepted, which life of the peer begins with it, and what
is refused (docs/spec/link.md, sections 3.1, 3.2 and 3.7).

A part of `LinkEnd`, which gives it TRAIN, REFUSE and the frames of strangers. Frames of a trained
direction are none of its business.

Invariant: only a transmit direction that is UP raises its epoch in answer to the peer, so two ends
that reset at once cannot chase each other.
"""

from __future__ import annotations

from crc32c import crc32c

from emulator.protocol.constants import (
    FLAG_CONFIRMED,
    Admission,
    Direction,
    FrameType,
    LinkDrop,
    LinkReason,
    LinkRefusal,
    Verdict,
)
from emulator.protocol.frames import FrameHeader, RefuseRecord, TrainRecord
from emulator.protocol.link_state import LinkState, TxState
from emulator.protocol.link_types import Admit, PeerTrained, Refused

__all__ = ["LinkTraining"]


class LinkTraining:
    """Takes what is said about lives, and begins and ends them.

    Attributes:
        is_parked: The peer refused our life: nothing is said before the cable or the peer changes.
    """

    def __init__(self, link: LinkState, admit: Admit) -> None:
        """Begin with nobody known.

        Args:
            link: Whose part this is.
            admit: Asked about each claim of an incarnation.
        """
        self.is_parked = False
        self._link = link
        self._admit = admit

    def peer_dead(self, incarnation: int, now_ns: int) -> None:
        """Forget an incarnation of the peer that was declared dead elsewhere.

        Args:
            incarnation: This one and everything older is refused as STALE from now on.
            now_ns: The time.
        """
        peer = self._link.peer
        peer.dead = max(peer.dead, incarnation)
        if peer.incarnation == 0 or peer.incarnation > incarnation:
            return
        was_up = self._link.tx is TxState.UP
        self._end_life()
        peer.begin(0)
        if was_up:
            self._link.start_epoch(now_ns)

    def take_train(self, header: FrameHeader, payload: bytes, now_ns: int) -> None:
        """Take a TRAIN of the peer that is meant for us."""
        record = TrainRecord.parse(payload)
        if record is None or header.src_epoch == 0:
            self._link.drop(LinkDrop.BAD_RECORD)
            return
        verdict: Admission | None = self._link.peer.objection(header, record)
        if verdict is None:
            verdict = self._admit(header.src_node, header.src_incarnation)
        if isinstance(verdict, LinkRefusal):
            self._refuse(header, verdict)
        elif verdict is Verdict.HOLD or not self._unpark(header):
            self._link.drop(LinkDrop.NOT_TRAINED)
        else:
            self._accept_train(header, record, now_ns)

    def take_refuse(self, header: FrameHeader, payload: bytes) -> None:
        """Park if the refusal is about our life (3.7)."""
        link = self._link
        record = RefuseRecord.parse(payload)
        if record is None or record.reason not in set(LinkRefusal):
            link.drop(LinkDrop.BAD_RECORD)
        elif record.incarnation != link.config.incarnation:
            link.drop(LinkDrop.STALE_DESTINATION)
        elif not self.is_parked and link.tx is not TxState.DOWN:
            self.is_parked = True
            if header.src_node == link.config.peer_id:
                link.peer.newest = max(link.peer.newest, header.src_incarnation)
            link.change(LinkReason.REFUSED, rx_up=False, tx=TxState.DOWN)
            link.outputs.append(
                Refused(
                    by_us=False, reason=LinkRefusal(record.reason), incarnation=record.incarnation
                )
            )

    def take_stranger(self, header: FrameHeader) -> None:
        """Not the peer the cable names: perhaps somebody with our own id (3.1, rules 3 and 4)."""
        self._link.drop(LinkDrop.WRONG_PEER)
        if header.type == FrameType.TRAIN:
            is_twin = header.src_node == self._link.config.node_id
            self._refuse(header, LinkRefusal.DUPLICATE_ID if is_twin else LinkRefusal.WRONG_PEER)

    def _unpark(self, header: FrameHeader) -> bool:
        """Return whether training may go on: a parked link wakes for a new life of the peer
        only."""
        if self.is_parked and header.src_incarnation > self._link.peer.newest:
            self.is_parked = False
        return not self.is_parked

    def _accept_train(self, header: FrameHeader, record: TrainRecord, now_ns: int) -> None:
        """Steps 2 to 5 of 3.2 for a claim that is admitted."""
        link = self._link
        is_new_life = header.src_incarnation != link.peer.incarnation
        lost_us = link.tx is TxState.UP and is_new_life
        if is_new_life:
            self._begin_life(header.src_incarnation)
        if not link.peer.advance(header):
            link.drop(LinkDrop.DUPLICATE)
            return
        is_ours = header.dst_incarnation == link.config.incarnation
        link.peer.note(record, is_ours=is_ours, now_ns=now_ns)
        self._open_rx(header, record, is_new_life=is_new_life, now_ns=now_ns)
        if is_ours:
            link.flow.peer(header.flipc_ack, header.flipc_credit)
        trains_before = (link.epoch, link.train_count)
        if link.tx is TxState.DOWN and link.carriers[Direction.TX].up:
            link.enter_training(LinkReason.CARRIER, now_ns)  # was parked
        elif lost_us:
            link.start_epoch(now_ns)
        elif is_ours and header.dst_epoch == link.epoch and link.tx is not TxState.DOWN:
            link.confirmed(header, now_ns)
            if link.tx_mode != link.negotiated():
                link.enter_training(LinkReason.RETRAIN, now_ns)
        elif link.tx is TxState.UP:
            link.enter_training(LinkReason.PEER_LOST_US, now_ns)
        is_answered = trains_before != (link.epoch, link.train_count)
        if not header.flags & FLAG_CONFIRMED and not is_answered and link.tx is not TxState.DOWN:
            link.send_train(now_ns)

    def _begin_life(self, incarnation: int) -> None:
        """The peer has another life: everything of the old one goes, and the owner hears of it
        first."""
        self._end_life()
        self._link.peer.begin(incarnation)
        self._link.flow.peer_changed(incarnation)

    def _end_life(self) -> None:
        """Take both directions down in one word; an epoch has to be started if the link was up."""
        tx = TxState.TRAINING if self._link.tx is TxState.UP else self._link.tx
        self._link.change(LinkReason.NODE_DEAD, rx_up=False, tx=tx)

    def _open_rx(
        self, header: FrameHeader, record: TrainRecord, *, is_new_life: bool, now_ns: int
    ) -> None:
        """Bring the receive direction up, unless DATA of this epoch may have been missed (3.2, step
        3)."""
        link = self._link
        is_new_epoch = is_new_life or header.src_epoch != link.peer_epoch
        link.last_heard_ns = now_ns
        if link.rx_up and not is_new_epoch:
            return
        if not is_new_epoch and header.flags & FLAG_CONFIRMED:
            return
        if link.rx_up:
            link.change(LinkReason.RETRAIN, rx_up=False, tx=link.tx)
        link.peer_epoch = header.src_epoch
        link.arrived.open(link.negotiated())
        link.outputs.append(
            PeerTrained(
                node_id=header.src_node,
                incarnation=header.src_incarnation,
                record=record,
                is_new_life=is_new_life,
            )
        )
        link.change(LinkReason.TRAINED, rx_up=True, tx=link.tx)

    def _refuse(self, header: FrameHeader, reason: LinkRefusal) -> None:
        """Answer a TRAIN with REFUSE; nothing else of our state changes."""
        link = self._link
        link.outputs.append(Refused(by_us=True, reason=reason, incarnation=header.src_incarnation))
        if not link.carriers[Direction.TX].up:
            return
        payload = RefuseRecord(reason=reason, incarnation=header.src_incarnation).serialize()
        link.put(
            FrameHeader(
                src_node=link.config.node_id,
                dst_node=header.src_node,
                src_incarnation=link.config.incarnation,
                dst_incarnation=header.src_incarnation,
                src_epoch=link.epoch,
                dst_epoch=0,
                type=FrameType.REFUSE,
                route=link.config.route,
                length=len(payload),
                seq=link.window.next_seq,
                payload_crc=crc32c(payload),
            ),
            payload,
        )
