# SPDX-License-Identifier: MIT
"""The one event stream of a run: every event gets its number here, goes to disk, and to whoever
listens.

Writing is line by line, so a reader of `events.jsonl` sees whole events at any moment. Subscribers
have bounded queues: one that does not keep up loses its oldest events and is told how many; the
stream itself never waits for anybody.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import time
from collections import deque
from collections.abc import Callable
from typing import TextIO, TypeVar

from emulator.errors import HostError
from emulator.events.types import Event

EventT = TypeVar("EventT", bound=Event)
DEFAULT_QUEUE_LENGTH = 65_536


class Subscription:
    """One reader of the stream; an async iterator that ends when the stream is closed."""

    def __init__(self, length: int, accepts: Callable[[Event], bool] | None) -> None:
        self._events: deque[Event] = deque(maxlen=length)
        self._accepts = accepts
        self._wake = asyncio.Event()
        self._closed = False
        self.lost_count = 0

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            if self._closed:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        return self._events.popleft()

    def drain(self) -> list[Event]:
        """Take everything that is there now, without waiting."""
        taken = list(self._events)
        self._events.clear()
        return taken

    def close(self) -> None:
        """Stop listening; the iterator ends after what is queued."""
        self._closed = True
        self._wake.set()

    def put(self, event: Event) -> None:
        """Called by the stream with each event."""
        if self._closed or (self._accepts is not None and not self._accepts(event)):
            return
        if len(self._events) == self._events.maxlen:
            self.lost_count += 1
        self._events.append(event)
        self._wake.set()


class EventStream:
    """Numbers events, writes them to a file and hands them to subscribers.

    Args:
        file: where to write, opened for text; None: nowhere.
        history_length: how many of the latest events `history` keeps.
        on_failure: called once when the file cannot be written (disk full, ...), which ends the
            writing and nothing else; None: `emit` raises.
    """

    def __init__(
        self,
        file: TextIO | None = None,
        *,
        history_length: int = 1_048_576,
        on_failure: Callable[[HostError], None] | None = None,
    ) -> None:
        self._file = file
        self._on_failure = on_failure
        self._next_seq = 0
        self._subscriptions: list[Subscription] = []
        self._listeners: list[Callable[[Event], None]] = []
        self._undelivered: deque[Event] = deque()
        self._is_delivering = False
        self.history: deque[Event] = deque(maxlen=history_length)

    @property
    def next_seq(self) -> int:
        """The number the next event will have."""
        return self._next_seq

    def emit(self, event: EventT) -> EventT:
        """Stamp an event and pass it on.

        Returns:
            The event with its number and, if it had none, its time.

        Raises:
            HostError: it could not be written, and there is no `on_failure`.
        """
        stamped = dataclasses.replace(
            event,
            seq=self._next_seq,
            time_monotonic_ns=event.time_monotonic_ns or time.monotonic_ns(),
        )
        self._next_seq += 1
        self._write(stamped)
        self.history.append(stamped)
        self._undelivered.append(stamped)
        self._deliver()
        return stamped

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Call `listener` with every event from now on, at once and in order; it must not block."""
        self._listeners.append(listener)

    def subscribe(
        self,
        *,
        accepts: Callable[[Event], bool] | None = None,
        length: int = DEFAULT_QUEUE_LENGTH,
    ) -> Subscription:
        """Listen from now on.

        Args:
            accepts: which events; None: all.
            length: how many may wait before the oldest are lost.
        """
        subscription = Subscription(length, accepts)
        self._subscriptions.append(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Stop a subscription."""
        subscription.close()
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)

    def close(self) -> None:
        """End every subscription and close the file.

        Raises:
            HostError: the last events could not be written, and there is no `on_failure`.
        """
        for subscription in self._subscriptions:
            subscription.close()
        self._subscriptions.clear()
        if self._file is not None:
            file, self._file = self._file, None
            try:
                file.close()
            except OSError as error:
                self._fail(error)

    def _deliver(self) -> None:
        """Hand events to their readers, in order even when a listener emits one itself."""
        if self._is_delivering:
            return
        self._is_delivering = True
        try:
            while self._undelivered:
                event = self._undelivered.popleft()
                for listener in self._listeners:
                    listener(event)
                for subscription in self._subscriptions:
                    subscription.put(event)
        finally:
            self._is_delivering = False

    def _write(self, event: Event) -> None:
        if self._file is None:
            return
        try:
            self._file.write(event_line(event))
            self._file.flush()
        except OSError as error:
            file, self._file = self._file, None
            with contextlib.suppress(OSError):
                file.close()
            self._fail(error)

    def _fail(self, cause: OSError) -> None:
        error = HostError(
            f"cannot write the event stream: {cause.strerror}",
            hint="free space where the run folder is, or choose another place with --runs",
        )
        if self._on_failure is None:
            raise error from cause
        self._on_failure(error)


def event_line(event: Event) -> str:
    """One event as its line of `events.jsonl`."""
    record: dict[str, object] = {
        "time_monotonic_ns": event.time_monotonic_ns,
        "seq": event.seq,
        "kind": event.kind,
    }
    if event.time_error_ns:
        record["time_error_ns"] = event.time_error_ns
    record["fields"] = event.fields()
    return json.dumps(record, separators=(",", ":")) + "\n"
