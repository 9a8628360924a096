# SPDX-License-Identifier: MIT
"""Numbers that name things, and how they are shown."""

from __future__ import annotations

from typing import NewType

NodeId = NewType("NodeId", int)
"""A node's number, 0 .. nodes_max-1; 0 is the host."""

Incarnation = NewType("Incarnation", int)
"""One life of a node: launch number << 32 | boot count. Larger is newer; 0 is unknown."""

HOST_ID = NodeId(0)
HOST_NAME = "host"


def incarnation_of(launch: int, boot_count: int) -> Incarnation:
    """Join a launch number and a boot count into an incarnation.

    Args:
        launch: 1 .. 2^31-1, one higher at each process start.
        boot_count: 1 .. 2^32-1, one higher at each boot of that process.

    Returns:
        The incarnation.
    """
    return Incarnation(launch << 32 | boot_count)


def launch_of(incarnation: int) -> int:
    """The launch number in an incarnation."""
    return incarnation >> 32


def boot_count_of(incarnation: int) -> int:
    """The boot count in an incarnation."""
    return incarnation & 0xFFFFFFFF


def incarnation_text(incarnation: int) -> str:
    """Show an incarnation as `launch.boot_count`, the form used in all output.

    Args:
        incarnation: the 64-bit incarnation; 0 is unknown.

    Returns:
        For example `2.1`, or `-` when unknown.
    """
    return f"{launch_of(incarnation)}.{boot_count_of(incarnation)}" if incarnation else "-"
