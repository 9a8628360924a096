# SPDX-License-Identifier: MIT
"""Kernel servers on real guests: the tools, a guest that asks another's loader, and the guide's
driver, built as the guide says."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path

import pytest

from emulator import Cluster, DeathNotice, Node
from emulator.cli import kl_ld, kl_log, kl_util
from emulator.cli import main as mnlab
from emulator.errors import GuestError, MnlabError
from emulator.events.types import PanicExplained
from emulator.loader import State
from emulator.model import Arch
from emulator.protocol.names import bootstrap_port
from emulator.protocol.services import Service, node_lookup_request, parse_node_lookup_reply
from emulator.runtime.deadline import Deadline
from emulator.testing.clusters import cluster_of, nothing_is_lost, pair_text

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.slow,
    pytest.mark.timeout(90),
    pytest.mark.usefixtures("real_machines"),
]

WRITE_NOWHERE = 2603
LOG = 2600  # server fault logs something
ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "guide" / "phy_mailbox"


def pair(tmp_path: Path, first: Arch = Arch.X86_64, second: Arch = Arch.X86_64) -> Cluster:
    return cluster_of(pair_text(first, second), tmp_path)


async def kl(tool: str, tmp_path: Path, *words: str) -> int:
    """A tool's exit code; it runs in a thread, as it would in another terminal."""
    main = {"kl_util": kl_util.main, "kl_log": kl_log.main}[tool]
    return await asyncio.to_thread(main, ["--runs", str(tmp_path / "runs"), *words])


async def test_the_tools(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with pair(tmp_path) as cluster:
        loader = cluster.node("a").loader
        assert await kl("kl_util", tmp_path, "a", "-s") == 0
        assert capfd.readouterr().out == (
            "SERVER: phy_ivshmem Loaded\nSERVER: node Loaded\nSERVER: echo Loaded\nSERVER: traffic Loaded\n"
        )
        info = await loader.server_info("echo")
        assert await kl("kl_util", tmp_path, "a", "-s", "echo") == 0
        assert capfd.readouterr().out == (
            f"SERVER: echo\nRELOCATABLE: {info.relocatable}\n"
            f"STATUS: Loaded at address {info.address:#x} for {info.size_bytes:#x} bytes\n"
            "PORTS: echo(advertised)\n"
        )
        assert await kl("kl_util", tmp_path, "a", "-u", "echo") == 0
        assert capfd.readouterr().out == "unloading echo\necho unloaded\n"
        assert await kl("kl_util", tmp_path, "a", "-u", "echo") == 1
        assert "kl_util : server is not loaded (104)" in capfd.readouterr().err
        assert await kl("kl_util", tmp_path, "a", "-u", "phy_ivshmem") == 1
        assert "kl_util : server is in use (122)" in capfd.readouterr().err
        assert await kl("kl_util", tmp_path, "a", "-l", "echo") == 0
        assert capfd.readouterr().out.endswith("echo loaded\n")
        assert await kl("kl_util", tmp_path, "b", "-d", "echo") == 0
        assert await kl("kl_util", tmp_path, "b", "--json", "-s") == 0
        said = json.loads(capfd.readouterr().out.partition("echo deallocated\n")[2])
        assert [item["server"] for item in said] == ["phy_ivshmem", "node", "traffic"]
        assert await kl("kl_util", tmp_path, "b", "-r") == 0
        await cluster.wait_links_up()
        await cluster.node("a").ping(cluster.node("b"))
        assert await kl("kl_log", tmp_path, "a", "-l", "0", "echo") == 0
        assert await kl("kl_log", tmp_path, "a", "nothing") == 1
        assert await kl("kl_util", tmp_path, "c", "-s") == 1
        capfd.readouterr()
        assert await kl("kl_util", tmp_path, "b", "-A") == 0
        assert capfd.readouterr().out.splitlines()[0] == "shutdown"
        assert await kl("kl_util", tmp_path, "b", "-s") == 0
        assert capfd.readouterr().out == "no servers are active\n"
        capfd.readouterr()
        tool = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "emulator.cli.kl_util"),
            *("--runs", str(tmp_path / "runs"), "b", "-r"),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        assert tool.stdout is not None
        assert await tool.stdout.readline() == b"the loader of node b is inactive\n"
        await cluster.node("b").crash()
        await cluster.node("b").restart()  # a new life has a loader again
        said = (await tool.stdout.read()).decode()
        assert "restart" in said.splitlines()
        assert await tool.wait() == 0
    assert await kl("kl_util", tmp_path, "a", "-s") == 1


