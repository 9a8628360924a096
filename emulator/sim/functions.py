# SPDX-License-Identifier: MIT
"""Types of the simulator's functions and structs, for the type checker only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from cffi import FFI

CData = FFI.CData

__all__ = [
    "CData",
    "EntryFields",
    "LinkFields",
    "ResultFields",
    "SettingsFields",
    "SimFunctions",
    "TotalsFields",
]


class EntryFields(Protocol):
    """struct sim_entry"""

    time_ns: int
    duration_ns: int
    kind: int
    target: int
    arguments: Sequence[int]


class ResultFields(Protocol):
    """struct sim_result"""

    seed: int
    trace: int
    world_ns: int
    steps: int
    frames: int
    converged_ns: int
    failed: int
    first_failed: int
    operations: int
    lives: int
    deaths: int
    sent: int
    settled: int
    failures: int
    unknown: int
    received: int
    asked: Sequence[int]
    fired: Sequence[int]
    verdicts: Sequence[int]
    text: CData


class TotalsFields(Protocol):
    """struct sim_totals; the other numbers are read by name."""

    converged_max_ns: int
    asked: Sequence[int]
    fired: Sequence[int]
    passed: Sequence[int]
    broken: Sequence[int]


class LinkFields(Protocol):
    """struct sim_link_settings"""

    ends: Sequence[int]
    kind: int
    mtu: int
    options: Sequence[int]


class SettingsFields(Protocol):
    """struct sim_settings, what the agent reads of it."""

    node_count: int
    link_count: int
    first_id: int
    keepalive_ns: int
    link_down_after_ns: int
    dead_after_ns: int
    ack_delay_ns: int
    ack_count: int
    window: int
    agent: int
    agent_byte_order: int
    agent_data_model: int
    links: Sequence[LinkFields]


class SimFunctions(Protocol):
    """What `libmnlab_sim.so` offers."""

    sim_sizes: Sequence[int]

    def sim_generate(
        self, seed: int, workload: CData, settings: CData, entries: CData, /
    ) -> int: ...
    def sim_run(self, settings: CData, entries: CData, count: int, result: CData, /) -> int: ...
    def sim_run_range(
        self, first: int, count: int, workload: CData, totals: CData, failure: CData, /
    ) -> int: ...
    def sim_read_events(self, text: CData, size: int, /) -> int: ...
    def sim_watch(self, word: CData, /) -> None: ...
    def sim_agent_set(self, agent: CData, /) -> None: ...
    def sim_agent_transmit(self, link: int, frame: bytes, length: int, /) -> int: ...
    def sim_agent_link(
        self,
        link: int,
        is_rx_up: bool,
        is_tx_up: bool,
        reason: int,
        epoch: int,
        peer_epoch: int,
        /,
    ) -> None: ...
    def sim_agent_refused(
        self, link: int, reason: int, incarnation: int, is_by_us: bool, /
    ) -> None: ...
    def sim_agent_dropped(self, link: int, reason: int, /) -> None: ...
    def sim_agent_up(self, node_id: int, incarnation: int, /) -> None: ...
    def sim_agent_dead(self, node_id: int, incarnation: int, cause: int, /) -> None: ...
    def sim_agent_stale(self) -> None: ...
    def sim_agent_port(self, is_service: bool, /) -> int: ...
    def sim_agent_port_named(self, port: int, name: int, /) -> None: ...
    def sim_agent_port_died(self, port: int, /) -> None: ...
    def sim_agent_port_gone(self, port: int, /) -> None: ...
    def sim_agent_pick(self, pick: int, name: CData, /) -> int: ...
    def sim_agent_service_port(self, node_id: int, incarnation: int, /) -> int: ...
    def sim_agent_port_state(self, port: int, /) -> int: ...
    def sim_agent_message(self, body: CData, size: int, port: int, reply_port: int, /) -> int: ...
    def sim_agent_sent(self, message: int, is_sent: bool, /) -> None: ...
    def sim_agent_outcome(self, message: int, outcome: int, /) -> None: ...
    def sim_agent_is_diverted(self, node_id: int, /) -> int: ...
    def sim_agent_diverted(self, message: int, /) -> None: ...
    def sim_agent_received(
        self,
        body: CData,
        size: int,
        source_node: int,
        source_incarnation: int,
        has_reply: bool,
        port: int,
        is_set: bool,
        message: CData,
        /,
    ) -> int: ...
    def sim_agent_right(self, port: int, kind: int, of: int, /) -> int: ...
    def sim_agent_right_by_name(self, port: int, /) -> int: ...
    def sim_agent_right_ended(self, right: int, /) -> None: ...
    def sim_agent_right_unmade(self, right: int, /) -> None: ...
    def sim_agent_right_port(self, right: int, /) -> int: ...
    def sim_agent_right_is_firm(self, right: int, /) -> int: ...
    def sim_agent_carries(self, message: int, right: int, /) -> None: ...
    def sim_agent_carries_reply(self, message: int, right: int, /) -> None: ...
    def sim_agent_uses(self, message: int, right: int, /) -> None: ...
    def sim_agent_cargo(self, message: int, rights: CData, /) -> int: ...
    def sim_agent_carried_reply(self, message: int, /) -> int: ...
    def sim_agent_right_arrived(
        self, right: int, is_there: bool, name: int, kind: int, /
    ) -> None: ...
    def sim_agent_asked(self, port: int, notify: int, name: int, right: int, /) -> int: ...
    def sim_agent_not_asked(self, request: int, /) -> None: ...
    def sim_agent_told(self, notify: int, message_id: int, name: int, /) -> None: ...
    def sim_agent_began(self, entry: int, /) -> None: ...
    def sim_agent_exercised(self, invariant: int, /) -> None: ...
    def sim_agent_violated(self, invariant: int, text: bytes, /) -> None: ...
