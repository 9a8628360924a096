# SPDX-License-Identifier: MIT
"""Loadable kernel servers: how fast a driver comes and goes, and what a call to a server costs."""

from __future__ import annotations

import struct
import time
from collections.abc import AsyncIterator, Callable
from typing import Final

from emulator.bench.figure import Figure, figure
from emulator.bench.pair import Pair, Wire
from emulator.protocol.names import kernel_port
from emulator.protocol.services import PingReply, Service
from emulator.runtime.cluster import Cluster, RunOptions
from emulator.runtime.node import Node

RUNS: Final = 9
BOOTS: Final = 3  # among which the calls are divided
LOAD = "server.load_s"
SWAP = "server.swap_s"
CALL_RATIO = "server.call_ratio"
NAMES = (LOAD, SWAP, CALL_RATIO)
DRIVER: Final = "phy_ivshmem"
BUILDS: Final = ("phy_ivshmem_faulty", "phy_ivshmem")
BATCHES: Final = 40
CALLS: Final = 100  # in a batch: short enough that some run without interruption
CALL_BYTES: Final = 64
_CALLS_WITHIN_S: Final = 30.0
_NODES: Final = 2
_NS_PER_S: Final = 1e9

Wanted = Callable[[str], bool]


async def measure_servers(pair: Pair, options: RunOptions, wanted: Wanted) -> AsyncIterator[Figure]:
    """A driver of a link that runs: loaded; replaced until its link is up again. Then calls."""
    async with Cluster.from_topology(pair.topology(Wire.SLEEPING), options=options) as cluster:
        a = cluster.node("a")
        if wanted(pair.name(LOAD)):
            samples = [await _load_s(cluster, a) for _ in range(RUNS)]
            yield figure(pair.name(LOAD), "s", samples, virtual_cpus=_NODES)
        if wanted(pair.name(SWAP)):
            samples = [await _swap_s(cluster, a, BUILDS[run % 2]) for run in range(RUNS)]
            yield figure(pair.name(SWAP), "s", samples, virtual_cpus=_NODES)
    if wanted(pair.name(CALL_RATIO)):
        samples = [ratio for _ in range(BOOTS) for ratio in await _call_ratios(pair, options)]
        yield figure(pair.name(CALL_RATIO), "x", samples, virtual_cpus=_NODES)


async def _call_ratios(pair: Pair, options: RunOptions) -> list[float]:
    """Some ratios of one boot: where the emulator puts its code makes a difference of a tenth."""
    async with Cluster.from_topology(pair.topology(Wire.SLEEPING), options=options) as cluster:
        a = cluster.node("a")
        await a.loader.add_server(a.server_object("echo"))
        port = await a.port("echo")
        return [await _call_ratio(a, port) for _ in range(RUNS // BOOTS)]


async def _load_s(cluster: Cluster, node: Node) -> float:
    """From the request to the answer that it is loaded."""
    await node.loader.unload_server(DRIVER, quiesce=True)
    began_s = time.monotonic()
    await node.loader.load_server(DRIVER)
    elapsed_s = time.monotonic() - began_s
    await cluster.wait_links_up()
    return elapsed_s


async def _swap_s(cluster: Cluster, node: Node, build: str) -> float:
    """From the request to the link up again over another build."""
    path = node.server_object(build)
    began_s = time.monotonic()
    await node.loader.replace_server(DRIVER, path)
    await cluster.wait_links_up()
    return time.monotonic() - began_s


async def _call_ratio(node: Node, port: int) -> float:
    """The fastest batch of calls to a server's port, as a multiple of that to the kernel's; both are
    measured in turns."""
    server, kernel = [], []
    for _ in range(BATCHES):
        server.append(await _call_s(node, port))
        kernel.append(await _call_s(node, None))
    return min(server) / min(kernel)


async def _call_s(node: Node, port: int | None) -> float:
    """The mean of calls from a node's kernel to a port of its own; None: its kernel port."""
    target = kernel_port(node.id) if port is None else port
    timeout_ns = round(_CALLS_WITHIN_S * _NS_PER_S)
    body = struct.pack("<QIIQ", target, CALLS, CALL_BYTES, timeout_ns)
    reply = PingReply.parse(await node.call(Service.PING_PORT, body, within_s=_CALLS_WITHIN_S + 1))
    return reply.total_ns / max(1, reply.answered) / _NS_PER_S