async def is_found(cluster: Cluster, owner: Node, *, by: Node) -> bool:
    """Whether a node's node server finds server `echo` of a node."""
    request = node_lookup_request("echo", owner.id)
    to = bootstrap_port(by.id)
    try:
        with await cluster.host.ask(
            by.id, to, Service.NODE_LOOKUP, request, Deadline.after(2)
        ) as reply:
            parse_node_lookup_reply(reply.body, reply.parts)
    except GuestError:
        return False
    return True


@pytest.mark.parametrize(
    ("way_out", "way_in"),
    [(("-u", "node"), ("-l", "node")), (("-d", "node"), ("-r",))],
    ids=["unload", "restart"],
)
async def test_the_node_server_goes_and_comes_like_any_other(
    tmp_path: Path, way_out: tuple[str, ...], way_in: tuple[str, ...]
) -> None:
    """Meanwhile nobody is found on its node, and nothing else ends; its peers hear of both."""
    async with pair(tmp_path) as cluster:
        a, b = cluster.nodes
        stream = await b.traffic(to=a, rate_hz=500)
        async with asyncio.timeout(30):
            while not await is_found(cluster, a, by=b):  # the nodes have not met yet
                pass
            assert await kl("kl_util", tmp_path, "a", *way_out) == 0
            while await is_found(cluster, a, by=b):
                pass
            assert not await is_found(cluster, a, by=a)
            assert await is_found(cluster, b, by=b)
            await nothing_is_lost(stream, 100)
            assert await kl("kl_util", tmp_path, "a", *way_in) == 0
            assert (await a.loader.server_info("node")).state == State.LOADED
            while not await is_found(cluster, a, by=b):
                pass
        assert await is_found(cluster, a, by=a)
        await cluster.wait_links_up()
        await a.ping(b)
        assert await kl("kl_util", tmp_path, "a", "-A") == 0
        assert not await is_found(cluster, a, by=a)
    assert not [event for event in cluster.stream.history if isinstance(event, DeathNotice)]


async def test_a_node_may_have_a_node_server_of_its_own(tmp_path: Path) -> None:
    async with pair(tmp_path) as cluster:
        built = cluster.node("a").server_object("node")
        copied = tmp_path / "node.kern_server"
        copied.write_bytes(built.read_bytes())
    text = pair_text().replace('"echo",', f'"echo", "{copied}",', 1)
    async with cluster_of(text, tmp_path) as cluster:
        a, b = cluster.nodes
        assert (await a.loader.server_info("node")).relocatable == str(copied)
        assert (await b.loader.server_info("node")).relocatable == str(built)
        assert await is_found(cluster, a, by=a)


