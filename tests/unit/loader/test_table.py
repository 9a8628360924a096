# SPDX-License-Identifier: MIT
"""The table's rules, and the loader against a fake node under every sequence of events.

The machine below does to a loader whatever clients, servers and the node can do, several at once and
in any order of their answers; whenever nothing is under way, table and node must agree, and what the
table says must be what happened last.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import tempfile
from collections.abc import Awaitable
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from emulator.loader.codes import Code, LoaderError
from emulator.loader.node_messages import NodeState
from emulator.loader.object import ServerObject
from emulator.loader.table import TRANSITIONS, Event, State, Table, state_string
from emulator.testing.loader_bench import INIT, KIND, STOP, LoaderBench
from emulator.testing.server_writer import ServerWriter

NAMES = ("base", "middle", "top")
NEEDS = {"base": (), "middle": ("base",), "top": ("middle", "base")}
ON_THE_NODE = {
    State.ALLOCATED: NodeState.ALLOCATED,
    State.LOADED: NodeState.LOADED,
    State.DETACHED: NodeState.LOADED,
}
STABLE = (*ON_THE_NODE, State.FAILED, State.DEALLOCATED)


def tiny(name: str = "tiny", depends: tuple[str, ...] = ()) -> ServerObject:
    data = ServerWriter().with_name(name, depends=depends).write()
    return ServerObject.read(data, kind=KIND, source=name)


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_an_event_that_is_not_allowed_changes_nothing(state: State, event: Event) -> None:
    table = Table()
    server = table.add(tiny(), Path("tiny"))
    server.state = state
    target = TRANSITIONS.get((state, event))
    if target is not None:
        table.move(server, event, "why")
        assert server.state is target
        assert bool(server.reason) == (target in (State.FAILED, State.DEALLOCATED))
        return
    with pytest.raises(LoaderError) as caught:
        table.move(server, event)
    assert caught.value.code is Code.FAILURE
    assert server.state is state


def test_every_state_can_be_left_and_reached() -> None:
    assert {state for state, _ in TRANSITIONS} == set(State) - {State.DEALLOCATED}
    assert set(TRANSITIONS.values()) == set(State)


def test_a_failed_load_never_reads_as_loaded() -> None:
    assert TRANSITIONS[State.LOADING, Event.FAILED] is State.FAILED
    assert (State.FAILED, Event.LOADED) not in TRANSITIONS


def test_names_of_states() -> None:
    names = [state_string(number) for number in range(9)]
    assert names == [
        *("Zombie", "Allocating", "Allocated", "Loading", "Loaded", "Unloading", "Deallocated"),
        *("Detached", "Failed"),
    ]


def test_a_deallocated_entry_is_known_until_its_name_is_used_again() -> None:
    table = Table()
    server = table.add(tiny(), Path("tiny"))
    table.move(server, Event.DELETED, "why")
    assert table.entry("tiny") is server
    with pytest.raises(LoaderError) as caught:
        table.find("tiny")
    assert caught.value.code is Code.UNKNOWN_SERVER
    assert table.add(tiny(), Path("tiny")) is not server
    assert [item.name for item in table] == ["tiny"]


def test_a_null_port_matches_nobody() -> None:
    table = Table()
    table.add(tiny(), Path("tiny"))
    with pytest.raises(LoaderError) as caught:
        table.by_com_port(0)
    assert caught.value.code is Code.SERVER_UNLOADED


class LoaderMachine(RuleBasedStateMachine):
    """Three servers that depend on each other, one node."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.random = random.Random(1)
        self.bench = LoaderBench(Path(self.folder.name), turns=lambda: self.random.randrange(1, 5))
        self.under_way: list[Awaitable[object]] = []

    @initialize(seed=st.integers(0, 999))
    def begin(self, seed: int) -> None:
        self.random = random.Random(seed)
        for name in NAMES:
            self.bench.write(name, depends=NEEDS[name])
        self.loop.run_until_complete(self.bench.loader.node_up())
        self.add("top")
        self.load("middle")
        self.finish()

    def teardown(self) -> None:
        try:
            self.finish()
        finally:
            self.loop.close()
            self.folder.cleanup()

    # --- what clients do ---

    def start(self, work: Awaitable[object]) -> None:
        self.under_way.append(work)
        if self.random.random() < 0.7:
            self.finish()

    @rule(name=st.sampled_from(NAMES))
    def add(self, name: str) -> None:
        path = self.bench.folder / f"{name}.kern_server"
        self.start(self.bench.loader.add(path))

    @rule(name=st.sampled_from(NAMES))
    def load(self, name: str) -> None:
        self.start(self.bench.loader.load(name))

    @rule(name=st.sampled_from(NAMES), quiesce=st.booleans(), force=st.booleans())
    def unload(self, name: str, quiesce: bool, force: bool) -> None:
        self.start(self.bench.loader.unload(name, quiesce=quiesce, force=force))

    @rule(name=st.sampled_from(NAMES))
    def delete(self, name: str) -> None:
        self.start(self.bench.loader.delete(name))

    @rule(name=st.sampled_from(NAMES))
    def replace(self, name: str) -> None:
        path = self.bench.folder / f"{name}.kern_server"
        self.start(self.bench.loader.replace(name, path))

    @rule(restart=st.booleans())
    def abort(self, restart: bool) -> None:
        self.finish()
        self.start(self.bench.loader.abort(restart=restart))

    @rule()
    def node_boots_again(self) -> None:
        self.finish()
        self.bench.node.die()
        self.bench.loader.node_down("node a died")
        assert self.bench.loader.list() == ()
        self.bench.node.boot()
        self.loop.run_until_complete(self.bench.loader.node_up())

    # --- what servers and the node do ---

    @rule(name=st.sampled_from(NAMES), count=st.integers(0, 250))
    def another_build(self, name: str, count: int) -> None:
        writer = replace(ServerWriter(), code=bytes([count]) * 64)
        self.bench.write(name, writer, depends=NEEDS[name])

    @rule(
        name=st.sampled_from(NAMES),
        offset=st.sampled_from((INIT, INIT, STOP)),
        fails=st.booleans(),
    )
    def call_returns(self, name: str, offset: int, fails: bool) -> None:
        self.bench.node.returns[name, offset] = int(fails)

    @rule(name=st.sampled_from(NAMES), links=st.integers(0, 1))
    def links_run_over(self, name: str, links: int) -> None:
        self.bench.node.links[name] = links

    @rule(name=st.sampled_from(NAMES))
    def message_arrives(self, name: str) -> None:
        async def send() -> None:
            self.bench.node.send_to(name)

        self.start(send())

    @rule(name=st.sampled_from(NAMES))
    def server_panics(self, name: str) -> None:
        async def panic() -> None:
            server = self.bench.node.named(name)
            if server is not None and server.state is NodeState.LOADED:
                self.bench.node.panic(name, "why")

        self.start(panic())

    # --- and what must then be true ---

    @rule()
    def finish(self) -> None:
        """Whatever is under way ends, with success or a code."""

        async def all_of_it(work: list[Awaitable[object]]) -> None:
            results = await asyncio.gather(*work, return_exceptions=True)
            for result in results:
                if isinstance(result, BaseException) and not isinstance(result, LoaderError):
                    raise result
                if isinstance(result, LoaderError):
                    assert result.code is not Code.FAILURE, result  # a transition that is missing
            await self.bench.settle()

        work, self.under_way = self.under_way, []
        self.loop.run_until_complete(asyncio.wait_for(all_of_it(work), 5))

    @invariant()
    def table_and_node_agree(self) -> None:
        if self.under_way:
            return
        seen = set()
        for name in NAMES:
            with contextlib.suppress(LoaderError):
                state = State(self.bench.state(name))
                seen.add(name)
                server = self.bench.node.named(name)
                assert state in STABLE
                assert (None if server is None else server.state) is ON_THE_NODE.get(state)
                if state is State.LOADED and not self.bench.loader.taint:
                    needs = [self.bench.state(other) for other in NEEDS[name]]
                    assert all(other == State.LOADED for other in needs)
        assert {item.name for item in self.bench.node.servers.values()} <= seen


def test_table_and_node_agree_whatever_happens() -> None:
    run_state_machine_as_test(
        LoaderMachine, settings=settings(max_examples=40, stateful_step_count=30, deadline=None)
    )
