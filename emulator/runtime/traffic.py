# SPDX-License-Identifier: MIT
"""Checked traffic between two kernels: the stream a script holds, and the account it ends with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLedger:
    """Both accounts of a finished stream: the source's counts and the sink's."""

    stream_id: int
    sent: int
    acked: int
    failed: int
    unknown: int
    received: int
    duplicates: int
    gaps: int
    corrupt: int


class Stream:
    """A stream of checked messages from one node's kernel to another's."""

    @property
    def id(self) -> int:
        """The stream's number in events and black boxes."""
        raise NotImplementedError

    async def stop(self, *, within_s: float = 5.0) -> StreamLedger:
        """End the stream and settle both accounts.

        A source that died meanwhile is accounted for from its black box.

        Raises:
            DeadlineExpired: messages are still in flight after `within_s` seconds.
        """
        raise NotImplementedError
