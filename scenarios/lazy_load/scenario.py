# SPDX-License-Identifier: MIT
"""The first message to a server's port loads the server; those behind it wait in order."""

import asyncio

from emulator import Cluster
from emulator.loader import State

ECHO = 2000
MESSAGES = 12


async def scenario(cluster: Cluster) -> None:
    a, b = cluster.node("a"), cluster.node("b")
    assert (await a.loader.server_info("echo")).state == State.ALLOCATED
    port = await a.port("echo")

    for _ in range(3):
        bodies = [bytes([number]) * 100 for number in range(MESSAGES)]
        answers = await asyncio.gather(*(a.call(ECHO, body, port=port) for body in bodies))
        assert answers == bodies
        assert (await a.loader.server_info("echo")).state == State.LOADED
        await a.loader.unload_server("echo")
        assert (await a.loader.server_info("echo")).state == State.ALLOCATED
        assert await a.port("echo") == port

    # Between nodes: the first message of a stream loads the sink, the order for it the source.
    for node in cluster.nodes:
        assert (await node.loader.server_info("traffic")).state == State.ALLOCATED
    for _ in range(2):
        stream = await a.traffic(to=b, count=1000)
        await stream.wait_done()
        ledger = await stream.stop()
        assert ledger.received == ledger.acked == ledger.sent == 1000
        for node in cluster.nodes:
            assert (await node.loader.server_info("traffic")).state == State.LOADED
            await node.loader.unload_server("traffic")

    await a.ping(b)
