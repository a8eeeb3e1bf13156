# SPDX-License-Identifier: MIT OR Apache-2.0
"""Descriptors in an event loop: waited for, read and written without a
thread."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Callable

if TYPE_CHECKING:
    from ._tare import Capture, Process
    from ._tare import _Ended as Ended

_PART = 1 << 16
# The capacity of an ordinary user's pipe (pipe(7)): the most that a command can
# leave there.
_PIPE = 1 << 20


async def readable(fd: int) -> None:
    """Waits until a descriptor without other waiters is readable."""
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.add_reader(fd, lambda: None if future.done() else future.set_result(None))
    try:
        await future
    finally:
        loop.remove_reader(fd)


async def captured(process: Process, capture: Capture) -> tuple[Ended, bytes, bytes]:
    """Returns a command's end and its output. Cancelling kills the command."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Ended] = loop.create_future()

    def step() -> None:
        if future.done():
            return
        try:
            ended = capture.step(process)
        except Exception as error:
            future.set_exception(error)
            return
        # Ended streams are closed already.
        for fd in watched.difference(capture.fds(), status):
            loop.remove_reader(fd)
            watched.remove(fd)
        if ended is not None:
            future.set_result(ended)

    status = (process.status_fd(),)
    watched = {*status, *capture.fds()}
    for fd in watched:
        loop.add_reader(fd, step)
    try:
        ended = await future
        out, err = capture.output()
        return ended, out, err
    except BaseException:
        process.kill()
        raise
    finally:
        for fd in watched:
            loop.remove_reader(fd)
        capture.close()


class ReadPipe(asyncio.ReadTransport):
    """Feeds a stream reader from an owned descriptor."""

    def __init__(self, fd: int, limit: int) -> None:
        super().__init__()
        self.reader = asyncio.StreamReader(limit)
        self._loop = asyncio.get_running_loop()
        self._fd = fd
        self._reading = False
        os.set_blocking(fd, False)
        self.reader.set_transport(self)
        self.resume_reading()

    def _read(self) -> int:
        """Reads a part; how much there was."""
        try:
            data = os.read(self._fd, _PART)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            # A terminal reports the end of its last user so (EIO).
            data = b""
        if data:
            self.reader.feed_data(data)
        else:
            self.close()
        return len(data)

    def finish(self) -> None:
        """Reads the present bytes only: later output of background processes is
        not waited for."""
        left = _PIPE
        while left > 0 and not self.is_closing():
            part = self._read()
            if part == 0:
                break
            left -= part
        self.close()

    def close(self) -> None:
        """Closes the descriptor; bytes already read stay available."""
        if self._fd >= 0:
            self.pause_reading()
            os.close(self._fd)
            self._fd = -1
            self.reader.feed_eof()

    def is_closing(self) -> bool:
        return self._fd < 0

    def is_reading(self) -> bool:
        return self._reading

    def pause_reading(self) -> None:
        if self._reading:
            self._loop.remove_reader(self._fd)
            self._reading = False

    def resume_reading(self) -> None:
        if not self._reading and not self.is_closing():
            self._loop.add_reader(self._fd, self._read)
            self._reading = True

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)


async def writer(fd: int) -> asyncio.StreamWriter:
    """Makes a stream writer for an owned descriptor."""
    loop = asyncio.get_running_loop()
    # The reader reads nothing, but `wait_closed` needs such a protocol.
    reader = asyncio.StreamReader()
    make: Callable[[], asyncio.StreamReaderProtocol] = lambda: asyncio.StreamReaderProtocol(reader)  # noqa: E731
    transport, protocol = await loop.connect_write_pipe(make, open(fd, "wb", 0))
    return asyncio.StreamWriter(transport, protocol, reader, loop)
