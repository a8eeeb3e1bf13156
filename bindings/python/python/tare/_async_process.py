# SPDX-License-Identifier: MIT OR Apache-2.0
"""A running command in an event loop, with the feel of `asyncio.subprocess.Process`."""

from __future__ import annotations

import asyncio
import contextlib
from signal import SIGKILL, SIGTERM
from types import TracebackType
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
    """A running command: what `Sandbox.popen` returns, with the feel of `asyncio.subprocess.Process`.

    Its streams are bytes. Nothing happens to it when this object goes; `async with` waits for its end, and kills
    it if the block is left by an exception. Once its end was seen, no descriptor is held but those of its streams.
    """

    id: int
    """Its number in its sandbox, which no other command of it gets; for `Sandbox.process`."""
    args: Any
    """As they were given; None for the image's own command."""
    stdin: asyncio.StreamWriter | None
    """Where to write its input, if that is `PIPE`, or to its terminal."""
    stdout: asyncio.StreamReader | None
    """Where to read its output, if that is `PIPE`, or its terminal's."""
    stderr: asyncio.StreamReader | None
    """Where to read its errors, if that is `PIPE`."""

    def __init__(self, core: _Core, args: Any, stdout: ReadPipe | None, stderr: ReadPipe | None) -> None:
        """For `Sandbox.popen` alone."""
        self.id = core.id()
        self.args = args
        self.stdin = None
        self.stdout = None if stdout is None else stdout.reader
        self.stderr = None if stderr is None else stderr.reader
        self._pipes = [pipe for pipe in (stdout, stderr) if pipe]
        # None once its end was seen; a task that waits has a reference of its own.
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
        """Its exit code, minus a signal's number, or None while it runs; -9 if its output was cut."""
        ended = self._poll()
        return None if ended is None else -SIGKILL if self._room < 0 else ended[0]

    @property
    def reason(self) -> str | None:
        """Why it ended, as in `tare.CompletedProcess`."""
        ended = self._poll()
        return None if ended is None else "output" if self._room < 0 else ended[1]

    @property
    def core_dumped(self) -> bool | None:
        """Whether it left a core file."""
        ended = self._poll()
        return None if ended is None else ended[2]

    @property
    def usage(self) -> Usage | None:
        """What it used."""
        ended = self._poll()
        return None if ended is None else Usage(*ended[3])

    @property
    def pidfd(self) -> int:
        """A pidfd, pidfd_open(2); this object's own. ValueError once its end was seen."""
        return self._running().pidfd()

    def fileno(self) -> int:
        """A descriptor that is readable when it has ended; this object's own. ValueError once its end was seen."""
        return self._running().status_fd()

    async def wait(self) -> int:
        """Waits until it has ended: its return code. Any number of tasks may wait."""
        ended = self._poll()
        while ended is None:
            if self._watch is None or self._watch.done():
                self._watch = asyncio.ensure_future(_ended(self._running()))
            await asyncio.shield(self._watch)
            ended = self._poll()
        return ended[0]

    async def communicate(self, input: bytes | None = None) -> tuple[bytes | None, bytes | None]:
        """Writes `input`, reads to the end, waits: its output and errors, None for what is no pipe.

        What its leftovers in the background write later is not waited for. Output over the limit kills it and
        raises `tare.OutputLimitExceeded` with what was kept.
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
            # It does not want to read all of it, which is its right.
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
                # The pipes stay open, or SIGPIPE would come first. If the sandbox is gone, so is the command.
                with contextlib.suppress(Error):
                    self.kill()
        return b"".join(parts)

    def send_signal(self, signal: int) -> None:
        """Sends it a signal; nothing happens if it has ended."""
        number = signal_number(signal)
        if self._poll() is None:
            self._running().send_signal(number)

    def terminate(self) -> None:
        """Asks it to end: SIGTERM, to the command itself."""
        self.send_signal(SIGTERM)

    def kill(self) -> None:
        """Kills it and everything that it started."""
        if self._poll() is None:
            self._running().kill()

    def resize(self, rows: int, columns: int) -> None:
        """Tells its terminal another size."""
        if self._core is not None:
            self._core.resize(rows, columns)

    def _close(self) -> None:
        for pipe in self._pipes:
            pipe.close()
        if self.stdin is not None:
            self.stdin.close()

    async def __aenter__(self) -> Process:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with _log.ending("end", self, value):
            if value is not None:
                self.kill()
            self._close()
            await self.wait()

    def __repr__(self) -> str:
        reason = "" if self.reason is None else f" reason: {self.reason}"
        return f"<tare.aio.Process: returncode: {self.returncode}{reason} args: {self.args!r}>"


async def _ended(core: _Core) -> None:
    """Waits for a command's end. It has a reference: a descriptor that a loop waits for must not be closed."""
    await readable(core.status_fd())
