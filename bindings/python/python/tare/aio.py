# SPDX-License-Identifier: MIT OR Apache-2.0
"""Sandboxes for asyncio: the event loop waits for commands and moves their bytes, without a thread.

```python
async with tare.aio.Sandbox("debian") as sb:
    done = await sb.run(["make"], timeout=60)
```

To open a sandbox and to start a command is answered at once (about a millisecond, and a tenth of one), so that is
done in the loop's thread; so are the calls for files, which are plain methods. What may take long are the import
of an image, which `Store.image` can do before, and whole trees (`put`, `get`): `asyncio.to_thread` takes them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Generator
from signal import SIGKILL, SIGTERM
from subprocess import DEVNULL, PIPE, STDOUT
from types import TracebackType
from typing import TYPE_CHECKING, Any, overload

from . import _pool, _sandbox
from ._call import BYTES, Args, Call, CompletedProcess, Text, output_limit_exceeded
from ._errors import Error, Usage
from ._files import Files
from ._keywords import SUBPROCESS
from ._pipes import ReadPipe, captured, readable, writer
from ._types import RUN

if TYPE_CHECKING:
    from typing_extensions import Literal, Unpack

    from ._store import Image, Store
    from ._tare import Process as _Core
    from ._tare import _Ended as Ended
    from ._types import CommandOptions, Effective, RunOptions

__all__ = ["DEVNULL", "PIPE", "STDOUT", "Pool", "Process", "Sandbox", "run"]


class Process:
    """A running command: what `Sandbox.popen` returns, with the feel of `asyncio.subprocess.Process`.

    Its streams are bytes. Nothing happens to it when this object goes; `async with` waits for its end, and kills
    it if the block is left by an exception.
    """

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
        self.args = args
        self.stdin = None
        self.stdout = None if stdout is None else stdout.reader
        self.stderr = None if stderr is None else stderr.reader
        self._pipes = [pipe for pipe in (stdout, stderr) if pipe]
        self._core = core
        self._ended: Ended | None = None
        self._watch: asyncio.Task[None] | None = None
        self._room = core.output_limit()

    def _poll(self) -> Ended | None:
        if self._ended is None:
            self._ended = self._core.poll()
        return self._ended

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
        """A pidfd, pidfd_open(2); this object's own."""
        return self._core.pidfd()

    def fileno(self) -> int:
        """A descriptor that is readable when it has ended; this object's own."""
        return self._core.status_fd()

    async def wait(self) -> int:
        """Waits until it has ended: its return code. Any number of tasks may wait."""
        ended = self._poll()
        while ended is None:
            if self._watch is None or self._watch.done():
                self._watch = asyncio.ensure_future(readable(self._core.status_fd()))
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
        if self._poll() is None:
            self._core.send_signal(int(signal))

    def terminate(self) -> None:
        """Asks it to end: SIGTERM, to the command itself."""
        self.send_signal(SIGTERM)

    def kill(self) -> None:
        """Kills it and everything that it started."""
        if self._poll() is None:
            self._core.kill()

    def resize(self, rows: int, columns: int) -> None:
        """Tells its terminal another size."""
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
        if exc_type is not None:
            self.kill()
        self._close()
        await self.wait()

    def __repr__(self) -> str:
        return f"<tare.aio.Process: returncode: {self.returncode} args: {self.args!r}>"


