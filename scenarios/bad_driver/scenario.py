# SPDX-License-Identifier: MIT
"""A driver fails, damages frames, gives up, runs wild and hangs; the report names it each time."""

from emulator import Cluster, DeathNotice, FaultKind, LoaderLine, Node, NodePanicked
from emulator.loader import Code, LoaderError, State, Taint

FAULTS = (FaultKind.PANIC, FaultKind.HANG, FaultKind.RESET)
RATE_HZ = 1000
DRIVER = "phy_ivshmem"
LOAD, START, CORRUPT, GIVE_UP, WILD, HANG, SPIN = range(1, 8)


async def put_in(node: Node, fault: int) -> None:
    """Load the faulty build in the driver's place."""
    faulty = node.server_object("phy_ivshmem_faulty")
    await node.loader.replace_server(DRIVER, faulty, [f"fault={fault}", "after=20"])


async def put_back(cluster: Cluster, node: Node) -> None:
    """Load the good driver again, whatever became of the faulty one."""
    await node.loader.replace_server(DRIVER, node.server_object(DRIVER))
    await node.loader.load_server(DRIVER)
    await cluster.wait_links_up()


async def take_out(cluster: Cluster, node: Node) -> None:
    """Force a driver out that leaves a thread behind, and put the good one in; the life goes on."""
    life = node.incarnation
    refusal: LoaderError | None = None
    try:
        await node.loader.unload_server(DRIVER, force=True)
    except LoaderError as error:
        refusal = error
    assert refusal is not None
    assert refusal.code is Code.WONT_UNLOAD
    assert "taken out" in refusal.message
    await node.loader.add_server(node.server_object(DRIVER))
    await cluster.wait_links_up()
    assert node.incarnation == life


async def scenario(cluster: Cluster) -> None:
    a, b = cluster.node("a"), cluster.node("b")
    memory, serial = cluster.link("memory"), cluster.link("serial")
    streams = [await source.traffic(to=sink, rate_hz=RATE_HZ) for source, sink in ((a, b), (b, a))]

    # What a driver can do to its own link only: messages take the other one.
    refusal: LoaderError | None = None
    try:
        await put_in(a, LOAD)
    except LoaderError as error:
        refusal = error
    assert refusal is not None
    assert refusal.code is Code.INIT_FAILED
    assert DRIVER in refusal.message
    info = await a.loader.server_info(DRIVER)
    assert info.state == State.FAILED
    assert info.taint & Taint.FAILED_LOAD
    await memory.wait_down(direction="a->b")
    for fault in (START, CORRUPT, GIVE_UP):
        for stream in streams:
            await stream.wait_received(100)
        assert serial.is_up
        await put_back(cluster, a)
        await put_in(a, fault)
        if fault == GIVE_UP:
            line = await cluster.expect(LoaderLine, node=a, server=DRIVER, level=4, within_s=30)
            assert "panicked" in line.text
        await memory.wait_down(direction="a->b")
    for stream in streams:
        await stream.wait_received(100)
    await put_back(cluster, a)

    # A thread of the driver's own that keeps the CPU: others run all the same, and it is taken out.
    await put_in(a, SPIN)
    await cluster.wait_links_up()
    for stream in streams:
        await stream.wait_received(100)
    await take_out(cluster, a)
    for stream in streams:
        await stream.wait_received(100)
        ledger = await stream.stop()
        assert ledger.received == ledger.acked == ledger.sent

    # What nothing on one address space can contain: the node goes down, and says why.
    a.provoke(FaultKind.PANIC)
    await put_in(a, WILD)
    panic = await cluster.expect(NodePanicked, node=a, within_s=30)
    assert f"server={DRIVER}+0x" in panic.text
    await cluster.expect(DeathNotice, node=b, of=a, within_s=30)
    await a.wait_exited()
    await a.restart()
    await cluster.wait_links_up()

    a.provoke(FaultKind.HANG)
    await put_in(a, HANG)
    line = await cluster.expect(LoaderLine, node=a, server=DRIVER, level=4, within_s=60)
    assert f"its CPU is in server {DRIVER}+0x" in line.text
    await a.reset()
    await cluster.wait_links_up()
    await a.ping(b)
