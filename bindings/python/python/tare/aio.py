# SPDX-License-Identifier: MIT OR Apache-2.0
"""Sandboxes for asyncio: the event loop waits for commands and moves their
bytes, without a thread.

```python
async with tare.aio.Sandbox("debian") as sb:
    done = await sb.run(["make"], timeout=60)
```

Opening a sandbox takes about a millisecond, and starting a command a tenth of
that, so both are done in the loop's thread; so are the calls for files, which
are plain methods. A thread of the loop's executor does slow work: the first
opening of an image, which may import the image; each opening of `oci:` and
`archive:`; each opening with a copy for storage. `progress` is called in the
loop. Hand whole trees (`put`, `get`) to `asyncio.to_thread`.

anyio runs this module on its asyncio back end. trio has another loop: there,
`trio.to_thread.run_sync` takes the calls of `tare.Sandbox`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Generator
from subprocess import DEVNULL, PIPE, STDOUT
from typing import TYPE_CHECKING, Any, overload

from . import _events, _log, _pool, _sandbox
from ._aside import aside, running_loop
from ._async_process import Process
from ._call import BYTES, Args, Call, CompletedProcess, Text
from ._files import Files
from ._pipes import ReadPipe, captured, readable, writer
from ._process import RunningCommand
from ._types import KEYS

if TYPE_CHECKING:
    from typing_extensions import Literal, Unpack

    from ._store import AnyStore, Image, Progress
    from ._types import (
        AnyOneRunOptions,
        BytesOneRunCall,
        BytesRunOptions,
        CommandOptions,
        Effective,
        OneRunCall,
        RunOptions,
        SandboxUsage,
    )
    from .spec import Limits, SandboxOptions

# As in asyncio's own streams.
_LIMIT = 1 << 16

__all__ = ["DEVNULL", "PIPE", "STDOUT", "Events", "Pool", "Process", "Sandbox", "run"]


class Sandbox(Files):
    """A clean, isolated, disposable environment for asyncio: as `tare.Sandbox`,
    with awaited commands.

    `async with` opens and closes the sandbox; `await` opens it, and the caller
    must await `close`.
    """

    def __init__(
        self,
        image: str | Image = "host",
        *,
        store: AnyStore | None = None,
        progress: Progress | None = None,
        **keys: Unpack[SandboxOptions],
    ) -> None:
        if not keys.keys() <= KEYS:
            raise _sandbox.unknown("tare.aio.Sandbox", keys)
        self._how: dict[str, Any] = {"image": image, "store": store, **keys}
        self._progress = progress
        self._sandbox: _sandbox.Sandbox | None = None

    @classmethod
    def _of(cls, opened: _sandbox.Sandbox) -> Sandbox:
        """Wraps an open sandbox; no loop is needed for this."""
        sandbox = cls(opened._image)
        sandbox._sandbox = opened
        sandbox._files = opened._files
        return sandbox

    def __getattr__(self, name: str) -> Any:
        # Attributes set by the open; the others do not exist before.
        if name == "_files":
            self._open  # noqa: B018
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def _open(self) -> _sandbox.Sandbox:
        if self._sandbox is None:
            raise RuntimeError("the sandbox is not open yet: use `async with`, or await it")
        return self._sandbox

    async def _opened(self) -> Sandbox:
        if self._sandbox is None:
            running_loop()
            key = _key(**self._how)
            if key in _quick:
                opened = _sandbox.Sandbox(**self._how, progress=self._progress)
            else:
                opened = await aside(
                    lambda told: _sandbox.Sandbox(**self._how, progress=told), self._progress
                )
                if key is not None and opened.effective()["storage"] != "copy":
                    _quick.add(key)
            self._sandbox = opened
            self._files = opened._files
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
        self, args: Args | None = ..., **options: Unpack[BytesRunOptions]
    ) -> CompletedProcess[bytes]: ...
    @overload
    async def run(
        self,
        args: Args | None = ...,
        *,
        text: bool | None = ...,
        encoding: str | None = ...,
        errors: str | None = ...,
        **options: Unpack[RunOptions],
    ) -> CompletedProcess[Any]: ...

    async def run(
        self,
        args: Args | None = None,
        *,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        **options: Unpack[RunOptions],
    ) -> CompletedProcess[Any]:
        """Runs a command to its end, as `tare.Sandbox.run` does.

        Cancelling kills the command with all processes that it started.
        """
        call = Call.of_run(args, Text.of(text, encoding, errors), options)
        sandbox = self._open
        process, capture = sandbox._core.start(call.words)
        ended, stdout, stderr = await captured(process, capture)
        sandbox._saw(call, ended, stdout, stderr)
        return call.completed(ended, stdout, stderr)

    async def popen(
        self, args: Args | None = None, *, limit: int = _LIMIT, **options: Unpack[CommandOptions]
    ) -> Process:
        """Starts a command and returns while the command runs; the options are
        those of `tare.Sandbox.popen`.

        With `tty` the command's `stdin` and `stdout` are the terminal. `limit`
        is the longest line for the streams' `readline`, as with
        `asyncio.create_subprocess_exec`.
        """
        call = Call(args, BYTES, options)
        core, stdin, stdout, stderr, terminal = self._open._core.spawn(call.words)
        if terminal is not None:
            stdin, stdout = terminal, os.dup(terminal)
        pipes = [None if fd is None else ReadPipe(fd, limit) for fd in (stdout, stderr)]
        process = Process(core, args, *pipes)
        process._told = self._open._began(call, process)
        if stdin is not None:
            process.stdin = await writer(stdin)
        return process

    def commands(self) -> list[RunningCommand]:
        """The commands that run, as `tare.Sandbox.commands`."""
        return self._open.commands()

    async def process(self, id: int) -> Process:
        """A running command by its number, as `tare.Sandbox.process`."""
        core = await asyncio.get_running_loop().run_in_executor(None, self._open._core.process, id)
        return Process(core, [*map(os.fsdecode, core.describe()[1])], None, None)

    async def reset(self) -> None:
        """Ends everything inside and starts again from the image."""
        sandbox = self._open
        if _key(**self._how) in _quick:
            sandbox.reset()
        else:
            await asyncio.get_running_loop().run_in_executor(None, sandbox.reset)

    async def freeze(self) -> None:
        """Stops everything inside, as `tare.Sandbox.freeze`."""
        await asyncio.get_running_loop().run_in_executor(None, self._open.freeze)

    async def thaw(self) -> None:
        """Lets everything inside go on."""
        await asyncio.get_running_loop().run_in_executor(None, self._open.thaw)

    def usage(self) -> SandboxUsage:
        """Returns the use of all processes inside, now and since the open or
        the last reset."""
        return self._open.usage()

    def events(self) -> Events:
        """Reports later events: `async for event in sb.events()`.

        As `tare.Sandbox.events`; `gone` is the last.
        """
        return Events(self._open._core.events())

    def set_limits(self, **limits: Unpack[Limits]) -> None:
        """Changes limits while commands run, as `tare.Sandbox.set_limits`."""
        self._open.set_limits(**limits)

    def effective(self) -> Effective:
        """Returns the restrictions in force: back end, namespaces, cgroup and
        limits, capabilities, filter, masks."""
        return self._open.effective()

    def pidfd(self) -> int:
        """Returns a descriptor that is readable at any end of the sandbox; the
        caller's to close."""
        return self._open.pidfd()

    async def close(self) -> None:
        """Ends all processes inside and returns when nothing of the sandbox is
        left. May be repeated."""
        sandbox = self._open
        sandbox.closed = True
        left = sandbox._core.begin_close()
        if left is not None:
            try:
                await readable(left)
            finally:
                os.close(left)

    async def __aenter__(self) -> Sandbox:
        return await self._opened()

    async def __aexit__(self, exc_type: object, value: BaseException | None, traceback: object) -> None:
        # A forked copy of this process has no part in the sandbox.
        if os.getpid() != self._open._owner:
            return
        with _log.ending("close", self, value):
            await self.close()

    def __repr__(self) -> str:
        if self._sandbox is None:
            return f"<tare.aio.Sandbox {_sandbox.shown(self._how['image'])!r} not open yet>"
        state = "closed" if self._sandbox.closed else "open"
        return f"<tare.aio.Sandbox {self._sandbox._image!r} {state}>"


