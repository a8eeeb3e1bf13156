# SPDX-License-Identifier: MIT OR Apache-2.0
"""Long work beside an event loop: in a thread of the loop's executor, with
progress reported in the loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
from typing import Any, Callable, Protocol, TypeVar

from ._store import Progress

# The period of a thread's looks whether its loop has gone.
_LOOK = 0.2


class _Closes(Protocol):
    def close(self) -> None: ...


_T = TypeVar("_T", bound=_Closes)


class _Told:
    """Hands the progress of a thread's work to a callable in the loop, and
    stops the work if that raises."""

    def __init__(self, loop: asyncio.AbstractEventLoop, progress: Progress | None) -> None:
        self.stopped = False
        self._loop = loop
        self._progress = progress

    def __call__(self, *words: Any) -> None:
        if self.stopped:
            raise asyncio.CancelledError
        progress = self._progress
        if progress is None:
            return
        answer: concurrent.futures.Future[None] = concurrent.futures.Future()

        def tell() -> None:
            try:
                progress(*words)
                answer.set_result(None)
            except BaseException as error:
                answer.set_exception(error)

        self._loop.call_soon_threadsafe(tell)
        while not concurrent.futures.wait([answer], _LOOK).done:
            if self.stopped or self._loop.is_closed():
                raise asyncio.CancelledError
        answer.result()


def running_loop() -> asyncio.AbstractEventLoop:
    """Returns asyncio's loop; programs with another loop get a clear error."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        why = "tare.aio needs asyncio's event loop, and none runs here; under trio, hand the calls of tare.Sandbox"
        raise RuntimeError(f"{why} to trio.to_thread.run_sync") from None


async def aside(work: Callable[[Progress], _T], progress: Progress | None) -> _T:
    """Returns the result of `work`, run in a thread. Cancelled, the work stops
    at its next step, and its result is closed."""
    loop = running_loop()
    told = _Told(loop, progress)
    future = loop.run_in_executor(None, work, told)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        told.stopped = True
        future.add_done_callback(_close)
        raise


def _close(future: asyncio.Future[_T]) -> None:
    if not future.cancelled() and future.exception() is None:
        future.result().close()