class Sandbox(Files):
    """A clean, isolated, throwaway environment for asyncio: as `tare.Sandbox`, and its commands are awaited.

    `async with` opens it and closes it; `await` opens it, and `close` is then the caller's to await.
    """

    def __init__(
        self,
        image: str | Image = "host",
        *,
        store: Store | None = None,
        progress: _sandbox.Progress | None = None,
        **keys: Any,
    ) -> None:
        self._how: dict[str, Any] = {"image": image, "store": store, "progress": progress, **keys}
        self._sandbox: _sandbox.Sandbox | None = None

    @property
    def _open(self) -> _sandbox.Sandbox:
        if self._sandbox is None:
            raise RuntimeError("the sandbox is not open yet: use `async with`, or await it")
        return self._sandbox

    async def _opened(self) -> Sandbox:
        if self._sandbox is None:
            self._sandbox = _sandbox.Sandbox(**self._how)
            self._files = self._sandbox._files
        return self

    def __await__(self) -> Generator[Any, None, Sandbox]:
        return self._opened().__await__()

    @overload
    async def run(
        self, args: Args | None = ..., *, text: Literal[True], **options: Unpack[RunOptions]
    ) -> CompletedProcess[str]: ...
    @overload
    async def run(
        self, args: Args | None = ..., *, encoding: str, **options: Unpack[RunOptions]
    ) -> CompletedProcess[str]: ...
    @overload
    async def run(
        self, args: Args | None = ..., *, errors: str, **options: Unpack[RunOptions]
    ) -> CompletedProcess[str]: ...
    @overload
    async def run(
        self,
        args: Args | None = ...,
        *,
        text: Literal[False] | None = ...,
        encoding: None = ...,
        errors: None = ...,
        **options: Unpack[RunOptions],
    ) -> CompletedProcess[bytes]: ...

    async def run(
        self,
        args: Args | None = None,
        *,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        **options: Unpack[RunOptions],
    ) -> CompletedProcess[Any]:
        """Runs a command to its end; everything is as with `tare.Sandbox.run`.

        When this is cancelled, the command is killed with everything that it started.
        """
        call = Call.of_run(args, Text.of(text, encoding, errors), options)
        process, capture = self._open._core.start(call.words)
        return call.completed(*await captured(process, capture))

    async def popen(self, args: Args | None = None, **options: Unpack[CommandOptions]) -> Process:
        """Starts a command and comes back while it runs; the options are those of `tare.Sandbox.popen`.

        With `tty` its `stdin` and `stdout` are the terminal.
        """
        call = Call(args, BYTES, options)
        core, stdin, stdout, stderr, terminal = self._open._core.spawn(call.words)
        if terminal is not None:
            stdin, stdout = terminal, os.dup(terminal)
        pipes = [None if fd is None else ReadPipe(fd) for fd in (stdout, stderr)]
        process = Process(core, args, *pipes)
        if stdin is not None:
            process.stdin = await writer(stdin)
        return process

    async def reset(self) -> None:
        """Ends everything inside and starts again from the image."""
        self._open.reset()

    def effective(self) -> Effective:
        """What is really in force: back end, namespaces, cgroup and limits, capabilities, filter, masks."""
        return self._open.effective()

    def pidfd(self) -> int:
        """A descriptor that is readable when the sandbox is gone, for whatever reason; the caller's to close."""
        return self._open.pidfd()

    async def close(self) -> None:
        """Ends everything inside and comes back when nothing of it is left. Again is no mistake."""
        left = self._open._core.begin_close()
        if left is not None:
            try:
                await readable(left)
            finally:
                os.close(left)

    async def __aenter__(self) -> Sandbox:
        return await self._opened()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # A forked copy of this process that leaves the block has no part in it.
        if os.getpid() == self._open._owner:
            await self.close()


class Pool:
    """Sandboxes made ahead, each used once, for asyncio: as `tare.Pool`, but what is taken is a `Sandbox` of here.

    ```python
    async with tare.aio.Pool("debian", min=4) as pool:
        async with pool.take() as sb:
            await sb.run(["make", "test"])
    ```

    It is opened and closed by `async with`, in the loop's thread: a start takes about a millisecond, and so does
    the end of each that waits. Taking one that is ready takes no time worth speaking of.
    """

    def __init__(
        self,
        image: str | Image = "host",
        *,
        min: int = 2,
        max: int = 16,
        store: Store | None = None,
        progress: _sandbox.Progress | None = None,
        **keys: Any,
    ) -> None:
        self._how: dict[str, Any] = {"min": min, "max": max, "store": store, "progress": progress, **keys}
        self._image = image
        self._pool: _pool.Pool | None = None

    @property
    def _open(self) -> _pool.Pool:
        if self._pool is None:
            raise RuntimeError("the pool is not open yet: use `async with`, or await it")
        return self._pool

    async def _opened(self) -> Pool:
        if self._pool is None:
            self._pool = _pool.Pool(self._image, **self._how)
        return self

    def __await__(self) -> Generator[Any, None, Pool]:
        return self._opened().__await__()

    def take(self) -> Sandbox:
        """A sandbox that nobody has used, open: one that waits, else one that is opened now."""
        sandbox = Sandbox()
        sandbox._sandbox = self._open.take()
        sandbox._files = sandbox._sandbox._files
        return sandbox

    @property
    def ready(self) -> int:
        """How many could be taken now without waiting."""
        return self._open.ready

    async def close(self) -> None:
        """Ends all that wait; what was taken lives on. Again is no mistake."""
        self._open.close()

    async def __aenter__(self) -> Pool:
        return await self._opened()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # A forked copy of this process that leaves the block has no part in it.
        if os.getpid() == self._open._owner:
            await self.close()


async def run(image: str | Image, args: Args | None = None, **keys: Any) -> CompletedProcess[Any]:
    """Runs one command in a sandbox of its own, which is gone afterwards.

    The keywords are those of `Sandbox.run` and of `Sandbox`.
    """
    how = {name: keys.pop(name) for name in (RUN | SUBPROCESS) & keys.keys()}
    async with Sandbox(image, **keys) as sandbox:
        done: CompletedProcess[Any] = await sandbox.run(args, **how)
        return done
