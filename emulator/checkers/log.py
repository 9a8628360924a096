# SPDX-License-Identifier: MIT
"""Reads `events.jsonl` back into events: the inverse of `emulator.events.stream.event_line`."""

from __future__ import annotations

import functools
import json
import types
import typing
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any

from emulator.errors import UsageError
from emulator.events import types as event_types
from emulator.events.types import EVENT_KINDS, Event


def read_events(path: Path) -> tuple[Event, ...]:
    """Read a run's events.

    Args:
        path: its `events.jsonl`, or the run folder that holds it.

    Raises:
        UsageError: it cannot be read, or holds a line that is no event; names the line.
    """
    file = path / "events.jsonl" if path.is_dir() else path
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"cannot read {file}: {error.strerror}", hint="name the folder of a run"
        ) from error
    return tuple(parse_events(text.splitlines(), name=str(file)))


def parse_events(lines: Iterable[str], *, name: str) -> Iterator[Event]:
    """Parse lines of `events.jsonl`; blank ones are skipped.

    Args:
        lines: the lines.
        name: where they are from, for messages.

    Raises:
        UsageError: a line is no event.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield _event(json.loads(line))
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{name}:{number}: not an event: {error}",
                hint="the file was cut off, or is of another version",
            ) from error


def _event(record: dict[str, Any]) -> Event:
    kind = EVENT_KINDS[record["kind"]]
    hints = _field_types(kind.__name__)
    fields = {name: _decoded(hints[name], value) for name, value in record["fields"].items()}
    return kind(
        seq=record["seq"],
        time_monotonic_ns=record["time_monotonic_ns"],
        time_error_ns=record.get("time_error_ns", 0),
        **fields,
    )


@functools.cache
def _field_types(kind: str) -> dict[str, Any]:
    return typing.get_type_hints(EVENT_KINDS[kind], globalns=vars(event_types))


def _decoded(hint: Any, value: Any) -> Any:  # noqa: ANN401 - a field has whatever type it has
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint[value.upper()]
    if isinstance(hint, types.GenericAlias) and hint.__origin__ is tuple and value is not None:
        return tuple(value)
    return value
