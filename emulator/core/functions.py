# SPDX-License-Identifier: MIT
"""Types of the core's functions and structs, for the type checker; `library.lib` has this shape.

A `CData` is a pointer of the C type that `declarations.py` names; a struct whose fields are used
has a protocol with those fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from cffi import FFI

CData = FFI.CData

__all__ = [
    "CData",
    "CoreFunctions",
    "CoreSizes",
    "LinkConfigurationFields",
    "LinkEventFields",
    "LinkStatisticsFields",
]


class CoreSizes(Protocol):
    """struct link_binding_sizes"""

    configuration: int
    operations: int
    event: int
    statistics: int


class LinkConfigurationFields(Protocol):
    """struct link_configuration"""

    node_id: int
    peer_id: int
    incarnation: int
    constants: object  # struct cluster_constants
    mtu: int
    message_max: int
    wants_payload_crc: bool
    offers_replay: bool
    route: int
    cable_frames: bool
    byte_order: int
    data_model: int


class LinkEventFields(Protocol):
    """struct link_event"""

    rx_up: bool
    tx_up: bool
    peer_knows_us: bool
    epoch: int
    peer_epoch: int
    peer_incarnation: int
    flipc_next: int
    reason: int


class LinkStatisticsFields(Protocol):
    """struct link_statistics"""

    peer: int
    state: int
    epoch: int
    peer_epoch: int
    trained: int
    tx_frames: int
    tx_data_frames: int
    tx_bytes: int
    rx_frames: int
    rx_data_frames: int
    rx_bytes: int
    replays: int
    naks: int
    round_trip_ns: int
    forwarded: int
    drops: Sequence[int]


class CoreFunctions(Protocol):
    """What `libmnlab_core.so` offers."""

    link_binding_sizes: CoreSizes

    def crc32c(self, state: int, data: bytes, len_bytes: int, /) -> int: ...
    def frame_check_header(self, header: CData, length: int, mtu: int, /) -> int: ...
    def frame_binding_seal(self, header: CData, /) -> None: ...
    def route_next(
        self, transits: CData, count: int, link: int, header: CData, length: int, out: CData, /
    ) -> int: ...
    def link_binding_create(
        self, configuration: CData, operations: CData, context: CData, /
    ) -> CData: ...
    def link_binding_destroy(self, link: CData, /) -> None: ...
    def link_binding_keeps_messages(self, link: CData, /) -> bool: ...
    def link_carrier(
        self, link: CData, direction: int, up: bool, generation: int, checked: bool, now_ns: int, /
    ) -> None: ...
    def link_receive(
        self, link: CData, frame: bytes, length: int, confirm: CData, phy: CData, now_ns: int, /
    ) -> None: ...
    def link_send(
        self, link: CData, message: CData, total_bytes: int, budget_bytes: int, now_ns: int, /
    ) -> int: ...
    def link_pump(self, link: CData, budget_bytes: int, now_ns: int, /) -> None: ...
    def link_tick(self, link: CData, now_ns: int, /) -> None: ...
    def link_next_deadline_ns(self, link: CData, /) -> int: ...
    def link_peer_died(self, link: CData, incarnation: int, now_ns: int, /) -> None: ...
    def link_garbage(self, link: CData, now_ns: int, /) -> None: ...
    def link_close(self, link: CData, now_ns: int, /) -> None: ...
    def link_read_statistics(self, link: CData, statistics: CData, /) -> None: ...
