# SPDX-License-Identifier: MIT
"""The seventeen functions, asked directly and through a socket, and what clients can do wrong."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from emulator.loader import (
    Code,
    Loader,
    LoaderError,
    LoaderMessage,
    ReplyCallbacks,
    State,
    error,
    error_string,
    look_up,
    reply_handler,
)
from emulator.loader.channel import LocalChannel
from emulator.loader.messages import NameRequest, Request, parse_string, take_answer
from emulator.loader.service import LoaderService
from emulator.loader.socket_channel import LOOK_UP, SOCKET_NAME, LoaderSocket, SocketChannel
from emulator.loader.status import Priority
from emulator.testing.loader_bench import INIT, LoaderBench, Mailbox

PRIVILEGED = 77


@dataclass(slots=True)
class Lab:
    """A node that is up, its loader's service, and a client of it."""

    bench: LoaderBench
    service: LoaderService
    loader: Loader
    spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


@pytest.fixture(params=["direct", "socket"])
async def lab(request: pytest.FixtureRequest, bench: LoaderBench) -> AsyncIterator[Lab]:
    await bench.loader.node_up()
    async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        begun: list[asyncio.Task[None]] = []

        def spawn(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
            begun.append(tasks.create_task(work))
            return begun[-1]

        service = LoaderService(bench.loader, PRIVILEGED, spawn)
        if request.param == "direct":
            yield Lab(bench, service, await look_up(LocalChannel(service)), spawn)
        else:
            listener = LoaderSocket({"a": service}, spawn)
            listener.open(bench.folder / SOCKET_NAME)
            stack.callback(listener.close)
            async with await SocketChannel.open(bench.folder / SOCKET_NAME, "a") as channel:
                yield Lab(bench, service, await look_up(channel), spawn)
        for task in begun:
            task.cancel()


async def refused(work: Awaitable[object], code: Code) -> LoaderError:
    with pytest.raises(LoaderError) as caught:
        await work
    assert caught.value.code is code
    return caught.value


async def test_a_server_s_life(lab: Lab) -> None:
    loader = lab.loader
    await loader.add_server(lab.bench.write())
    assert await loader.server_list() == ("tiny",)
    await loader.load_server("tiny")
    info = await loader.server_info("tiny")
    assert (info.state, info.address) == (State.LOADED, 0x700000)
    assert [(port.name, port.advertised) for port in info.ports] == [("tiny", True)]
    assert info.ports[0].port
    com_port = await loader.server_com_port("tiny")
    assert com_port
    assert await loader.server_task_port("tiny") == com_port
    await loader.replace_server("tiny", lab.bench.write())
    await loader.unload_server("tiny", quiesce=True, force=False)
    await loader.delete_server("tiny")
    assert await loader.server_list() == ()
    assert (await loader.server_info("tiny")).state == State.DEALLOCATED
    await loader.abort(restart=True)
    await loader.abort()
    await refused(loader.add_server(lab.bench.write()), Code.NODE_UNREACHABLE)


async def test_what_is_refused_says_why(lab: Lab) -> None:
    await refused(lab.loader.load_server("nobody"), Code.UNKNOWN_SERVER)
    lab.bench.node.returns["tiny", INIT] = 9
    await lab.loader.add_server(lab.bench.write())
    failure = await refused(lab.loader.load_server("tiny"), Code.INIT_FAILED)
    assert failure.what == "tiny: CALL tiny_init 0 returned 9"
    assert (await lab.loader.server_info("tiny")).reason == failure.message


async def test_lines_and_the_barrier(lab: Lab) -> None:
    port = lab.loader.port()
    lab.loader.status_port(port)
    adding = asyncio.ensure_future(lab.loader.add_server(lab.bench.write()))
    await asyncio.sleep(0)
    lab.loader.ping(port, -5)
    heard: list[object] = []
    callbacks = ReplyCallbacks(
        argument=heard,
        string=lambda to, text, length, level: to.append((text, length, level)),
        ping=lambda to, number: to.append(number),
    )
    while -5 not in heard:
        message = await port.receive(5)
        assert message is not None
        reply_handler(message, callbacks)
    await adding
    assert heard[-2:] == [("tiny allocated", 14, 6), -5]
    lab.loader.status_port(port, listen=False)
    await lab.loader.load_server("tiny")
    lab.loader.ping(port, 6)
    message = await port.receive(5)
    assert message is not None
    assert message.id == 301


async def test_logs_come_as_text(lab: Lab) -> None:
    await lab.loader.add_server(lab.bench.write())
    await lab.loader.load_server("tiny")
    com_port = await lab.loader.server_com_port("tiny")
    port = lab.loader.port()
    await refused(lab.loader.get_log(com_port, port), Code.INVALID_ARGUMENT)
    await lab.loader.log_level(com_port, 1)
    await lab.loader.get_log(com_port, port)
    await refused(lab.loader.get_log(com_port, port), Code.PORT_EXISTS)
    await lab.loader.unload_server("tiny")
    message = await port.receive(5)
    assert message is not None
    heard: list[tuple[str, int]] = []
    reply_handler(
        message,
        ReplyCallbacks(argument=heard, log_data=lambda to, text, length: to.append((text, length))),
    )
    assert heard == [("", 0)]  # closed


@pytest.mark.parametrize(
    "request_id",
    [
        Request.UNLOAD_SERVER,
        Request.DELETE_SERVER,
        Request.SERVER_COM_PORT,
        Request.SERVER_TASK_PORT,
        Request.REPLACE_SERVER,
        Request.ADD_SERVER,
        Request.ABORT,
    ],
)
async def test_privilege_comes_after_the_name_and_before_everything_else(
    lab: Lab, request_id: Request
) -> None:
    await lab.loader.add_server(lab.bench.write())
    await lab.loader.load_server("tiny")
    before = list(lab.bench.node.calls)
    channel = LocalChannel(lab.service, privileged=False)

    async def ask(name: str, privileged: int) -> None:
        body = NameRequest(name=name, privileged=privileged).serialize()
        take_answer(await channel.call(request_id, body, 0, 5))

    for privileged in (0, PRIVILEGED + 1):
        await refused(ask("tiny", privileged), Code.NO_PERMISSION)
        if request_id not in (Request.ADD_SERVER, Request.ABORT):
            await refused(ask("nobody", privileged), Code.UNKNOWN_SERVER)
    assert lab.bench.node.calls == before
    assert lab.bench.state() == State.LOADED


async def test_anybody_may_load_list_and_see(lab: Lab) -> None:
    await lab.loader.add_server(lab.bench.write())
    stranger = Loader(LocalChannel(lab.service, privileged=False))
    await stranger.load_server("tiny")
    assert await stranger.server_list() == ("tiny",)
    info = await stranger.server_info("tiny")
    assert info.state == State.LOADED
    assert [port.port for port in info.ports] == [0]


@pytest.mark.parametrize(
    ("message_id", "body", "code"),
    [
        (314, b"", Code.BAD_ID),
        (0, b"x" * 264, Code.BAD_ID),
        (Request.LOAD_SERVER, b"x", Code.BAD_ARGUMENTS),
        (Request.LOAD_SERVER, b"x" * 265, Code.BAD_ARGUMENTS),
        (Request.LOAD_SERVER, b"x" * 264 + struct.pack("<II", 0, 9), Code.BAD_ARGUMENTS),
        (Request.LOG_LEVEL, b"", Code.BAD_ARGUMENTS),
        (Request.GET_LOG, b"\0" * 16, Code.SERVER_UNLOADED),
        (Request.LOG_LEVEL, b"\1" * 16, Code.UNKNOWN_SERVER),
    ],
)
async def test_nonsense_is_answered(lab: Lab, message_id: int, body: bytes, code: Code) -> None:
    channel = LocalChannel(lab.service)
    with pytest.raises(LoaderError) as caught:
        take_answer(await channel.call(message_id, body, 0, 5))
    assert caught.value.code is code


async def test_a_ping_waits_for_its_own_client_only(lab: Lab) -> None:
    """One client's slow load does not hold up another's ping."""
    await lab.loader.add_server(lab.bench.write())
    gate = lab.bench.node.gate = asyncio.Event()
    one, other = Mailbox(), Mailbox()
    body = NameRequest(name="tiny").serialize()
    answers: list[bytes] = []
    lab.service.receive(one, Request.LOAD_SERVER, body, 1, answers.append)
    lab.service.receive(one, Request.PING, (3).to_bytes(8, "little"), 1, answers.append)
    lab.service.receive(other, Request.PING, (4).to_bytes(8, "little"), 1, answers.append)
    for _ in range(10):
        await asyncio.sleep(0)
    assert (one.pings(), other.pings(), answers) == ([], [4], [])
    gate.set()
    while not one.pings():
        await asyncio.sleep(0)
    assert len(answers) == 1
    assert one.pings() == [3]


async def test_an_aborted_loader_is_dead_to_its_clients(lab: Lab) -> None:
    listener = Mailbox()  # asks for nothing but lines
    lab.service.receive(listener, Request.STATUS_PORT, b"", 1, lambda _: None)
    port = lab.loader.port()
    lab.loader.status_port(port)
    await lab.loader.add_server(lab.bench.write())
    assert await lab.loader.is_active()
    await lab.loader.abort()
    texts = [parse_string(message.body)[1] async for message in port]  # ends with the loader
    assert texts[-1] == listener.lines()[-1] == "tiny deallocated"
    assert listener.has_ended
    assert not lab.bench.loader.is_active


async def test_a_client_may_wait_for_the_node(bench: LoaderBench) -> None:
    async with asyncio.TaskGroup() as tasks:
        loader = Loader(LocalChannel(LoaderService(bench.loader, PRIVILEGED, tasks.create_task)))
        assert not await loader.is_active()
        waiting = tasks.create_task(loader.wait_active())
        for _ in range(5):
            await asyncio.sleep(0)
        assert not waiting.done()
        await bench.loader.node_up()
        await waiting
        assert await loader.is_active()


async def test_tools_that_do_not_read_delay_no_load(bench: LoaderBench) -> None:
    """One never reads its lines, one is gone without a word; a third hears what they lose."""
    await bench.loader.node_up()
    async with asyncio.TaskGroup() as tasks:
        begun: list[asyncio.Task[None]] = []

        def spawn(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
            begun.append(tasks.create_task(work))
            return begun[-1]

        listener = LoaderSocket({"a": LoaderService(bench.loader, PRIVILEGED, spawn)}, spawn)
        listener.open(bench.folder / SOCKET_NAME)
        deaf, gone = (socket.socket(socket.AF_UNIX) for _ in range(2))
        async with await SocketChannel.open(bench.folder / SOCKET_NAME, "a") as channel:
            loader = Loader(channel)
            for tool in (deaf, gone):
                tool.connect(str(bench.folder / SOCKET_NAME))
                for number, body in ((LOOK_UP, b"a"), (Request.STATUS_PORT, b"")):
                    tool.sendall(struct.pack("<IIQQ", len(body), number, 1, 0) + body)
            while len(bench.loader.lines._subscriptions) < 2:
                await asyncio.sleep(0)
            gone.close()
            await loader.add_server(bench.write())
            for _ in range(1000):  # a kilobyte of lines each, four times what is kept for a tool
                bench.loader.lines.post(Priority.INFO, "x" * 1024)
            await loader.load_server("tiny")
            assert bench.state() == State.LOADED
            (subscription,) = bench.loader.lines._subscriptions
            assert subscription.lost > 500
        for task in begun:
            task.cancel()
        listener.close()
        deaf.close()


@pytest.mark.parametrize("number", [299, 303, 0])
def test_the_reply_handler_drops_what_it_does_not_know(number: int) -> None:
    with pytest.raises(LoaderError) as caught:
        reply_handler(LoaderMessage(number, b""), ReplyCallbacks(argument=None))
    assert caught.value.code is Code.BAD_ID


def test_the_reply_handler_drops_what_has_no_callback() -> None:
    with pytest.raises(LoaderError, match="301 is not handled"):
        reply_handler(LoaderMessage(301, bytes(8)), ReplyCallbacks(argument=None))


def test_every_code_has_a_text(capsys: pytest.CaptureFixture[str]) -> None:
    texts = [error_string(code) for code in Code]
    assert "unknown error" not in texts
    assert len(set(texts)) == len(texts)
    assert error_string(-1) == "unknown error"
    error("kl_util", 115)
    assert capsys.readouterr().err == "kl_util : server is detached (115)\n"


async def test_a_socket_in_a_deep_folder_for_a_node_that_is_there(
    bench: LoaderBench, tmp_path: Path
) -> None:
    deep = tmp_path / ("x" * 120) / ("y" * 120)
    deep.mkdir(parents=True)
    async with asyncio.TaskGroup() as tasks:
        begun: list[asyncio.Task[None]] = []

        def spawn(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
            begun.append(tasks.create_task(work))
            return begun[-1]

        listener = LoaderSocket({"a": LoaderService(bench.loader, 1, spawn)}, spawn)
        listener.open(deep / SOCKET_NAME)
        assert (deep / SOCKET_NAME).stat().st_mode & 0o777 == 0o600
        failure = await refused(SocketChannel.open(deep / SOCKET_NAME, "b"), Code.NODE_UNREACHABLE)
        assert failure.what == "no loader for node b; there are: a"
        async with await SocketChannel.open(deep / SOCKET_NAME, "a") as channel:
            port = channel.port()
            for task in begun:
                task.cancel()
            assert await port.receive(5) is None  # the run has ended
            assert await port.receive(5) is None
            await refused(channel.call(Request.SERVER_LIST, b"", 0, 5), Code.NODE_UNREACHABLE)
        listener.close()
        assert not (deep / SOCKET_NAME).exists()
    await refused(SocketChannel.open(deep / SOCKET_NAME, "a"), Code.NODE_UNREACHABLE)
