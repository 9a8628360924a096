# SPDX-License-Identifier: MIT
"""What tasks of the host wait for: replies to requests, and the outcomes of messages they sent.

Every wait ends: with a reply, a refusal, the death of the guest's incarnation, or its deadline.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from emulator.errors import DeadlineExpired, GuestError, NodeDied
from emulator.protocol.flipc import Outcome, OutcomeKind
from emulator.protocol.mnl import MachMessage, RightsEntry, RightsOperation
from emulator.protocol.names import describe
from emulator.protocol.services import REPLY_OFFSET
from emulator.runtime.deadline import Deadline

__all__ = ["Call", "CallTable"]


@dataclass(slots=True, eq=False)
class Call:
    """Somebody awaits what becomes of `message`; the token of its outcome.

    Args:
        node_id: The guest that it goes to.
        message: A request, or a message whose settlement is awaited.
        wants_reply: True: its `local` name is a reply right made for it.
        keeps_rights: Node 0 holds the rights that the reply brings.
    """

    node_id: int
    message: MachMessage
    wants_reply: bool
    keeps_rights: bool = False
    future: asyncio.Future[MachMessage] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def succeed(self, message: MachMessage) -> None:
        """End the wait, unless it has ended."""
        if not self.future.done():
            self.future.set_result(message)

    def fail(self, error: GuestError) -> None:
        """End the wait with an error, unless it has ended."""
        if not self.future.done():
            self.future.set_exception(error)


class CallTable:
    """All waits of node 0."""

    def __init__(self) -> None:
        self._calls: set[Call] = set()
        self._by_reply_name: dict[int, Call] = {}

    def open(self, call: Call) -> None:
        """Enter a call, before its message is sent."""
        self._calls.add(call)
        if call.wants_reply:
            self._by_reply_name[call.message.local] = call

    async def wait(self, call: Call, deadline: Deadline) -> MachMessage:
        """Return the reply, or the message itself if only its settlement was awaited.

        Raises:
            GuestError: Refused, or answered with a message that is no reply.
            NodeDied: The guest's incarnation died first.
            DeadlineExpired: Neither happened in time.
        """
        try:
            async with deadline.timeout():
                return await call.future
        except TimeoutError:
            what = "answer" if call.wants_reply else "take"
            raise DeadlineExpired(
                f"node {call.node_id} did not {what} message {call.message.id} to port "
                f"{describe(call.message.remote)} within {deadline.within_s:g} s"
            ) from None

    def close(self, call: Call) -> None:
        """Forget a call; a reply that comes later finds a dead port."""
        self._calls.discard(call)
        if call.wants_reply:
            self._by_reply_name.pop(call.message.local, None)

    def take_reply(self, node_id: int, message: MachMessage) -> Call | None:
        """Give a message to the call that waits for it.

        Returns:
            That call; None if nobody waits for a message to that name from that guest.
        """
        call = self._by_reply_name.get(message.remote)
        if call is None or call.node_id != node_id:
            return None
        del self._by_reply_name[message.remote]  # a send-once right
        if message.id == call.message.id + REPLY_OFFSET:
            call.succeed(message)
        else:
            call.fail(
                GuestError(
                    f"node {node_id} answered message {call.message.id} with {message.id}, "
                    f"not {call.message.id + REPLY_OFFSET}"
                )
            )
        return call

    def awaits(self, name: int) -> bool:
        """Return whether a call waits for its reply at the port of that name."""
        return name in self._by_reply_name

    def rights_told(self, node_id: int, entries: tuple[RightsEntry, ...]) -> None:
        """A guest let send-once rights die: nobody will answer the calls that they were for."""
        for entry in entries:
            if entry.operation == RightsOperation.DEAD_ONCE:
                self.once_gone(node_id, entry.name)

    def once_gone(self, node_id: int, name: int) -> None:
        """The right to answer a call is no guest's any more: nobody will."""
        call = self._by_reply_name.get(name)
        if call is not None and call.node_id == node_id:
            call.fail(GuestError(f"node {node_id} will not answer message {call.message.id}"))

    def resolved(self, outcome: Outcome) -> None:
        """Take the outcome of a message whose token is a call."""
        call = outcome.token
        if not isinstance(call, Call):
            return
        if outcome.kind is OutcomeKind.SETTLED:
            if not call.wants_reply:
                call.succeed(call.message)
        elif outcome.reason is not None:
            call.fail(
                GuestError(
                    f"node {call.node_id} refused message {call.message.id}: {outcome.reason.name}"
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
