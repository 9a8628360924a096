# SPDX-License-Identifier: MIT
"""The kernel-server loader: loads, drives, logs, replaces and unloads servers of running nodes.

The daemon's half of NeXT's kern_loader, on the host; the kernel half is in the firmware. A client
gets a `Loader` from a running cluster (`cluster.node("a").loader`) and calls its functions; the
tools reach the same through a socket of the run.
"""

from emulator.loader.api import (
    Loader,
    ReplyCallbacks,
    error,
    error_string,
    look_up,
    reply_handler,
)
from emulator.loader.channel import LoaderMessage, ReplyPort
from emulator.loader.codes import Code, LoaderError
from emulator.loader.messages import PortInfo, ServerInfo
from emulator.loader.status import Priority
from emulator.loader.table import State, Taint, state_string

__all__ = [
    "Code",
    "Loader",
    "LoaderError",
    "LoaderMessage",
    "PortInfo",
    "Priority",
    "ReplyCallbacks",
    "ReplyPort",
    "ServerInfo",
    "State",
    "Taint",
    "error",
    "error_string",
    "look_up",
    "reply_handler",
    "state_string",
]
