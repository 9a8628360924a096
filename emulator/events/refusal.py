# SPDX-License-Identifier: MIT
"""Refusals in words: who would not train with whom, and why."""

from __future__ import annotations

from typing import Final

from emulator.events.types import HostRefusal, LinkRefused
from emulator.model import HOST_NAME, Refusal, incarnation_text

_REASONS: Final = {
    Refusal.VERSION: "it speaks another version of the link protocol",
    Refusal.CONSTANTS: "it has other cluster constants",
    Refusal.STALE: "it was declared dead",
    Refusal.DUPLICATE_ID: "another node with its id is alive",
    Refusal.WRONG_PEER: "it is not the node at the other end of this cable",
    Refusal.PARAMETERS: "its frame size, message limit, byte order or data model cannot be used",
    Refusal.INCARNATION: "it names no incarnation",
}


def refusal_text(event: LinkRefused | HostRefusal) -> str:
    """Say who refused whom, and why.

    Args:
        event: a refusal, by either end.

    Returns:
        For example `b refused a 1.1: it has other cluster constants`.
    """
    peer = event.peer if isinstance(event, LinkRefused) else event.node
    own = event.node if isinstance(event, LinkRefused) else HOST_NAME
    refusing, refused = (own, peer) if event.by_us else (peer, own)
    life = incarnation_text(event.claimed_incarnation)
    return f"{refusing} refused {refused} {life}: {_REASONS[event.refusal]}"
