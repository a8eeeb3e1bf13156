# SPDX-License-Identifier: MIT OR Apache-2.0
"""A running command in an event loop, with the feel of
`asyncio.subprocess.Process`."""

from __future__ import annotations

import asyncio
import contextlib
from signal import SIGKILL, SIGTERM
from typing import TYPE_CHECKING, Any

from . import _log
from ._call import output_limit_exceeded
from ._errors import Error, Usage
from ._pipes import ReadPipe, readable
from ._process import signal_number

if TYPE_CHECKING:
    from ._call import Told
    from ._tare import Process as _Core
    from ._tare import _Ended as Ended


class Process:
    """A running command: the result of `Sandbox.popen`, modelled on
    `asyncio.subprocess.Process`.

    The streams are bytes. The command survives this object; `async with` waits
    for the end, and kills the command if an exception leaves the block. After
    the end was read, only the streams hold descriptors.
    """

    id: int
    """The number in the sandbox, unique there; for `Sandbox.process`."""
    args: Any
    """The arguments as given; None for the image's own command."""
    stdin: asyncio.StreamWriter | None
    """The stream to the command's input, if that is `PIPE`, or to its terminal."""
    stdout: asyncio.StreamReader | None
    """The stream of the command's output, if that is `PIPE`, or of its terminal."""
    stderr: asyncio.StreamReader | None
    """The stream of the command's errors, if that is `PIPE`."""

    def __init__(self, core: _Core, args: Any, stdout: ReadPipe | None, stderr: ReadPipe | None) -> None:
        """Made by `Sandbox.popen` alone."""
        self.id = core.id()
        self.args = args
        self.stdin = None
        self.stdout = None if stdout is None else stdout.reader
        self.stderr = None if stderr is None else stderr.reader
        self._pipes = [pipe for pipe in (stdout, stderr) if pipe]
        # None after the end was read; a waiting task has its own reference.
        self._core: _Core | None = core
        self._ended: Ended | None = None
        self._told: Told | None = None
        self._watch: asyncio.Task[None] | None = None
        self._room = core.output_limit()

    def _poll(self) -> Ended | None:
        if self._ended is None and self._core is not None:
            self._ended = self._core.poll()
            if self._ended is not None:
                self._core = None
                self._tell(None, None)
        return self._ended

    def _tell(self, out: bytes | None, err: bytes | None) -> None:
        if self._told is not None and self._ended is not None:
            self._told(self._ended, out, err)

    def _running(self) -> _Core:
        if self._core is None:
            raise ValueError("the command has ended, and its descriptors are closed")
        return self._core

    @property
    def returncode(self) -> int | None:
        """The exit code, minus a signal's number, or None for a running
        command; -9 if the output was cut."""
        ended = self._poll()
        return None if ended is None else -SIGKILL if self._room < 0 else ended[0]

    @property
    def reason(self) -> str | None:
        """The reason of the end, as in `tare.CompletedProcess`."""
        ended = self._poll()
        return None if ended is None else "output" if self._room < 0 else ended[1]

    @property
    def core_dumped(self) -> bool | None:
        """True if the command left a core file."""
        ended = self._poll()
        return None if ended is None else ended[2]

    @property
    def usage(self) -> Usage | None:
        """The usage of the command."""
        ended = self._poll()
        return None if ended is None else Usage(*ended[3])

    @property
    def pidfd(self) -> int:
        """A pidfd, pidfd_open(2); this object's own. ValueError after the end
        was read."""
        return self._running().pidfd()

    def fileno(self) -> int:
        """A descriptor that is readable at the end; this object's own.
        ValueError after the end was read."""
        return self._running().status_fd()

    async def wait(self) -> int:
        """Waits for the end and returns the return code. Any number of tasks
        may wait."""
        ended = self._poll()
        while ended is None:
            if self._watch is None or self._watch.done():
                self._watch = asyncio.ensure_future(_ended(self._running()))
            await asyncio.shield(self._watch)
            ended = self._poll()
        return ended[0]

    async def communicate(self, input: bytes | None = None) -> tuple[bytes | None, bytes | None]:
        """Writes `input`, reads to the end, waits. Returns output and errors,
        None for a stream without a pipe.

        Later output of background processes is not waited for. Output over the
        limit kills the command and raises `tare.OutputLimitExceeded` with the
        output so far.
        """
        reads = asyncio.gather(self._read(self.stdout), self._read(self.stderr))
        try:
            await self._feed(input)
            await self.wait()
            for pipe in self._pipes:
                pipe.finish()
            out, err = await reads
            self._tell(out, err)
            if self._room < 0:
                ended = self._poll()
                assert ended is not None
                raise output_limit_exceeded(self.args, out, err, ended[3])
            return out, err
        finally:
            reads.cancel()

    async def _feed(self, input: bytes | None) -> None:
        if self.stdin is None:
            return
        try:
            if input:
                self.stdin.write(input)
                await self.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            # A command need not read all of its input.
            pass
        finally:
            self.stdin.close()

    async def _read(self, reader: asyncio.StreamReader | None) -> bytes | None:
        if reader is None:
            return None
        parts = []
        while part := await reader.read(1 << 16):
            if self._room < 0:
                continue
            parts.append(part[: self._room])
            self._room -= len(part)
            if self._room < 0:
                # The pipes stay open, or SIGPIPE would come first. If the
                # sandbox is gone, so is the command.
                with contextlib.suppress(Error):
                    self.kill()
        return b"".join(parts)

    def send_signal(self, signal: int) -> None:
        """Sends a signal to the command; nothing happens after the end."""
        number = signal_number(signal)
        if self._poll() is None:
            self._running().send_signal(number)

    def terminate(self) -> None:
        """Sends SIGTERM to the command itself."""
        self.send_signal(SIGTERM)

    def kill(self) -> None:
        """Kills the command with all processes that it started."""
        if self._poll() is None:
            self._running().kill()

    def resize(self, rows: int, columns: int) -> None:
        """Resizes the command's terminal."""
        if self._core is not None:
            self._core.resize(rows, columns)

    def _close(self) -> None:
        for pipe in self._pipes:
            pipe.close()
        if self.stdin is not None:
            self.stdin.close()

    async def __aenter__(self) -> Process:
        return self

    async def __aexit__(self, exc_type: object, value: BaseException | None, traceback: object) -> None:
        with _log.ending("end", self, value):
            if value is not None:
                self.kill()
            self._close()
            await self.wait()

    def __repr__(self) -> str:
        reason = "" if self.reason is None else f" reason: {self.reason}"
        return f"<tare.aio.Process: returncode: {self.returncode}{reason} args: {self.args!r}>"


async def _ended(core: _Core) -> None:
    """Waits for a command's end. Holds a reference, because a descriptor in use
    by a loop must not be closed."""
    await readable(core.status_fd())
