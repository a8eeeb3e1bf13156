# SPDX-License-Identifier: MIT OR Apache-2.0
"""Exceptions: `OSError` for a failed system call, `Error` for other
failures."""

from __future__ import annotations

import subprocess
from typing import Any, NamedTuple


class Usage(NamedTuple):
    """The usage of a command, with that of awaited children."""

    wall: float
    """Seconds from start to end."""
    user: float
    """Seconds of processor time in programs."""
    system: float
    """Seconds of processor time in the kernel for them."""
    memory_peak: int | None
    """Peak bytes of memory during the command: the sandbox's if `memory` limits
    it, else the largest process's.

    `None` if the figure is not this command's alone: another ran in the sandbox
    at the same time, or the kernel cannot restart the count (cgroup v2 before
    Linux 6.12) and the command was not the first.
    """
    io_read: int
    """Bytes read from disks."""
    io_written: int
    """Bytes written to disks."""
    oom_kills: int | None = None
    """Processes of the sandbox that the kernel killed for want of memory during
    the command, its children included.

    `None` without `memory`, which counts them.
    """


class Error(Exception):
    """A failure that no system call reported: wrong words, a damaged image,
    something not supported.

    Failures with an errno are `OSError`, and have the same attributes.
    """

    kind: str
    """`invalid`, `not_found`, `exists`, `permission`, `unsupported`, `corrupt`, `exhausted`, `busy`, ..."""
    step: str
    """The failed step."""
    subject: str
    """The subject of the step, or its fault."""
    cure: str | None
    """The cure, if known."""

    def __init__(self, message: str, kind: str, step: str, subject: str, cure: str | None = None) -> None:
        # All of them, so that a pickled exception can be restored.
        super().__init__(message, kind, step, subject, cure)
        self.kind = kind
        self.step = step
        self.subject = subject
        self.cure = cure

    def __str__(self) -> str:
        return str(self.args[0])


class InvalidError(Error, ValueError):
    """The caller's own words are wrong: a value of a keyword, a reference, a
    sandbox that was closed."""


class UnknownKeywordError(Error, TypeError):
    """A keyword that the call does not have; the cure is the nearest known
    keyword."""


class CalledProcessError(subprocess.CalledProcessError):
    """A command did not succeed, and `check` was asked for."""

    reason: str = "exited"
    """The reason of the end, as in `CompletedProcess`."""
    usage: Usage | None = None
    """The usage of the command."""

    def __str__(self) -> str:
        said = super().__str__()
        return said if self.reason in ("exited", "signaled") else f"{said} Reason: {self.reason}."


class OutputLimitExceeded(subprocess.SubprocessError):
    """A command exceeded `output_limit`, was killed, and its output is cut.

    Raised with or without `check`. `stdout` and `stderr` are the bytes that
    were kept, as with `TimeoutExpired`.
    """

    cmd: Any
    """The command as given."""
    limit: int
    """Bytes that were kept at most, of both streams together."""
    output: bytes | None
    """Bytes of standard output that were kept; None if it was not captured."""
    stderr: bytes | None
    """Bytes of standard error that were kept; None if it was not captured."""
    usage: Usage | None = None
    """The usage of the command."""

    def __init__(
        self, cmd: Any, limit: int, output: bytes | None = None, stderr: bytes | None = None
    ) -> None:
        # All of them, so that a pickled exception can be restored.
        super().__init__(cmd, limit, output, stderr)
        self.cmd = cmd
        self.limit = limit
        self.output = output
        self.stderr = stderr

    @property
    def stdout(self) -> bytes | None:
        """The same as `output`."""
        return self.output

    def __str__(self) -> str:
        return f"Command {self.cmd!r} wrote more than {self.limit} bytes; raise output_limit to keep more."


class TimeoutExpired(subprocess.TimeoutExpired):
    """The time limit of a command expired. `output` and `stderr` hold the bytes
    written so far."""

    usage: Usage | None = None
    """The usage, if the timeout ended the command."""
