# SPDX-License-Identifier: MIT
"""Servers that keep the CPU, never return from a command, or leave threads behind: their node and its
links go on, and they are taken out, on every architecture (docs/spec/kern_server.md, section 8)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from emulator import Cluster, Node
from emulator.errors import MnlabError
from emulator.loader import Code, LoaderError, State, Taint
from emulator.model import Arch
from emulator.testing.clusters import cluster_of, pair_text

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.slow,
    pytest.mark.timeout(90),
    pytest.mark.usefixtures("real_machines"),
]

FAULT = "fault"
HANG = 2602


def pair(tmp_path: Path, arch: Arch = Arch.X86_64) -> Cluster:
    return cluster_of(pair_text(arch, servers=["echo"]), tmp_path)


async def load(node: Node, *parameters: str) -> None:
    """Bring the server up anew, with parameters."""
    await node.loader.add_server(node.server_object(FAULT))
    await node.loader.unload_server(FAULT)
    await node.loader.load_server(FAULT, list(parameters))


async def lives_on(a: Node, b: Node) -> None:
    """Both nodes answer each other within what they may take with nobody in the way."""
    for _ in range(5):
        assert await a.ping(b, count=10) < 0.1
        assert await b.ping(a, count=10) < 0.1


async def take_out(node: Node) -> None:
    with pytest.raises(LoaderError) as caught:
        await node.loader.unload_server(FAULT, force=True)
    assert caught.value.code is Code.WONT_UNLOAD
    assert "taken out" in caught.value.message


@pytest.mark.parametrize("arch", list(Arch))
async def test_a_server_that_keeps_the_cpu_is_taken_out(tmp_path: Path, arch: Arch) -> None:
    async with pair(tmp_path, arch) as cluster:
        a, b = cluster.nodes
        life = a.incarnation
        # A handler that never returns, asked for by a message.
        await load(a)
        port = await a.port(FAULT)
        with pytest.raises(MnlabError):
            await a.call(HANG, port=port, within_s=0.3)
        await lives_on(a, b)
        info = await a.loader.server_info(FAULT)
        assert info.state == State.LOADED  # which it is, for all anybody can tell
        await take_out(a)
        # An unload command that never returns.
        await load(a, "fault_hang_unload=1")
        await take_out(a)
        # A thread of its own, left behind: one that keeps the CPU, one that lets others run.
        for yields in (0, 1):
            await load(a, "fault_keep_thread=1", f"fault_yields={yields}")
            await lives_on(a, b)
            await take_out(a)
        await load(a)
        await lives_on(a, b)
        info = await a.loader.server_info(FAULT)
        assert info.state == State.LOADED
        assert info.taint & Taint.THREADS_ENDED
        port = await a.port("echo")
        assert await a.call(2000, b"hello", port=port) == b"hello"
        assert a.incarnation == life


async def test_threads_left_behind_are_told_without_force(tmp_path: Path) -> None:
    async with pair(tmp_path) as cluster:
        a = cluster.node("a")
        await load(a, "fault_keep_thread=1")
        with pytest.raises(LoaderError) as caught:
            await a.loader.unload_server(FAULT)
        assert "leaves threads of its own behind" in caught.value.message
        await load(a)  # they are gone all the same: the loader forces out what does not unload


async def test_a_load_that_never_returns_fails(tmp_path: Path) -> None:
    async with pair(tmp_path) as cluster:
        a, b = cluster.nodes
        await load(a)
        await a.loader.unload_server(FAULT)
        loading = asyncio.create_task(a.loader.load_server(FAULT, ["fault_hang_load=1"]))
        await lives_on(a, b)
        assert (await a.loader.server_info(FAULT)).state == State.LOADING
        with pytest.raises(LoaderError):
            await loading
        info = await a.loader.server_info(FAULT)
        assert info.state == State.FAILED
        assert info.taint & Taint.THREADS_ENDED
        await a.loader.load_server(FAULT, ["fault_hang_load=0"])
        await lives_on(a, b)
