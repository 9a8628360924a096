# SPDX-License-Identifier: MIT
"""A node of a running cluster: what a script holds to crash it, to restart it and to ask its
kernel."""

from __future__ import annotations

from pathlib import Path

from emulator.model import Arch, Incarnation, NodeId, NodeState
from emulator.runtime.traffic import Stream


class Node:
    """One node of a running cluster. Made by `Cluster`; get it with `cluster.node(...)`."""

    @property
    def name(self) -> str:
        """The node's name in the topology."""
        raise NotImplementedError

    @property
    def id(self) -> NodeId:
        """The node's number."""
        raise NotImplementedError

    @property
    def arch(self) -> Arch:
        """The architecture it runs on."""
        raise NotImplementedError

    @property
    def state(self) -> NodeState:
        """Where it is in its life, as the host knows it."""
        raise NotImplementedError

    @property
    def incarnation(self) -> Incarnation:
        """Its current life, or the last one when it is off; 0 before the first."""
        raise NotImplementedError

    @property
    def launch(self) -> int:
        """How often its machine was started."""
        raise NotImplementedError

    @property
    def pid(self) -> int | None:
        """The process id of its machine, None when it is off."""
        raise NotImplementedError

    @property
    def console_path(self) -> Path:
        """The log of its serial console, of its current or last launch."""
        raise NotImplementedError

    @property
    def console_pty(self) -> str | None:
        """The terminal its serial console can be attached at, None when it is off."""
        raise NotImplementedError

    async def crash(self) -> None:
        """Cut its power: SIGKILL to its machine. Returns when the process is gone and all survivors
        were told.

        Raises:
            StateError: it is off already.
        """
        raise NotImplementedError

    async def restart(self, *, within_s: float = 10.0) -> None:
        """Start its machine again, as a new incarnation, and wait until it is ready.

        Raises:
            StateError: it still runs.
            DeadlineExpired: it is not ready after `within_s` seconds.
            LaunchError: QEMU did not start.
        """
        raise NotImplementedError

    async def hang(self) -> None:
        """Stop its CPU, memory and devices untouched.

        Raises:
            StateError: it is off or hung.
        """
        raise NotImplementedError

    async def resume(self) -> None:
        """Let a hung node run on.

        Raises:
            StateError: it is not hung.
        """
        raise NotImplementedError

    async def reset(self, *, within_s: float = 10.0) -> None:
        """Press its reset button and wait until it is ready as a new incarnation; its memory
        survives.

        Raises:
            StateError: it is off or hung.
            DeadlineExpired: it is not ready after `within_s` seconds.
        """
        raise NotImplementedError

    async def panic(self, *, within_s: float = 5.0) -> None:
        """Ask its kernel to panic, and wait until its machine has ended.

        Raises:
            StateError: it is off or hung.
            DeadlineExpired: it still runs after `within_s` seconds.
        """
        raise NotImplementedError

    async def wait_ready(self, *, within_s: float = 10.0) -> None:
        """Wait until its kernel is ready and its management link is up.

        Raises:
            DeadlineExpired: it is not; says what it said last.
            NodeDied: its machine ended.
        """
        raise NotImplementedError

    async def wait_exited(self, *, within_s: float = 10.0) -> int:
        """Wait until its machine has ended.

        Returns:
            Its exit status, negative for a signal.

        Raises:
            DeadlineExpired: it still runs.
        """
        raise NotImplementedError

    async def ping(self, to: Node, *, within_s: float = 1.0) -> float:
        """Measure one FLIPC round trip from this node's kernel to another's.

        Returns:
            The round trip in seconds, by this node's clock.

        Raises:
            DeadlineExpired: no answer.
            NodeDied: a machine ended meanwhile.
        """
        raise NotImplementedError

    async def traffic(
        self,
        *,
        to: Node,
        size_bytes: int = 64,
        rate_hz: float | None = None,
        window: int | None = None,
        count: int | None = None,
    ) -> Stream:
        """Start a stream of checked messages to another node's kernel.

        Args:
            to: the sink.
            size_bytes: body size, 32 .. 65536.
            rate_hz: messages a second; None: as fast as it goes.
            window: messages in flight; None: the cluster's window.
            count: end after that many; None: until stopped.

        Returns:
            The running stream.
        """
        raise NotImplementedError

    def console_tail(self, lines: int = 20) -> tuple[str, ...]:
        """The last lines of its serial console."""
        raise NotImplementedError
