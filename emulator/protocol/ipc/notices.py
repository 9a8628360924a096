# SPDX-License-Identifier: MIT
"""Notifications: messages of the kernel to a port of its own node about rights (docs/spec/flipc.md,
section 3.5). They need no place in a queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emulator.protocol.ipc import accounts
from emulator.protocol.ipc.records import Kind, Message, Port, Request, Work
from emulator.protocol.services import Notification

if TYPE_CHECKING:
    from emulator.protocol.ipc.core import SpaceCore

__all__ = ["Notices"]


class Notices:
    """Who asked to be told what, in one space."""

    def __init__(self, space: SpaceCore) -> None:
        """Begin with nobody.

        Args:
            space: Of the ports.
        """
        self._space = space

    def ask_no_senders(self, port: Port, notify: Port) -> bool:
        """Return False: the port is not here, or somebody asked for that already."""
        has_asked = any(request.message_id == Notification.NO_SENDERS for request in port.requests)
        if port.is_dead or not port.is_here or has_asked:
            return False
        self._enter(port, notify, Notification.NO_SENDERS)
        accounts.check_senders(self._space, port)
        return True

    def ask_dead_name(self, port: Port, notify: Port) -> None:
        """Tell `notify` when the port dies."""
        self._enter(port, notify, Notification.DEAD_NAME)
        if port.is_dead:
            self.answer_dead_name(port)

    def answer_dead_name(self, port: Port) -> None:
        """A port died: tell those who asked."""
        self._answer(port, Notification.DEAD_NAME)

    def work(self, port: Port) -> None:
        """Tell the owner of a port that send-once rights died, and that nobody can send to it.

        One notice a port waits to be received, however many deaths there are to tell: they cost a
        peer one word, and us no memory.
        """
        if port.once_died and port.death_notice is None and not port.is_dead:
            port.once_died -= 1
            port.death_notice = Message(id=Notification.SEND_ONCE)
            self._send(port, port.death_notice)
        if port.is_without_senders():
            self._answer(port, Notification.NO_SENDERS)

    def received(self, port: Port) -> None:
        """`Port.death_notice` was taken off the queue: the next may follow."""
        port.death_notice = None
        if port.once_died:
            self._space.defer(port, Work.NOTIFY)

    @staticmethod
    def _enter(port: Port, notify: Port, message_id: int) -> None:
        """A request's reference to the port that it tells is no send right."""
        notify.references += 1
        notify.holds += 1
        port.requests.append(Request(notify, message_id))

    def _answer(self, port: Port, message_id: int) -> None:
        for request in [one for one in port.requests if one.message_id == message_id]:
            port.requests.remove(request)
            self._send(request.notify, Message(id=message_id, body=port.name.to_bytes(8, "little")))
            self._space.release_request(request)

    def _send(self, to: Port, message: Message) -> None:
        if to.is_dead:
            return
        message.source = (self._space.node_id, self._space.incarnation)
        if to.kind is Kind.PROXY:
            self._space.queue_for_node(to, message)
        else:
            self._space.deliver(to, message)
