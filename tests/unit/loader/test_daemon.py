# SPDX-License-Identifier: MIT
"""The loader beside a fake node: every function, what fails, and that both agree afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from emulator.loader.codes import Code, LoaderError
from emulator.loader.conf import ServerConfig
from emulator.loader.node_messages import LogEntry, NodeState
from emulator.loader.status import Priority
from emulator.loader.table import State, Taint
from emulator.testing.loader_bench import INIT, STOP, LoaderBench, Mailbox
from emulator.testing.server_writer import ServerWriter

T = TypeVar("T")
OTHER_BUILD = replace(ServerWriter(), code=b"\x90" * 64)


async def refused(work: Coroutine[Any, Any, Any], code: Code) -> LoaderError:
    with pytest.raises(LoaderError) as caught:
        await work
    assert caught.value.code is code
    return caught.value


@pytest.fixture
async def up(bench: LoaderBench) -> LoaderBench:
    await bench.loader.node_up()
    return bench


@pytest.fixture
async def loaded(up: LoaderBench) -> LoaderBench:
    """With `tiny` loaded."""
    await up.loader.add(up.write())
    await up.loader.load("tiny")
    return up


async def test_add_load_unload_delete(up: LoaderBench) -> None:
    loader, node = up.loader, up.node
    assert await loader.add(up.write()) == "tiny"
    assert up.state() == State.ALLOCATED
    assert loader.list() == ("tiny",)
    await loader.load("tiny")
    assert up.state() == State.LOADED
    server = node.named("tiny")
    assert server is not None
    assert server.image[:64] == b"\xc3" * 64
    assert await loader.com_port("tiny") == server.com_port != 0
    await loader.load("tiny")  # no effect
    await loader.unload("tiny")
    assert up.state() == State.ALLOCATED
    assert server.state is NodeState.ALLOCATED
    assert server.armed
    assert await loader.com_port("tiny") == 0
    await loader.delete("tiny")
    assert up.state() == State.DEALLOCATED
    assert not node.servers
    assert loader.list() == ()
    assert node.calls == [("tiny", INIT), ("tiny", STOP)]


async def test_the_lines_of_adding_a_server_that_starts(up: LoaderBench) -> None:
    up.lines.clear()
    path = up.write(load="CALL tiny_init 0\nSTART\n")
    await up.loader.add(path)
    starts = [line.split("/")[0].split(" at ")[0] for line in up.lines]
    assert starts == [
        "adding ",
        "allocating tiny",
        "linking tiny against 000102030405",
        "tiny allocated",
        "loading tiny",
        "tiny",
        "tiny: 4128 bytes downloaded",
        "starting up tiny",
        "tiny loaded",
    ]


async def test_what_is_known_of_a_server(loaded: LoaderBench) -> None:
    info = loaded.loader.info("tiny", privileged=True)
    server = loaded.node.named("tiny")
    assert server is not None
    assert (info.address, info.size_bytes) == (server.address, server.size_bytes)
    assert info.relocatable == str(loaded.folder / "tiny.kern_server")
    (port,) = info.ports
    assert (port.name, port.port, port.advertised) == ("tiny", server.ports[0], True)
    (port,) = loaded.loader.info("tiny", privileged=False).ports
    assert (port.name, port.port, port.advertised) == ("tiny", 0, True)


async def test_the_linked_image_is_written_for_a_debugger(up: LoaderBench) -> None:
    place = up.folder / "tiny.linked"
    path = up.write(writer=replace(ServerWriter(), loadable=place.name))
    await up.loader.add(path)
    assert f"linking tiny into {place}" in up.lines
    assert up.loader.info("tiny", privileged=True).loadable == str(place)
    assert len(place.read_bytes()) == path.stat().st_size
    await up.loader.delete("tiny")
    place.unlink()
    place.mkdir()  # a place that cannot be written costs the server nothing
    await up.loader.add(path)
    assert up.state() == State.ALLOCATED
    assert any(f"{place} is not written" in line for line in up.lines)
    assert {item.name for item in up.folder.iterdir()} == {path.name, place.name}


async def test_codes(up: LoaderBench) -> None:
    loader = up.loader
    for work in (loader.load, loader.unload, loader.delete, loader.com_port):
        await refused(work("tiny"), Code.UNKNOWN_SERVER)
    with pytest.raises(LoaderError) as caught:
        loader.info("tiny", privileged=True)
    assert caught.value.code is Code.UNKNOWN_SERVER
    await refused(loader.add(up.folder / "nothing.kern_server"), Code.CANT_OPEN_SERVER)
    path = up.write()
    await loader.add(path)
    await refused(loader.add(path), Code.SERVER_EXISTS)
    await refused(loader.unload("tiny"), Code.SERVER_UNLOADED)
    await refused(loader.replace("tiny", up.write("other")), Code.INVALID_ARGUMENT)
    await loader.delete("tiny")
    await refused(loader.load("tiny"), Code.UNKNOWN_SERVER)
    assert loader.info("tiny", privileged=True).state == State.DEALLOCATED


async def test_a_port_is_advertised_by_one_server(up: LoaderBench) -> None:
    await up.loader.add(up.write("one"))
    same = "HMAP mine tiny_handler 0\nHMAP one tiny_handler 0\nADVERTISE one\n"
    error = await refused(up.loader.add(up.write("two", load=same)), Code.PORT_EXISTS)
    assert error.what == "two advertises port one, as one does already"
    assert up.state("two") == State.DEALLOCATED
    assert up.node.named("two") is None
    await up.loader.add(up.write("two", load=same.replace("ADVERTISE one", "START")))
    await refused(up.loader.replace("two", up.write("two", load=same)), Code.PORT_EXISTS)
    assert up.state("two") == State.LOADED
    await up.loader.delete("one")
    await up.loader.replace("two", up.write("two", load=same))


async def test_a_failed_initialisation_is_never_loaded(up: LoaderBench) -> None:
    await up.loader.add(up.write())
    up.node.returns["tiny", INIT] = 5
    error = await refused(up.loader.load("tiny"), Code.INIT_FAILED)
    assert error.what == "tiny: CALL tiny_init 0 returned 5"
    info = up.loader.info("tiny", privileged=True)
    assert info.state == State.FAILED
    assert info.reason == error.message
    assert up.node.calls == [("tiny", INIT), ("tiny", STOP)]  # rolled back by the unload script
    assert not up.node.servers
    assert up.loader.taint == Taint.FAILED_LOAD
    up.node.returns.clear()
    await up.loader.load("tiny")  # from the start
    assert up.state() == State.LOADED


async def test_an_unload_script_that_fails_deallocates(loaded: LoaderBench) -> None:
    loaded.node.returns["tiny", STOP] = 3
    error = await refused(loaded.loader.unload("tiny"), Code.WONT_UNLOAD)
    assert "CALL tiny_stop of its unload script returned 3" in error.message
    assert loaded.state() == State.DEALLOCATED
    assert not loaded.node.servers
    assert loaded.loader.taint & Taint.UNLOADED_WITH_ERRORS


async def test_a_detached_server_stays(up: LoaderBench) -> None:
    await up.loader.add(up.write(load="HMAP tiny tiny_handler 0\nDETACH\nSTART\n"))
    assert up.state() == State.DETACHED
    await refused(up.loader.unload("tiny"), Code.DETACHED)
    await refused(up.loader.replace("tiny", up.write()), Code.DETACHED)
    await up.loader.load("tiny")
    await up.loader.delete("tiny")
    assert up.state() == State.DEALLOCATED
    assert up.node.named("tiny") is not None


async def test_other_content_is_allocated_again_and_keeps_its_ports(up: LoaderBench) -> None:
    await up.loader.add(up.write())
    (before,) = up.loader.info("tiny", privileged=True).ports
    up.write(writer=OTHER_BUILD)
    await up.loader.load("tiny")
    server = up.node.named("tiny")
    assert server is not None
    assert server.image[:64] == b"\x90" * 64
    assert up.loader.info("tiny", privileged=True).ports == (before,)


async def test_same_content_in_a_newer_file_is_not(up: LoaderBench) -> None:
    await up.loader.add(up.write())
    up.lines.clear()
    up.write()
    await up.loader.load("tiny")
    assert not any("again" in line for line in up.lines)


async def test_replace(loaded: LoaderBench) -> None:
    (before,) = loaded.loader.info("tiny", privileged=True).ports
    loaded.node.links["tiny"] = 2
    path = loaded.folder / "new.kern_server"
    path.write_bytes(OTHER_BUILD.write())
    await loaded.loader.replace("tiny", path)
    server = loaded.node.named("tiny")
    assert server is not None
    assert server.image[:64] == b"\x90" * 64
    assert server.state is NodeState.LOADED
    assert loaded.loader.info("tiny", privileged=True).ports == (before,)
    assert loaded.loader.taint == Taint.NONE
    path.write_bytes(b"nonsense")
    await refused(loaded.loader.replace("tiny", path), Code.NOT_ELF)
    assert loaded.state() == State.LOADED


async def test_a_driver_with_links_is_not_unloaded_unless_told_how(loaded: LoaderBench) -> None:
    loaded.node.links["tiny"] = 1
    await refused(loaded.loader.unload("tiny"), Code.BUSY)
    assert loaded.state() == State.LOADED
    await loaded.loader.unload("tiny", quiesce=True)
    assert loaded.state() == State.ALLOCATED
    assert not loaded.loader.taint
    await loaded.loader.load("tiny")
    await loaded.loader.unload("tiny", force=True)
    assert loaded.loader.taint == Taint.FORCED_UNLOAD


async def test_dependencies_are_found_loaded_first_and_kept(up: LoaderBench) -> None:
    up.write("base")
    up.write("middle", depends=("base",))
    await up.loader.add(up.write("top", depends=("middle", "base")))
    assert set(up.loader.list()) == {"base", "middle", "top"}
    await up.loader.load("top")
    assert [name for name, _ in up.node.calls] == ["base", "middle", "top"]
    error = await refused(up.loader.unload("base"), Code.BUSY)
    assert "used by top, middle" in error.message
    await refused(up.loader.delete("middle"), Code.BUSY)
    await up.loader.unload("base", force=True)
    assert up.loader.taint & Taint.FORCED_UNLOAD
    await up.loader.unload("top")
    await up.loader.unload("middle")


async def test_a_missing_dependency(up: LoaderBench) -> None:
    await up.loader.add(up.write("top", depends=("nobody",)))
    error = await refused(up.loader.load("top"), Code.MISSING_DEPENDENCY)
    assert "top needs nobody" in error.message
    assert up.state("top") == State.ALLOCATED
    await up.loader.add(up.write("nobody"))
    await up.loader.load("top")


async def test_a_circle_is_refused_with_its_members(up: LoaderBench) -> None:
    up.write("b", depends=("c",))
    up.write("c", depends=("a",))
    error = await refused(up.loader.add(up.write("a", depends=("b",))), Code.CYCLIC_DEPENDENCY)
    assert error.what == "c needs a needs b needs c"
    assert up.loader.list() == ()
    assert not up.node.servers


async def test_the_checked_in_circle() -> None:
    data = Path(__file__).parents[2] / "data" / "servers"
    bench = LoaderBench(data)
    await bench.loader.node_up()
    await bench.loader.add(data / "cyclic_dependency_b.kern_server")
    # b waits for c, which nobody finds by that name; the circle closes with c.
    await bench.loader.add(data / "cyclic_dependency_a.kern_server")
    error = await refused(
        bench.loader.add(data / "cyclic_dependency_c.kern_server"), Code.CYCLIC_DEPENDENCY
    )
    assert error.what == "c needs a needs b needs c"


async def test_the_first_message_loads(up: LoaderBench) -> None:
    await up.loader.add(up.write())
    assert up.node.send_to("tiny")
    assert up.node.send_to("tiny")
    await up.settle()
    assert up.state() == State.LOADED
    server = up.node.named("tiny")
    assert server is not None
    assert server.loads == 1


async def test_a_first_message_may_be_ahead_of_the_reply_that_armed_its_port(
    up: LoaderBench,
) -> None:
    adding = asyncio.ensure_future(up.loader.add(up.write()))
    while (server := up.node.named("tiny")) is None:
        await asyncio.sleep(0)
    assert up.state() == State.ALLOCATING
    assert up.node.send_to("tiny")
    await adding
    await up.settle()
    assert up.state() == State.LOADED
    unloading = asyncio.ensure_future(up.loader.unload("tiny"))
    while server.state is NodeState.LOADED:
        await asyncio.sleep(0)
    assert up.state() == State.UNLOADING
    assert up.node.send_to("tiny")
    await unloading
    await up.settle()
    assert up.state() == State.LOADED


@pytest.mark.parametrize("reason", ["init", "dependency"])
async def test_a_first_message_that_loads_nothing_is_refused(up: LoaderBench, reason: str) -> None:
    await up.loader.add(up.write(depends=("nobody",) if reason == "dependency" else ()))
    up.node.returns["tiny", INIT] = 1
    assert up.node.send_to("tiny")
    await up.settle()
    assert up.state() == State.FAILED
    assert not up.node.send_to("tiny")
    assert any("no server for the message to tiny" in line for line in up.lines)


async def test_a_message_after_unload_loads_again(loaded: LoaderBench) -> None:
    await loaded.loader.unload("tiny")
    assert loaded.node.send_to("tiny")
    await loaded.settle()
    assert loaded.state() == State.LOADED


async def test_parameters(up: LoaderBench) -> None:
    writer = replace(
        ServerWriter(),
        variables=("tiny_instance", "tiny_pointers", "depth"),
        parameters="u32 depth how deep\0",
    )
    await up.loader.add(up.write(writer=writer))
    await refused(up.loader.load("tiny", ["depth=-1"]), Code.BAD_PARAMETER)
    assert up.state() == State.ALLOCATED
    assert up.node.send_to("tiny")  # what was refused is not tried again
    await up.settle()
    assert up.state() == State.LOADED
    await up.loader.unload("tiny")
    await up.loader.load("tiny", ["depth=77"])
    server = up.node.named("tiny")
    assert server is not None
    assert server.image[0x1020:0x1024] == b"\x4d\0\0\0"


async def test_a_panic_unloads_and_the_next_message_loads(loaded: LoaderBench) -> None:
    loaded.node.panic("tiny", "cannot go on")
    await loaded.settle()
    assert loaded.state() == State.ALLOCATED
    assert "kern_loader: server tiny panicked: cannot go on" in loaded.lines
    assert loaded.loader.taint & Taint.PANICKED
    assert loaded.node.send_to("tiny")
    await loaded.settle()
    assert loaded.state() == State.LOADED


async def test_requests_wait_for_a_stable_state(bench: LoaderBench) -> None:
    await bench.loader.node_up()
    path = bench.write()
    results = await asyncio.gather(
        bench.loader.add(path),
        _later(bench.loader.load, "tiny"),
        _later(bench.loader.load, "tiny"),
        return_exceptions=True,
    )
    assert list(results) == ["tiny", None, None]
    assert bench.node.calls == [("tiny", INIT)]


async def test_a_delete_while_it_is_allocated(up: LoaderBench) -> None:
    adding = asyncio.ensure_future(up.loader.add(up.write()))
    await asyncio.sleep(0)
    assert up.state() == State.ALLOCATING
    await up.loader.delete("tiny")
    await refused(_waited(adding), Code.SERVER_DELETED)
    assert up.state() == State.DEALLOCATED
    assert not up.node.servers


async def test_a_node_that_dies_takes_everything_along(loaded: LoaderBench) -> None:
    box = Mailbox()
    com_port = await loaded.loader.com_port("tiny")
    await loaded.loader.logs.set_level(com_port, 1)
    await loaded.loader.logs.read(com_port, box, 9)
    unloading = asyncio.ensure_future(loaded.loader.unload("tiny"))
    await asyncio.sleep(0)
    loaded.node.die()
    await refused(_waited(unloading), Code.NODE_UNREACHABLE)
    loaded.loader.node_down("node a died")
    assert loaded.state() == State.DEALLOCATED
    assert box.logs() == [""]
    await refused(loaded.loader.add(loaded.write()), Code.NODE_UNREACHABLE)
    loaded.node.boot()
    await loaded.loader.node_up()
    await loaded.loader.add(loaded.write())
    assert loaded.loader.taint == Taint.NONE


async def test_the_configuration_comes_up_in_its_order(tmp_path: Path) -> None:
    names = ("one", "two", "three")
    paths = [tmp_path / f"{name}.kern_server" for name in names]
    bench = LoaderBench(tmp_path, config=[ServerConfig(path=path, load=True) for path in paths])
    bench.write("one", depends=("three",))
    bench.write("two", depends=("nobody",))
    bench.write("three")
    await bench.loader.node_up()
    assert [name for name, _ in bench.node.calls] == ["three", "one"]
    assert bench.state("two") == State.ALLOCATED  # it did not stop the others
    await bench.loader.abort(restart=True)
    assert bench.state("one") == bench.state("three") == State.LOADED
    calls = [name for name, _ in bench.node.calls]
    assert calls == ["three", "one", "one", "three", "three", "one"]  # ended the latest first
    await bench.loader.abort(restart=False)
    assert not bench.loader.is_active
    assert not bench.node.servers


async def test_an_abort_waits_until_the_configuration_is_up(tmp_path: Path) -> None:
    config = [ServerConfig(path=tmp_path / "one.kern_server", load=True)]
    bench = LoaderBench(tmp_path, config=config)
    bench.write("one")
    coming = asyncio.ensure_future(bench.loader.node_up())
    await bench.loader.wait_active()
    await bench.loader.abort(restart=True)
    assert await _waited(coming) == ()
    assert bench.state("one") == State.LOADED
    assert [offset for _, offset in bench.node.calls] == [INIT, STOP, INIT]


async def test_a_configured_server_whose_name_is_taken_is_told(tmp_path: Path) -> None:
    """A dependency that is configured, too, is one server; another build of it is not."""
    paths = [tmp_path / f"{name}.kern_server" for name in ("one", "two", "mine")]
    bench = LoaderBench(tmp_path, config=[ServerConfig(path=path, load=True) for path in paths])
    bench.write("one", depends=("two",))
    paths[2].write_bytes(bench.write("two").read_bytes())
    assert await bench.loader.node_up() == ()  # the same content is no other build
    assert not any("is not added" in line for line in bench.lines)
    bench.write("two", load="CALL tiny_init 1\nHMAP two tiny_handler 0\n").rename(paths[2])
    bench.write("two")
    for code in (Code.SERVER_EXISTS, Code.CANT_OPEN_SERVER):
        bench.lines.clear()
        bench.node.die()
        bench.loader.node_down("test")
        bench.node.boot()
        (failure,) = await bench.loader.node_up()
        assert failure.code is code
        assert any(f"{paths[2]} is not added" in line for line in bench.lines)
        paths[2].unlink(missing_ok=True)
    assert bench.state("one") == bench.state("two") == State.LOADED


async def test_a_lazy_server_without_a_port_is_told(tmp_path: Path) -> None:
    config = [ServerConfig(path=tmp_path / f"{name}.kern_server", load=False) for name in "ab"]
    bench = LoaderBench(tmp_path, config=config)
    bench.write("a", load="CALL tiny_init 0\nSTART\n")
    bench.write("b")
    (failure,) = await bench.loader.node_up()
    assert failure.what == "a has no port: no message would ever load it"
    assert bench.state("a") == bench.state("b") == State.ALLOCATED
    assert sum("no message would ever load it" in line for line in bench.lines) == 1


async def test_another_image_is_refused(bench: LoaderBench) -> None:
    bench.node._build_id = bytes(20)
    await refused(bench.loader.node_up(), Code.WRONG_IMAGE)
    assert not bench.loader.is_active


async def test_logs(loaded: LoaderBench) -> None:
    loader, node, box = loaded.loader, loaded.node, Mailbox()
    com_port = await loader.com_port("tiny")
    await refused(loader.logs.read(com_port, box, 9), Code.INVALID_ARGUMENT)
    await loader.logs.set_level(com_port, 2)
    await loader.logs.read(com_port, box, 9)
    await refused(loader.logs.read(com_port, Mailbox(), 9), Code.PORT_EXISTS)
    outside = LogEntry(time_ns=1234, format_offset=1 << 30, level=2, arguments=(0,) * 5)
    node.log("tiny", replace(outside, level=1))
    assert box.logs() == []
    node.log("tiny", outside)
    assert box.logs() == ["      1234:\t(format at 0x40000000, outside the image)"]
    for total, told in ((5, "          :\t(5 entries were lost)\n"), (5, ""), (6, "(1 entries")):
        await loader.logs.read(com_port, box, 9)
        node.log_lost = total
        node.log("tiny", outside)
        assert told in box.logs()[-1]
        assert ("lost" in box.logs()[-1]) == bool(told)
    await loader.logs.read(com_port, box, 9)
    await loader.logs.set_level(com_port, 0)
    assert box.logs()[4:] == [""]
    await refused(loader.logs.set_level(0, 1), Code.SERVER_UNLOADED)
    await refused(loader.logs.set_level(99, 1), Code.UNKNOWN_SERVER)


async def test_a_reader_that_left_is_in_nobodys_way(loaded: LoaderBench) -> None:
    com_port = await loaded.loader.com_port("tiny")
    gone, box = Mailbox(), Mailbox()
    await loaded.loader.logs.set_level(com_port, 1)
    await loaded.loader.logs.read(com_port, gone, 1)
    loaded.loader.forget(gone)
    await loaded.loader.logs.read(com_port, box, 1)  # what the first asked the node for answers it
    entry = LogEntry(time_ns=1, format_offset=1 << 30, level=1, arguments=(0,) * 5)
    loaded.node.log("tiny", entry)
    assert len(box.logs()) == 1
    assert gone.logs() == []
    await loaded.loader.logs.read(com_port, gone, 1)
    loaded.loader.forget(gone)
    loaded.node.log("tiny", entry)  # nobody waits for what comes now
    await loaded.loader.logs.read(com_port, box, 1)
    loaded.node.log("tiny", entry)
    assert box.logs()[1].endswith("(1 entries were lost)\n")


async def test_a_subscriber_that_takes_nothing_loses_its_lines_only(up: LoaderBench) -> None:
    deaf, keen = Mailbox(room=2), Mailbox()
    up.loader.lines.subscribe(deaf, 1)
    up.loader.lines.subscribe(keen, 1)
    await up.loader.add(up.write())
    assert len(deaf.lines()) == 2
    assert keen.lines() == up.lines[1:]
    lost = len(keen.lines()) - 2
    deaf.room = 3
    up.loader.lines.post(Priority.INFO, "there is room for what was lost only")
    deaf.room = 9
    up.loader.lines.post(Priority.INFO, "and for more")
    assert deaf.lines()[2:] == [
        f"kern_loader: {lost} lines were lost",
        "kern_loader: 1 lines were lost",
        "and for more",
    ]


async def test_a_subscriber_may_ask_for_one_server_and_a_level(up: LoaderBench) -> None:
    errors, one = Mailbox(), Mailbox()
    up.loader.lines.subscribe(errors, 1, level=3)
    up.loader.lines.subscribe(one, 1, server="two")
    await up.loader.add(up.write("one"))
    await up.loader.add(up.write("two"))
    await refused(up.loader.add(up.write("two")), Code.SERVER_EXISTS)
    assert all("two" in line for line in one.lines())
    assert one.lines()
    assert len(errors.lines()) == 1
    assert errors.lines()[0].startswith("kern_loader: ")
    up.loader.lines.unsubscribe(one, 1)
    count = len(one.lines())
    await up.loader.load("two")
    assert len(one.lines()) == count


async def test_nonsense_from_the_node_is_dropped(loaded: LoaderBench) -> None:
    for number, body in ((202, b""), (203, b"x"), (200, b""), (999, b""), (203, b"\xff" * 8)):
        loaded.loader.message(number, body)
    assert loaded.state() == State.LOADED
    assert sum("sent nonsense" in line for line in loaded.lines) == 4


async def _later(work: Callable[[str], Awaitable[None]], name: str) -> None:
    await asyncio.sleep(0)
    await work(name)


async def _waited(future: asyncio.Future[T]) -> T:
    return await future
