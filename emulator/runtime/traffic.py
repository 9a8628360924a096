# SPDX-License-Identifier: MIT
"""Checked traffic between two kernels: the stream a script holds, and the account it ends with.

Both ends keep an account in their black box, message by message; the host only starts and ends the
stream. So a stream ends well even if its source or sink died meanwhile: the account of the dead is
in the memory it left.
"""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass
from typing import Final

from emulator.errors import DeadlineExpired, GuestError, NodeDied
from emulator.events.types import Role, StreamAccount, StreamClosed, StreamOpened
from emulator.protocol.services import (
    LedgerRole,
    Service,
    TrafficStart,
    parse_traffic_stop_reply,
    take_status,
    traffic_ledger_request,
    traffic_stop_request,
)
from emulator.runtime.deadline import Deadline
from emulator.runtime.node_runtime import NodeRuntime
from emulator.runtime.world import World

SERVER: Final = "traffic"
CHECK_HEADER: Final = 0
CHECK_CONTENT: Final = 1
WINDOW_MAXIMUM: Final = 64
_NS_PER_S: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLedger:
    """Both accounts of a finished stream: the source's counts and the sink's.

    `elapsed_s` is from the first send to the last settlement, by the source's clock; 0 when the
    source died.
    """

    stream_id: int
    sent: int
    acked: int
    failed: int
    unknown: int
    received: int
    duplicates: int
    gaps: int
    corrupt: int
    elapsed_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRequest:
    """What kind of stream is asked for.

    Args:
        size_bytes: body size, 48 .. 65536.
        interval_ns: between two sends; 0: as fast as it goes.
        window: messages in flight, 1 .. 64.
        count: end after that many; 0: until stopped.
        check: whether the sink checks headers or whole contents.
        rights: send rights in each message, 0 .. 4.
    """

    size_bytes: int
    interval_ns: int
    window: int
    count: int
    check: int
    rights: int = 0