class Events(_events.Events):
    """Events of a sandbox, for asyncio: as `tare.Events`, and `async for` waits
    for the next event, without a thread. `gone` is the last. A single task at a
    time may wait."""

    _over = False

    def __aiter__(self) -> Events:
        return self

    async def __anext__(self) -> _events.Event:
        while not self._over:
            event = self.next()
            if event is not None:
                self._over = event.kind == "gone"
                return event
            await readable(self.fileno())
        raise StopAsyncIteration


# Images that were opened before without a copy, so that the next open takes
# about a millisecond.
_quick: set[tuple[Any, ...]] = set()


def _key(image: str | Image, store: AnyStore | None, **keys: Any) -> tuple[Any, ...] | None:
    """Returns the key that an opening's time depends on; None if the opening
    may always take long."""
    if isinstance(image, str):
        if image.startswith(("oci:", "archive:")):
            return None
        name = image
    else:
        name = f"{image.store.path} {image.digest or image.reference}"
    place = os.environ.get("TARE_STORE") if store is None else getattr(store, "path", store)
    return name, str(place), keys.get("storage"), keys.get("write")


class Pool:
    """Sandboxes made ahead, each used once, for asyncio: as `tare.Pool`, with a
    `Sandbox` of this module.

    ```python
    async with tare.aio.Pool("debian", min=4) as pool:
        async with pool.take() as sb:
            await sb.run(["make", "test"])
    ```

    `async with` opens the pool in a thread of the loop's executor, because that
    may import an image, and closes it in the loop's thread, a millisecond for
    each waiting sandbox. Taking a ready sandbox takes microseconds.
    """

    def __init__(
        self,
        image: str | Image = "host",
        *,
        min: int = 2,
        max: int = 16,
        store: AnyStore | None = None,
        progress: Progress | None = None,
        **keys: Unpack[SandboxOptions],
    ) -> None:
        if not keys.keys() <= KEYS:
            raise _sandbox.unknown("tare.aio.Pool", keys)
        self._how: dict[str, Any] = {"min": min, "max": max, "store": store, **keys}
        self._progress = progress
        self._image = image
        self._pool: _pool.Pool | None = None

    @property
    def _open(self) -> _pool.Pool:
        if self._pool is None:
            raise RuntimeError("the pool is not open yet: use `async with`, or await it")
        return self._pool

    async def _opened(self) -> Pool:
        if self._pool is None:
            self._pool = await aside(
                lambda told: _pool.Pool(self._image, **self._how, progress=told), self._progress
            )
        return self

    def __await__(self) -> Generator[Any, None, Pool]:
        return self._opened().__await__()

    def take(self) -> Sandbox:
        """Takes an unused open sandbox: a waiting one, else a sandbox opened
        now."""
        return Sandbox._of(self._open.take())

    @property
    def ready(self) -> int:
        """The number that could be taken now without waiting."""
        return self._open.ready

    async def close(self) -> None:
        """Ends all waiting sandboxes; taken sandboxes live on. May be
        repeated."""
        self._open.close()

    async def __aenter__(self) -> Pool:
        return await self._opened()

    async def __aexit__(self, exc_type: object, value: BaseException | None, traceback: object) -> None:
        # A forked copy of this process has no part in the pool.
        if os.getpid() != self._open._owner:
            return
        with _log.ending("close", self, value):
            await self.close()

    def __repr__(self) -> str:
        if self._pool is None:
            return f"<tare.aio.Pool of {_sandbox.shown(self._image)!r} not open yet>"
        state = "closed" if self._pool.closed else "open"
        return f"<tare.aio.Pool of {self._pool._image!r} {state}>"


