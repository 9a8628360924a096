# SPDX-License-Identifier: MIT
"""I1 to I5: what became of every message, by the accounts that both ends kept.

An account is a ledger in a node's black box, counted and checked message by message inside the
node; the host reads it when the stream ends and, of a node that died, from the memory it left
behind. With `trace = "messages"` the single messages are looked at as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from emulator.checkers.history import History, StreamHistory
from emulator.checkers.verdict import Finding, count, failed, not_exercised, passed
from emulator.events.types import CreditBroken, Event, MessageSeen, StreamAccount

NO_TRAFFIC = "no checked traffic in this run"

Digest = Callable[[StreamHistory, int], int | None]
"""A stream's running hash after n messages, computed by the host alone; None: not known."""


def check_order(history: History) -> Finding:
    """I1: messages of one source life arrive at one sink life in the order they were sent."""
    for stream, sink in _sinks(history):
        if sink.gaps:
            return failed(f"{stream}: {sink.gaps} messages skipped at {sink.node}", sink)
    newest: dict[tuple[str, int, int, int], int] = {}
    for event in history.all(MessageSeen):
        key = _flow(event)
        if event.sequence < newest.get(key, -1):
            return failed(
                f"stream {event.stream_id}: {event.node} received message {event.sequence} "
                f"after {newest[key]}",
                event,
            )
        newest[key] = event.sequence
    return _checked(history, "messages")


def check_once(history: History) -> Finding:
    """I2: no message arrives twice."""
    for stream, sink in _sinks(history):
        if sink.duplicates:
            return failed(f"{stream}: {sink.duplicates} messages arrived twice", sink)
    seen: set[tuple[tuple[str, int, int, int], int]] = set()
    for event in history.all(MessageSeen):
        key = (_flow(event), event.sequence)
        if key in seen:
            return failed(
                f"stream {event.stream_id}: message {event.sequence} arrived twice at {event.node}",
                event,
            )
        seen.add(key)
    return _checked(history, "messages")


def check_settled(history: History, finished: bool = True) -> Finding:
    """I3: exactly once while both ends live; at a death every message is accounted for.

    Args:
        history: the run.
        finished: False: the run was broken off, so streams that nobody stopped are passed over.
    """
    for stream in history.streams:
        if stream.closed is None and not finished:
            continue
        violation = _unaccounted(stream) or (
            _not_exactly_once(stream) if stream.survived else _silent_loss(stream)
        )
        if violation is not None:
            return violation
    crossed = sum(not stream.survived for stream in history.streams)
    return _checked(history, f"messages, {count(crossed, 'stream')} across a death")


def check_integrity(history: History, digest: Digest | None = None) -> Finding:
    """I4: nothing is delivered that nobody sent.

    Args:
        digest: how the host itself computes what a sink must have; None: the ends' accounts are
            compared with each other only.
    """
    for stream, sink in _sinks(history):
        if sink.corrupt:
            return failed(f"{stream}: {sink.corrupt} messages with contents nobody sent", sink)
        source = stream.source
        if source is not None and sink.next_sequence > source.next_sequence + _slack(source):
            return failed(
                f"{stream}: {sink.node} received message {sink.next_sequence - 1}, but only "
                f"{source.next_sequence} were sent",
                sink,
            )
        for expected in _expected_hashes(stream, sink, digest):
            if sink.running_hash != expected:
                return failed(
                    f"{stream}: the first {sink.next_sequence} messages hash to "
                    f"{sink.running_hash:016x} at {sink.node}, sent were {expected:016x}",
                    sink,
                )
    return _checked(history, "messages")


def check_credits(history: History) -> Finding:
    """I5: no node saw a credit go negative or above its window."""
    for event in history.all(CreditBroken):
        return failed(
            f"{event.node} towards {event.peer}: {event.used} in use, limit {event.limit}", event
        )
    return _checked(history, "messages")


def _sinks(history: History) -> Iterator[tuple[StreamHistory, StreamAccount]]:
    for stream in history.streams:
        if stream.sink is not None:
            yield stream, stream.sink


def _flow(event: MessageSeen) -> tuple[str, int, int, int]:
    return (event.node, event.incarnation, event.stream_id, event.source_incarnation)


def _checked(history: History, what: str) -> Finding:
    if not history.streams:
        return not_exercised(NO_TRAFFIC)
    if not any(stream.sink for stream in history.streams):
        return not_exercised("no stream has an account of its sink")
    if history.received == 0:
        return failed(f"{count(len(history.streams), 'stream')} opened and no message arrived")
    return passed(f"{history.received} {what}")


def _unaccounted(stream: StreamHistory) -> Finding | None:
    opened: Event = stream.opened
    if stream.closed is None:
        return failed(f"{stream}: was never stopped, so it has no final accounts", opened)
    if stream.source is None or not stream.source.final:
        return failed(f"{stream}: no final account of its source", stream.source or opened)
    if stream.sink is None and stream.source.acked:
        return failed(
            f"{stream}: {stream.source.acked} messages acknowledged, and no account of the sink",
            stream.source,
        )
    return None


def _not_exactly_once(stream: StreamHistory) -> Finding | None:
    source, sink = stream.source, stream.sink
    assert source is not None
    if source.failed or source.unknown or source.sent != source.acked:
        return failed(
            f"{stream}: both ends live, but of {source.sent} sent {source.acked} were "
            f"acknowledged, {source.failed} failed, {source.unknown} unknown",
            source,
        )
    received = sink.received if sink is not None else 0
    if received != source.sent:
        return failed(f"{stream}: {source.sent} sent, {received} received", sink or source)
    return None


def _silent_loss(stream: StreamHistory) -> Finding | None:
    source, sink = stream.source, stream.sink
    assert source is not None
    source_died = any(death.node == stream.opened.source for death in stream.deaths)
    settled = source.acked + source.failed + source.unknown
    if settled > source.sent + _slack(source) or (settled < source.sent and not source_died):
        return failed(
            f"{stream}: of {source.sent} sent only {settled} were settled one way or another",
            source,
        )
    received = sink.received if sink is not None else 0
    slack = _slack(source, sink)
    if received + slack < source.acked:
        return failed(
            f"{stream}: {source.acked} acknowledged, but only {received} received",
            sink or source,
        )
    if received > source.sent - source.failed + slack:
        return failed(
            f"{stream}: {received} received of {source.sent} sent, {source.failed} of which failed",
            sink or source,
        )
    return None


def _slack(*accounts: StreamAccount | None) -> int:
    """How many messages two fields may differ by: one where the node died while it wrote."""
    return int(any(account is not None and account.torn for account in accounts))


def _expected_hashes(
    stream: StreamHistory, sink: StreamAccount, digest: Digest | None
) -> Iterator[int]:
    """What a sink's hash must be: by its source's account, and by the host's own reckoning."""
    source = stream.source
    if sink.torn:
        return
    if source is not None and not source.torn and source.next_sequence == sink.next_sequence:
        yield source.running_hash
    own = digest(stream, sink.next_sequence) if digest is not None else None
    if own is not None:
        yield own
