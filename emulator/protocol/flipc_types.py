# SPDX-License-Identifier: MIT
"""What goes into a `Pair` of streams and what comes out: outcomes, arrivals, counters, and what it
asks the accounts of rights.

No behaviour. `Pair` itself is in `flipc.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from emulator.protocol.mnl import Death, MachMessage, NakReason, RightsEntry

__all__ = [
    "CONTROL_RESERVE",
    "RIGHTS_TAKEN",
    "Accounts",
    "Arrival",
    "CreditBroken",
    "DeathTold",
    "IpcArrived",
    "NodeLeft",
    "Outcome",
    "OutcomeKind",
    "PairStatistics",
    "RightsTold",
]

CONTROL_RESERVE: Final = 16  # control messages may run this far beyond the credit


class Accounts(Protocol):
    """What a pair asks whoever keeps the accounts of rights with the peer."""

    def may_transmit(self, name: int) -> bool:
        """Return whether messages to that port may go out; asked again at each turn."""

    def transmitted(self, token: object) -> None:
        """The message with that token got its number."""

    def take_news(self) -> tuple[RightsEntry, ...]:
        """Return what the peer has to be told, nothing if there is nothing; taken, it will be
        told, and is settled with the outcome of `RIGHTS_TAKEN`."""


RIGHTS_TAKEN: Final = object()  # token of the outcome of what `take_news()` returned


class OutcomeKind(Enum):
    """What became of a message, as its source knows it."""

    SETTLED = "settled"  # a receiver, or the kernel, took it
    FAILED = "failed"  # refused, or never transmitted when the peer died
    UNKNOWN = "unknown"  # transmitted; the peer died before settling it


@dataclass(frozen=True, slots=True)
class Outcome:
    """End of one enqueued message; `reason` is set if the peer refused it, `resend_to` is the node
    that it names then."""

    token: object
    kind: OutcomeKind
    reason: NakReason | None = None
    resend_to: int = -1


@dataclass(frozen=True, slots=True)
class IpcArrived:
    """A message was accepted; answer with `Pair.consumed()` or `Pair.refuse()` of its sequence
    number."""

    sequence: int
    message: MachMessage


@dataclass(frozen=True, slots=True)
class DeathTold:
    """The peer says that an incarnation is dead."""

    death: Death


@dataclass(frozen=True, slots=True)
class CreditBroken:
    """A message came beyond the credit; the link has to close its direction as garbage."""

    sequence: int
    limit: int


@dataclass(frozen=True, slots=True)
class RightsTold:
    """The peer tells accounts of rights."""

    entries: tuple[RightsEntry, ...]


@dataclass(frozen=True, slots=True)
class NodeLeft:
    """The peer says that its life ends."""


Arrival = IpcArrived | DeathTold | CreditBroken | RightsTold | NodeLeft


@dataclass(frozen=True, slots=True, kw_only=True)
class PairStatistics:
    """Counters of a pair; names as in `struct node_statistics`, plus what hostile or late input was
    dropped.

    Args:
        sent: Messages given a sequence number.
        settled: Of those, taken by the peer.
        failed: Refused, or never transmitted.
        unknown: Transmitted when the peer died.
        received: Messages accepted.
        refused: Of those, refused by us.
        duplicates: Dropped because accepted before.
        ahead: Dropped because one before them is missing.
        malformed: Dropped because they are no message, or acknowledge what was never sent.
        outstanding: Sent and not settled, now.
        queued: Not sent yet, now.
        unsettled: Accepted and not taken by a receiver, now.
    """

    sent: int
    settled: int
    failed: int
    unknown: int
    received: int
    refused: int
    duplicates: int
    ahead: int
    malformed: int
    outstanding: int
    queued: int
    unsettled: int
