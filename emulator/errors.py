# SPDX-License-Identifier: MIT
"""Every error this package raises on purpose, split by whose fault it is.

MnlabError
├── UsageError             the caller asked for something that cannot be     exit 2
│   ├── TopologyError      a topology file is wrong (all problems at once)
│   ├── AmbiguousLink      several links join the two nodes
│   └── StateError         the node or link is not in a state for that verb
├── ScenarioError          a scenario file is wrong, or it raised             exit 2
├── VerdictFailure         an expectation or an invariant does not hold       exit 1
│   └── ExpectationFailed  an expected event did not come in time
├── GuestError             the simulated world failed                         exit 1
│   ├── DeadlineExpired    a node or link did not get there in time
│   ├── TrainingRefused    two nodes will not talk to each other
│   └── NodeDied           the node's machine ended while we needed it
└── HostError              QEMU or the operating system could not do it       exit 3
    └── LaunchError        a machine did not start; carries its last words

Each carries `message` (one line: what is wrong) and `hint` (one line: what to do), so that a user's
mistake never needs a traceback. `details` holds further lines, e.g. the last words of a process.
"""

from __future__ import annotations

from typing import ClassVar


class MnlabError(Exception):
    """Root of all deliberate errors.

    Args:
        message: one line, what is wrong.
        hint: one line, what to do about it; may be empty.
        details: further lines worth showing under the message.
    """

    exit_code: ClassVar[int] = 3

    def __init__(self, message: str, hint: str = "", details: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details

    def __str__(self) -> str:
        return "\n".join(line for line in (self.message, *self.details, self.hint) if line)


class UsageError(MnlabError):
    """The caller asked for something that cannot be."""

    exit_code = 2


class TopologyError(UsageError):
    """A topology file is wrong; carries every problem found in one pass.

    Args:
        problems: one `file:line: what; valid: ...` line each, in the order of the file.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__(
            problems[0],
            hint="correct the topology file and run again",
            details=problems[1:],
        )
        self.problems = problems


class AmbiguousLink(UsageError):
    """Several links join the two nodes: name one of them."""


class StateError(UsageError):
    """The node or link is not in a state in which this can be asked of it."""


class ScenarioError(MnlabError):
    """A scenario could not be loaded, or raised something that is no verdict."""

    exit_code = 2


class VerdictFailure(MnlabError):
    """An expectation, an assertion or an invariant does not hold."""

    exit_code = 1


class ExpectationFailed(VerdictFailure):
    """An expected event did not come within its bound."""


class GuestError(MnlabError):
    """The simulated world failed: a node, a link or a protocol, not the host below them."""

    exit_code = 1


class DeadlineExpired(GuestError):
    """A node or link did not reach a state in time; `details` say who said what last."""


class TrainingRefused(GuestError):
    """Two nodes will not train with each other, and never will in these lives; says which and why."""


class NodeDied(GuestError):
    """The node's machine ended while something was waiting for it."""


class HostError(MnlabError):
    """QEMU, a tool or the operating system could not do what was needed."""

    exit_code = 3


class LaunchError(HostError):
    """A machine did not start.

    Args:
        message: one line, what is wrong.
        argv: the command line that was run.
        status: its exit status (negative: the signal), None if it never ran.
        last_words: the tail of its standard error.
        hint: one line, what to do about it.
    """

    def __init__(
        self,
        message: str,
        *,
        argv: tuple[str, ...],
        status: int | None,
        last_words: tuple[str, ...],
        hint: str,
    ) -> None:
        super().__init__(message, hint=hint, details=last_words)
        self.argv = argv
        self.status = status
        self.last_words = last_words
