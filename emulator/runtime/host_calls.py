# SPDX-License-Identifier: MIT
"""What tasks of the host wait for: replies to requests, and the outcomes of messages they sent.

Every wait ends: with a reply, a refusal, the death of the guest's incarnation or of the right to
answer, or its deadline.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from emulator.errors import DeadlineExpired, GuestError, NodeDied
from emulator.protocol.flipc_types import Outcome, OutcomeKind
from emulator.protocol.ipc import Message, Port
from emulator.protocol.names import describe
from emulator.protocol.services import REPLY_OFFSET, Notification
from emulator.runtime.deadline import Deadline

__all__ = ["Call", "CallTable"]


@dataclass(slots=True, eq=False, kw_only=True)
class Call:
    """Somebody awaits what becomes of a message; the token of its outcome.

    Args:
        node_id: Where it goes.
        port_name: To which port.
        message_id: Of it.
        reply_port: Made for its reply; None: only its settlement is awaited.
    """

    node_id: int
    port_name: int
    message_id: int
    reply_port: Port | None = None
    future: asyncio.Future[Message | None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def succeed(self, message: Message | None) -> None:
        """End the wait, unless it has ended."""
        if not self.future.done():
            self.future.set_result(message)

    def reply(self) -> Message | None:
        """Return the reply, if it came."""
        has_ended = self.future.done() and not self.future.cancelled()
        return self.future.result() if has_ended and not self.future.exception() else None

    def fail(self, error: GuestError) -> None:
        """End the wait with an error, unless it has ended."""
        if not self.future.done():
            self.future.set_exception(error)

    def answered(self, message: Message, *, is_of_kernel: bool) -> bool:
        """A message came to the reply port.

        Args:
            message: It.
            is_of_kernel: Node 0's own, about a right.

        Returns:
            Whether the wait ended with it.
        """
        if is_of_kernel and message.id == Notification.SEND_ONCE:
            self.fail(GuestError(f"node {self.node_id} will not answer message {self.message_id}"))
        elif message.was_sent_once and message.id == self.message_id + REPLY_OFFSET:
            is_awaited = not self.future.done()
            self.succeed(message)
            return is_awaited
        elif message.was_sent_once:
            self.fail(
                GuestError(
                    f"node {message.source[0]} answered message {self.message_id} with "
                    f"{message.id}, not {self.message_id + REPLY_OFFSET}"
                )
            )
        return False


class CallTable:
    """All waits of node 0."""

    def __init__(self) -> None:
        self._calls: set[Call] = set()

    def open(self, call: Call) -> None:
        """Enter a call, before its message goes out."""
        self._calls.add(call)

    async def wait(self, call: Call, deadline: Deadline) -> Message | None:
        """Return the reply, None if only settlement was awaited.

        Raises:
            GuestError: Refused, answered with a message that is no reply, or never.
            NodeDied: The guest's incarnation died first.
            DeadlineExpired: Neither happened in time.
        """
        try:
            async with deadline.timeout():
                return await call.future
        except TimeoutError:
            what = "take" if call.reply_port is None else "answer"
            raise DeadlineExpired(
                f"node {call.node_id} did not {what} message {call.message_id} to port "
                f"{describe(call.port_name)} within {deadline.within_s:g} s"
            ) from None

    def close(self, call: Call) -> None:
        """Forget a call."""
        self._calls.discard(call)

    @staticmethod
    def resolved(outcome: Outcome) -> None:
        """Take the outcome of a message whose token is a call."""
        call = outcome.token
        if not isinstance(call, Call):
            return
        if outcome.kind is OutcomeKind.SETTLED:
            if call.reply_port is None:
                call.succeed(None)
        elif outcome.reason is not None:
            call.fail(
                GuestError(
                    f"node {call.node_id} refused message {call.message_id}: {outcome.reason.name}"
                )
            )
        elif outcome.kind is OutcomeKind.FAILED:
            call.fail(NodeDied(f"node {call.node_id} died before the message went out"))
        else:
            call.fail(NodeDied(f"node {call.node_id} died; it may have received the message"))

    def fail_all(self, node_id: int, error: GuestError) -> None:
        """End every wait for a guest."""
        for call in self._calls:
            if call.node_id == node_id:
                call.fail(error)
