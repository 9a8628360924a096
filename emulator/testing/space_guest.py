# SPDX-License-Identifier: MIT
"""A guest in Python whose ports and rights are real: it keeps the accounts that a kernel keeps."""

from __future__ import annotations

import socket
import time

from emulator.protocol.constants import ClusterConstants
from emulator.protocol.ipc import IpcSpace, Message, Port, SendResult
from emulator.protocol.names import bootstrap_port
from emulator.protocol.services import REPLY_OFFSET
from emulator.protocol.wire_types import Disposition
from emulator.testing.fake_guest import FakeGuest
from emulator.testing.mesh import Recorder

__all__ = ["SpaceGuest"]

HOST_ID = 0
_MESSAGE_MAX = 1 << 20


class SpaceGuest(FakeGuest):
    """One incarnation of a guest; `space` has its ports, `front` is the one that others know.

    A test does with the space what programs would do, and calls `go_on()` after it.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        node_id: int,
        incarnation: int,
        host_incarnation: int,
        constants: ClusterConstants,
    ) -> None:
        """Boot: wait for carrier and train.

        Args:
            sock: The guest's end of the stream.
            node_id: Of the guest.
            incarnation: Of the guest.
            host_incarnation: Of node 0.
            constants: The cluster's.
        """
        self.recorder = Recorder()
        self.space = IpcSpace(
            node_id=node_id,
            incarnation=incarnation,
            constants=constants,
            observer=self.recorder,
        )
        self.host = self.space.neighbour(HOST_ID)
        self.space.came_up(self.host, host_incarnation, _MESSAGE_MAX)
        self.front = self.space.create(name=bootstrap_port(node_id))
        super().__init__(
            sock,
            node_id=node_id,
            incarnation=incarnation,
            constants=constants,
            pair=self.host.pair,
        )

    def go_on(self) -> None:
        """Send what the space has to send."""
        self._service()

    def take(self, port: Port | None = None) -> Message | None:
        """Receive from a port, the front if none is given."""
        message = self.space.next_message(port or self.front, time.monotonic_ns())
        self._service()
        return message

    def answer(self, request: Message, answer: Message) -> None:
        """Send an answer by the right that a request brought."""
        kind = request.reply.disposition
        port = self.space.take(request, request.reply)
        assert port is not None
        answer.id = request.id + REPLY_OFFSET
        is_once = kind is Disposition.SEND_ONCE
        assert self.space.send(answer, port, is_once=is_once) is SendResult.DONE
        self._service()

    def _deliver(self, message: bytes, now_ns: int) -> None:
        self.space.receive(self.host, message, now_ns)

    def _take_outcomes(self) -> None:
        self.space.drain(self.host)