@pytest.mark.parametrize(
    "words",
    [
        "",
        "a",
        "a -x",
        "a -l",
        "a -l x -L",
        "a -A x",
        "a --replace x",
        "a --force -d x",
        "a --json -u x",
    ],
)
async def test_words_that_make_no_command(
    tmp_path: Path, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert await kl("kl_util", tmp_path, *words.split()) == 1
    assert capfd.readouterr().err.startswith("usage: kl_util")


async def test_a_log_is_followed_until_it_is_closed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with pair(tmp_path) as cluster:
        a = cluster.node("a")
        await a.loader.add_server(a.server_object("fault"))
        port = await a.port("fault")
        following = asyncio.create_task(kl("kl_log", tmp_path, "a", "-l", "0x7", "fault"))
        said = ""
        while said.count("urgent") < 2:  # until the tool has begun, nobody keeps what is logged
            await a.call(LOG, port=port)
            said += capfd.readouterr().out
        assert "as asked" not in said  # less urgent
        await a.loader.unload_server("fault")
        assert await following == 0


@pytest.mark.parametrize(
    ("first", "second"),
    [(Arch.X86_64, Arch.AARCH64), (Arch.AARCH64_BE, Arch.RISCV64), (Arch.RISCV32, Arch.X86_64)],
)
async def test_drivers_and_servers_load_on_every_architecture(
    tmp_path: Path, first: Arch, second: Arch
) -> None:
    async with pair(tmp_path, first, second) as cluster:
        for node in cluster.nodes:
            for name in await node.loader.server_list():
                assert (await node.loader.server_info(name)).state == State.LOADED
            await node.loader.unload_server("phy_ivshmem", quiesce=True)
            await node.loader.load_server("phy_ivshmem")
            await cluster.wait_links_up()
            port = await node.port("echo")
            assert await node.call(2000, b"hello", port=port) == b"hello"
        a, b = cluster.nodes
        await a.ping(b)
        await b.crash()
        await b.restart()
        await cluster.wait_links_up()
        await a.ping(b)


async def test_the_guide_s_driver_carries_a_link(tmp_path: Path) -> None:
    """docs/guide/phy-driver.md, step by step."""
    driver = tmp_path / "phy_mailbox.kern_server"
    words = [
        *("-n", "phy_mailbox", "-i", "kern_server_self"),
        *("-l", str(EXAMPLE / "phy_mailbox.load"), "-u", str(EXAMPLE / "phy_mailbox.unload")),
        *("-o", str(driver), str(EXAMPLE / "phy_mailbox.c")),
        *(f"phys/ivshmem/{name}" for name in ("cable.c", "device.c", "ring.c")),
    ]
    assert await asyncio.to_thread(kl_ld.main, words) == 0
    async with pair(tmp_path) as cluster:
        a, b = cluster.nodes
        link = cluster.link(a, b)
        for node in cluster.nodes:
            await node.loader.unload_server("phy_ivshmem", quiesce=True)
        for node in cluster.nodes:
            await node.loader.add_server(driver)
        await link.wait_up()
        streams = [await a.traffic(to=b, size_bytes=9000), await b.traffic(to=a)]
        for stream in streams:
            await stream.wait_received(100)
        await link.cut()
        await link.wait_down()
        await link.splice()
        await link.wait_up()
        for stream in streams:
            await nothing_is_lost(stream, 100)
        for node in cluster.nodes:
            await node.loader.delete_server("phy_mailbox")
        for node in cluster.nodes:
            await node.loader.load_server("phy_ivshmem")
        await link.wait_up()
        await a.ping(b)


@pytest.mark.parametrize("arch", list(Arch))
async def test_a_panic_names_the_function_of_a_server(tmp_path: Path, arch: Arch) -> None:
    async with pair(tmp_path, arch) as cluster:
        a = cluster.node("a")
        await a.loader.add_server(a.server_object("fault"))
        port = await a.port("fault")
        with pytest.raises(MnlabError):
            await a.call(WRITE_NOWHERE, port=port)
        await a.wait_exited()
    (explained,) = (item for item in cluster.stream.history if isinstance(item, PanicExplained))
    assert re.search(
        r" fault\+0x[0-9a-f]+ \((fault_message|write_nowhere)\+", explained.backtrace[0]
    )
    assert any("server_main+" in call for call in explained.backtrace)  # the kernel's half


def test_kl_ld_says_what_is_missing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "bad.c"
    source.write_text("extern int nobody_has_this(void);\nint (*f)(void) = nobody_has_this;\n")
    load = tmp_path / "load"
    load.write_text("CALL f 0\nSTART\n")
    words = ["-n", "bad", "-i", "kern_server_self", "-l", str(load), "-o", str(tmp_path / "o")]
    assert kl_ld.main([*words, str(source)]) == 1
    assert "does not export nobody_has_this" in capfd.readouterr().err
    assert kl_ld.main(words) == 1
    assert "usage: kl_ld" in capfd.readouterr().err
    source.write_text("int f(unsigned long x) { return (int)x; }\n")
    words = ["kl_ld", *words, "-X-Wno-missing-prototypes", str(source)]
    assert mnlab.main(words) == 0  # the same, as a verb
    assert (tmp_path / "o").is_file()


async def test_traffic_servers_that_go_at_the_same_time_settle_what_is_under_way(
    tmp_path: Path,
) -> None:
    """Each waits for what the other has not taken yet, and neither for ever."""
    async with pair(tmp_path) as cluster:
        a, b = cluster.nodes
        for _ in range(3):
            streams = [await a.traffic(to=b), await b.traffic(to=a)]
            for stream in streams:
                await stream.wait_received(1000)
            await asyncio.gather(*(node.loader.unload_server("traffic") for node in (a, b)))
            for stream in streams:
                with pytest.raises(GuestError, match="NOT_FOUND"):  # the streams went with them
                    await stream.stop()
