# SPDX-License-Identifier: MIT
"""Who the other node of a pair is, as training told: what it says of itself has to agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from emulator.protocol.constants import ByteOrder, DataModel
from emulator.protocol.mnl import Hello

__all__ = ["Peer"]

PROTOCOL: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """The other node of a pair, as training told.

    Args:
        node_id: Which node.
        incarnation: Its life.
        byte_order: Of it.
        data_model: Of it.
    """

    node_id: int
    incarnation: int
    byte_order: int = ByteOrder.LITTLE
    data_model: int = DataModel.LP64

    def says(self, hello: Hello) -> bool:
        """Return whether a greeting is what training told."""
        return (
            hello.incarnation == self.incarnation
            and 1 <= hello.protocol_minimum <= PROTOCOL <= hello.protocol_maximum
            and (hello.byte_order, hello.data_model) == (self.byte_order, self.data_model)
        )