class Stream:
    """A stream of checked messages from one node's kernel to another's. Make it with `open_stream`."""

    def __init__(
        self, opened: StreamOpened, source: NodeRuntime, sink: NodeRuntime, world: World
    ) -> None:
        self._opened = opened
        self._source = source
        self._sink = sink
        self._world = world

    @property
    def id(self) -> int:
        """The stream's number in events and black boxes."""
        return self._opened.stream_id

    async def wait_done(self, *, within_s: float = 5.0) -> None:
        """Wait until a stream with a count has sent all of it and knows what became of each.

        Raises:
            DeadlineExpired: it has not after `within_s` seconds.
        """
        try:
            await self._world.watch.until(self._is_done, Deadline.after(within_s))
        except TimeoutError:
            raise DeadlineExpired(
                f"stream {self.id} {self._opened.source}->{self._opened.sink} is not done after "
                f"{within_s:g} s",
                hint="give it a count, and time enough; or stop it instead",
                details=self._source.explain(),
            ) from None

    async def wait_received(self, more: int, *, within_s: float = 5.0) -> None:
        """Wait until its sink has received so many more messages than now.

        Raises:
            DeadlineExpired: it has not after `within_s` seconds.
        """
        before = self._received()
        try:
            await self._world.watch.until(
                lambda: self._received() >= before + more, Deadline.after(within_s)
            )
        except TimeoutError:
            raise DeadlineExpired(
                f"stream {self.id} {self._opened.source}->{self._opened.sink}: "
                f"{self._received() - before} of {more} messages arrived in {within_s:g} s",
                hint="see the links between them",
                details=(*self._source.explain(), *self._sink.explain()),
            ) from None

    def _received(self) -> int:
        life = self._opened.sink_incarnation
        return sum(
            account.received
            for account in (*self._sink.accounts_of_the_dead, *self._sink.accounts())
            if (account.stream_id, account.role, account.incarnation) == (self.id, Role.SINK, life)
        )

    def _is_done(self) -> bool:
        accounts = (*self._source.accounts_of_the_dead, *self._source.accounts())
        return any(
            account.final
            for account in accounts
            if (account.stream_id, account.role) == (self.id, Role.SOURCE)
        )

    async def stop(self, *, within_s: float = 5.0) -> StreamLedger:
        """End the stream and settle both accounts.

        A source or sink that died meanwhile is accounted for from its black box.

        Raises:
            DeadlineExpired: messages are still in flight after `within_s` seconds.
            GuestError: an account is missing.
        """
        deadline = Deadline.after(within_s)
        elapsed_ns = 0
        with contextlib.suppress(NodeDied):
            if self._source.lives(self._opened.source_incarnation):
                elapsed_ns = await self._stop_source(deadline)
        source = self._account(self._source, Role.SOURCE, self._opened.source_incarnation)
        sink = self._account(self._sink, Role.SINK, self._opened.sink_incarnation)
        in_flight = source.sent - source.acked - source.failed - source.unknown
        if in_flight and not source.final:
            raise DeadlineExpired(
                f"stream {self.id} {self._opened.source}->{self._opened.sink}: "
                f"{in_flight} messages still in flight after {within_s:g} s",
                hint="a link between them is down; wait for it first",
            )
        self._world.stream.emit(
            StreamClosed(stream_id=self.id, source=self._opened.source, sink=self._opened.sink)
        )
        await self._free_ledgers(deadline)
        return StreamLedger(
            stream_id=self.id,
            sent=source.sent,
            acked=source.acked,
            failed=source.failed,
            unknown=source.unknown,
            received=sink.received,
            duplicates=sink.duplicates,
            gaps=sink.gaps,
            corrupt=sink.corrupt,
            elapsed_s=elapsed_ns / _NS_PER_S,
        )

    async def _stop_source(self, deadline: Deadline) -> int:
        host, node = self._world.host, self._source.spec.id
        port = await host.lookup(node, SERVER, deadline)
        settle_ns = round(deadline.remaining_s * _NS_PER_S * 9 // 10)  # leaves time for the answer
        reply = await host.call(
            node, port, Service.TRAFFIC_STOP, traffic_stop_request(self.id, settle_ns), deadline
        )
        return parse_traffic_stop_reply(reply)[1]

    def _account(self, node: NodeRuntime, role: Role, incarnation: int) -> StreamAccount:
        """The last account of one end; emitted here for a living node, at its death for a dead one."""
        for account in node.accounts_of_the_dead:
            if (account.stream_id, account.role, account.incarnation) == (
                self.id,
                role,
                incarnation,
            ):
                return account
        for account in node.accounts():
            if (account.stream_id, account.role, account.incarnation) == (
                self.id,
                role,
                incarnation,
            ):
                # A sink cannot know that a stream is over; its source, which settled it, does.
                is_final = account.final or role is Role.SINK
                return self._world.stream.emit(dataclasses.replace(account, final=is_final))
        if role is Role.SINK:  # nothing ever arrived there
            return self._world.stream.emit(_empty_account(self._opened))
        raise GuestError(
            f"stream {self.id}: {node.spec.name} has no account of it",
            hint="its traffic server refused the stream; see its console",
        )

    async def _free_ledgers(self, deadline: Deadline) -> None:
        """Give the ledgers' places back; a node that died has none."""
        for node, role, life in (
            (self._source, LedgerRole.SOURCE, self._opened.source_incarnation),
            (self._sink, LedgerRole.SINK, self._opened.sink_incarnation),
        ):
            if not node.lives(life):
                continue
            with contextlib.suppress(GuestError):  # it dies now, or never had one
                port = await self._world.host.lookup(node.spec.id, SERVER, deadline)
                body = traffic_ledger_request(self.id, role)
                await self._world.host.call(
                    node.spec.id, port, Service.TRAFFIC_CLOSE, body, deadline
                )


async def open_stream(
    source: NodeRuntime, sink: NodeRuntime, request: StreamRequest, world: World, deadline: Deadline
) -> Stream:
    """Start a stream.

    Raises:
        GuestError: a node has no traffic server, does not answer, or refuses.
    """
    destination = await world.host.lookup(sink.spec.id, SERVER, deadline)
    port = await world.host.lookup(source.spec.id, SERVER, deadline)
    stream_id = next(world.stream_ids)
    seed = world.derive_seed("stream", stream_id)
    opened = world.stream.emit(
        StreamOpened(
            stream_id=stream_id,
            source=source.spec.name,
            sink=sink.spec.name,
            source_incarnation=source.incarnation,
            sink_incarnation=sink.incarnation,
            size_bytes=request.size_bytes,
            seed=seed,
            check=request.check,
        )
    )
    start = TrafficStart(
        stream_id=stream_id,
        destination=destination,
        size_bytes=request.size_bytes,
        window=request.window,
        count=request.count,
        interval_ns=request.interval_ns,
        seed=seed,
        check=request.check,
        rights=request.rights,
    )
    reply = await world.host.call(
        source.spec.id, port, Service.TRAFFIC_START, start.serialize(), deadline
    )
    take_status(reply)
    return Stream(opened, source, sink, world)


def _empty_account(opened: StreamOpened) -> StreamAccount:
    return StreamAccount(
        stream_id=opened.stream_id,
        role=Role.SINK,
        node=opened.sink,
        incarnation=opened.sink_incarnation,
        peer=opened.source,
        peer_incarnation=opened.source_incarnation,
        size_bytes=opened.size_bytes,
        next_sequence=0,
        running_hash=0,
        sent=0,
        acked=0,
        failed=0,
        unknown=0,
        received=0,
        duplicates=0,
        gaps=0,
        corrupt=0,
        final=True,
    )