@overload
async def run(
    image: str | Image, args: Args | None = ..., *, text: Literal[True], **keys: Unpack[OneRunCall]
) -> CompletedProcess[str]: ...
@overload
async def run(
    image: str | Image, args: Args | None = ..., *, encoding: str, **keys: Unpack[OneRunCall]
) -> CompletedProcess[str]: ...
@overload
async def run(
    image: str | Image, args: Args | None = ..., *, errors: str, **keys: Unpack[OneRunCall]
) -> CompletedProcess[str]: ...
@overload
async def run(
    image: str | Image, args: Args | None = ..., **keys: Unpack[BytesOneRunCall]
) -> CompletedProcess[bytes]: ...
@overload
async def run(
    image: str | Image,
    args: Args | None = ...,
    *,
    store: AnyStore | None = ...,
    progress: Progress | None = ...,
    **keys: Unpack[AnyOneRunOptions],
) -> CompletedProcess[Any]: ...
async def run(
    image: str | Image,
    args: Args | None = None,
    *,
    store: AnyStore | None = None,
    progress: Progress | None = None,
    **keys: Any,
) -> CompletedProcess[Any]:
    """Runs one command in a new sandbox and closes the sandbox.

    The keywords are those of `Sandbox.run` and of `Sandbox`. `env` and `user`
    are the command's; `rlimits`, `cap_add` and `cap_drop` the sandbox's.
    """
    how = _sandbox.command_keys("tare.aio.run", keys)
    async with Sandbox(image, store=store, progress=progress, **keys) as sandbox:
        done: CompletedProcess[Any] = await sandbox.run(args, **how)
        return done


def __dir__() -> list[str]:
    return sorted(__all__)
