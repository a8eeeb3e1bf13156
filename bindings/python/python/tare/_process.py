# SPDX-License-Identifier: MIT OR Apache-2.0
"""A running command, with the feel of `subprocess.Popen`."""

from __future__ import annotations

import contextlib
import operator
import os
import select
import signal
import time
from collections.abc import Iterator
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, AnyStr, Generic, NamedTuple

from . import _log
from ._call import Text, output_limit_exceeded, seconds
from ._errors import TimeoutExpired, Usage

if TYPE_CHECKING:
    from ._call import HasFileno, Told
    from ._sandbox import Sandbox
    from ._tare import Capture, Process
    from ._tare import _Ended as Ended
    from ._tare import _Started as Started


class RunningCommand(NamedTuple):
    """A command that runs, as `Sandbox.commands` lists it."""

    id: int
    """Its number in its sandbox, for `Sandbox.process`."""
    args: list[str]
    """Program and arguments."""
    seconds: float
    """How long it has been running."""


class Popen(Generic[AnyStr]):
    """A running command: what `Sandbox.popen` returns, with the feel of `subprocess.Popen`.

    Its end leaves nothing to be waited for; nothing happens to it when this object goes. Once its end was seen, no
    descriptor is held but those of `stdin`, `stdout`, `stderr` and `terminal`.
    """

    id: int
    """Its number in its sandbox, which no other command of it gets; for `Sandbox.process`."""
    args: Any
    """As they were given; None for the image's own command."""
    stdin: IO[AnyStr] | None
    """Where to write its input, if that is `PIPE`."""
    stdout: IO[AnyStr] | None
    """Where to read its output, if that is `PIPE`."""
    stderr: IO[AnyStr] | None
    """Where to read its errors, if that is `PIPE`."""
    terminal: IO[bytes] | None
    """The master of its terminal, if it has one; not buffered."""

    _text: Text
    _sandbox: Sandbox
    _input: memoryview

    def __init__(
        self,
        sandbox: Sandbox,
        args: Any,
        text: Text,
        started: Started,
        bufsize: int = -1,
    ) -> None:
        self.args = args
        self._text = text
        # The sandbox lives at least as long as its command is held.
        self._sandbox = sandbox
        self._ended: Ended | None = None
        self._told: Told | None = None
        # What reads its output for `communicate`, and of what.
        self._capture: tuple[Capture, Process] | None = None
        # What `communicate` has read to the end.
        self._output: tuple[bytes | None, bytes | None] | None = None
        self._input = memoryview(b"")
        # None once its end was seen: a thread that waits has a reference of its own, so no descriptor
        # is closed under it.
        self._process: Process | None
        self._process, stdin, stdout, stderr, terminal = started
        self.id = self._process.id()
        self._limit = self._process.output_limit()
        self.stdin = None if stdin is None else text.open(stdin, "w", bufsize)
        self.stdout = None if stdout is None else text.open(stdout, "r", bufsize)
        self.stderr = None if stderr is None else text.open(stderr, "r", bufsize)
        self.terminal = None if terminal is None else open(terminal, "r+b", buffering=0)

    @property
    def returncode(self) -> int | None:
        """Its exit code, minus a signal's number, or None as long as nobody has seen its end."""
        return None if self._ended is None else self._ended[0]

    @property
    def reason(self) -> str | None:
        """Why it ended, as in `CompletedProcess`."""
        return None if self._ended is None else self._ended[1]

    @property
    def core_dumped(self) -> bool | None:
        """Whether it left a core file."""
        return None if self._ended is None else self._ended[2]

    @property
    def usage(self) -> Usage | None:
        """What it used."""
        return None if self._ended is None else Usage(*self._ended[3])

    @property
    def pidfd(self) -> int:
        """A pidfd, pidfd_open(2); this object's own. ValueError once its end was seen."""
        return self._running().pidfd()

    def fileno(self) -> int:
        """A descriptor that is readable when it has ended, for `select`. ValueError once its end was seen."""
        return self._running().status_fd()

    def _running(self) -> Process:
        process = self._process
        if process is None:
            raise ValueError("the command has ended, and its descriptors are closed")
        return process

    @property
    def pid(self) -> int:
        """Its process id outside, or -1 when it is gone."""
        process = self._process
        if process is None:
            return -1
        with open(f"/proc/self/fdinfo/{process.pidfd()}") as info:
            return next(int(line[4:]) for line in info if line.startswith("Pid:"))

    def poll(self) -> int | None:
        """Its return code, if it has ended."""
        process = self._process
        if process is not None and self._ended is None:
            ended = process.poll()
            if ended is not None:
                self._see(ended)
        return self.returncode

    def _see(self, ended: Ended, out: bytes | None = None, err: bytes | None = None) -> None:
        self._ended = ended
        self._process = None
        if self._told is not None:
            self._told(ended, out, err)

    def wait(self, timeout: float | str | None = None) -> int:
        """Waits until it has ended. After `timeout` seconds raises `TimeoutExpired`, and it lives on.

        Ctrl-C kills it with everything that it started.
        """
        with self._killed_by_interrupt():
            return self._wait(seconds(timeout))

    def _wait(self, timeout: float | None) -> int:
        process = self._process
        # Where another thread reads the end, it is known a moment later.
        while process is not None and self.poll() is None:
            if not _ready([process.status_fd()], [], timeout):
                assert timeout is not None
                raise TimeoutExpired(self.args, timeout)
        ended = self._ended
        assert ended is not None
        return ended[0]

    def wait_unless(self, stop: int | HasFileno) -> int | None:
        """Waits until it has ended, for its return code; or until `stop` is readable or hung up, for None.

        It lives on then. `stop` is a descriptor or has a `fileno()`, as for `select`, and is not read from: with
        `os.eventfd` or a pipe another thread, or a signal handler, ends the wait. An end of the command comes
        first. Ctrl-C kills it as in `wait`.
        """
        fd = _descriptor(stop)
        with self._killed_by_interrupt():
            process = self._process
            if process is not None and self.poll() is None:
                _ready([process.status_fd(), fd], [], None)
                self.poll()
        return self.returncode

    @contextlib.contextmanager
    def _killed_by_interrupt(self) -> Iterator[None]:
        """Its end goes with a wait that Ctrl-C ends: from the terminal it gets no signal of its own."""
        try:
            yield
        except KeyboardInterrupt as interrupt:
            with _log.ending("kill", self, interrupt):
                self.kill()
                # A moment, so that the end is seen. SIGKILL needs no longer.
                with contextlib.suppress(TimeoutExpired):
                    self._wait(1.0)
            raise

    def communicate(self, input: AnyStr | None = None, timeout: float | str | None = None) -> tuple[Any, Any]:
        """Writes `input`, reads to the end, waits: its output and errors, None for what is no pipe.

        What its leftovers in the background write later is not waited for. Output over the limit kills it
        and raises `OutputLimitExceeded` with what was kept. After `timeout` seconds raises `TimeoutExpired`
        with what there is; it lives on, nothing is lost, and the call can be repeated. Ctrl-C kills it with
        everything that it started.
        """
        timeout = seconds(timeout)
        with self._killed_by_interrupt():
            if self._output is None:
                self._output = self._communicate(input, timeout)
        out, err = self._output
        ended = self._ended
        assert ended is not None
        if ended[1] == "output":
            raise output_limit_exceeded(self.args, out, err, ended[3])
        return self._text.read(out), self._text.read(err)

    def _communicate(self, input: AnyStr | None, timeout: float | None) -> tuple[bytes | None, bytes | None]:
        deadline = None if timeout is None else time.monotonic() + timeout
        if self._capture is None:
            process = self._process
            if process is None:
                return self._read_left()
            self._begin(process, input)
        elif input:
            raise ValueError("Cannot send input after starting communication")
        assert self._capture is not None
        capture, process = self._capture
        while True:
            ended = capture.step(process)
            if ended is not None:
                break
            self._wait_for_pipes(capture, process, deadline, timeout)
        if self.stdin is not None:
            self.stdin.close()
        out, err = self._read_so_far(capture)
        capture.close()
        self._capture = None
        self._see(ended, out, err)
        return out, err

    def _begin(self, process: Process, input: AnyStr | None) -> None:
        """Hands the pipes over; what their files have read ahead comes first."""
        self._input = memoryview(self._text.write(input) or b"")
        if self.stdin is not None and not self.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self.stdin.flush()
            os.set_blocking(self.stdin.fileno(), False)
            if not self._input:
                self.stdin.close()
        source: IO[Any] | None = self.stdout or self.terminal
        files = [None if f is None or f.closed else f for f in (source, self.stderr)]
        out, err = (None if f is None else f.fileno() for f in files)
        self._capture = process.capture(out, err), process
        self._read_before = [b"" if f is None else self._drain(f) for f in files]

    def _read_left(self) -> tuple[bytes | None, bytes | None]:
        """What a command whose end was seen has left in its pipes, and what their files have read ahead."""
        if self.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.stdin.close()
        found: list[bytes | None] = []
        room = self._limit
        source: IO[Any] | None = self.stdout or self.terminal
        for file in (source, self.stderr):
            if file is None or file.closed:
                found.append(None if file is None else b"")
                continue
            fd = os.dup(file.fileno())
            with open(fd, "rb", 0) as left:
                before = self._drain(file)
                after = _read_now(left.fileno(), room + 1)
            found.append(before + after[:room])
            room -= len(after)
            if room < 0:
                # As the library has it: cut output has no exit code.
                assert self._ended is not None
                _, _, core, usage = self._ended
                self._ended = (-signal.SIGKILL, "output", core, usage)
                room = 0
        assert self._ended is not None
        self._see(self._ended, *found)
        return found[0], found[1]

    def _drain(self, file: IO[Any]) -> bytes:
        """Closes a pipe's file; gives what that has read ahead and nobody has seen."""
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), file.fileno(), inheritable=False)
        held = file.read()
        file.close()
        return self._text.write(held) or b""

    def _wait_for_pipes(
        self, capture: Capture, process: Process, deadline: float | None, timeout: float | None
    ) -> None:
        writing = self.stdin is not None and not self.stdin.closed
        inputs = [self.stdin.fileno()] if self.stdin is not None and writing else []
        left = None if deadline is None else deadline - time.monotonic()
        ready = _ready([process.status_fd(), *capture.fds()], inputs, left)
        if not ready and left is not None:
            assert timeout is not None
            raise TimeoutExpired(self.args, timeout, *self._read_so_far(capture))
        if self.stdin is not None and not ready.isdisjoint(inputs):
            self._write_some(self.stdin)

    def _write_some(self, stdin: IO[AnyStr]) -> None:
        try:
            written = os.write(stdin.fileno(), self._input)
            self._input = self._input[written:]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            # It does not want to read all of it, which is its right.
            self._input = self._input[:0]
        if not self._input:
            stdin.close()

    def _read_so_far(self, capture: Capture) -> tuple[bytes | None, bytes | None]:
        is_pipe = [self.stdout is not None or self.terminal is not None, self.stderr is not None]
        read = zip(is_pipe, self._read_before, capture.output())
        out, err = (before + after if pipe else None for pipe, before, after in read)
        return out, err

    def send_signal(self, sig: int) -> None:
        """Sends it a signal; nothing happens if it has ended."""
        number = signal_number(sig)
        process = self._process
        if process is not None and self.poll() is None:
            process.send_signal(number)

    def terminate(self) -> None:
        """Asks it to end: SIGTERM, to the command itself."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kills it and everything that it started."""
        process = self._process
        if process is not None and self.poll() is None:
            process.kill()

    def resize(self, rows: int, columns: int) -> None:
        """Tells its terminal another size."""
        process = self._process
        if process is not None:
            process.resize(rows, columns)

    def __enter__(self) -> Popen[AnyStr]:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if value is None:
            self._close()
            return
        with _log.ending("end", self, value):
            # The block can end it no more, and from the terminal it gets no Ctrl-C.
            self.kill()
            self._close()

    def _close(self) -> None:
        for file in (self.stdout, self.stderr, self.stdin, self.terminal):
            if file is not None:
                # A command need not read the input that was still buffered.
                with contextlib.suppress(BrokenPipeError):
                    file.close()
        self.wait()

    def __repr__(self) -> str:
        reason = "" if self.reason is None else f" reason: {self.reason}"
        return f"<{type(self).__name__}: returncode: {self.returncode}{reason} args: {self.args!r}>"


def _ready(readers: list[int], writers: list[int], timeout: float | None) -> set[int]:
    """Waits for descriptors: those that are ready, none if the time is up."""
    if not hasattr(select, "poll"):
        # eventlet takes poll(2) away; its select() lets other green threads run.
        seconds = None if timeout is None else max(timeout, 0)
        ready, writable, _ = select.select(readers, writers, [], seconds)
        return {*ready, *writable}
    poller = select.poll()
    for fd in readers:
        poller.register(fd, select.POLLIN)
    for fd in writers:
        poller.register(fd, select.POLLOUT)
    return {fd for fd, _ in poller.poll(_milliseconds(timeout))}


def _descriptor(stop: int | HasFileno) -> int:
    """A descriptor that is open."""
    fd = stop if isinstance(stop, int) else getattr(stop, "fileno", lambda: None)()
    if not isinstance(fd, int):
        raise TypeError(f"stop: a descriptor or an object with fileno(), not {stop!r}")
    # poll(2) would say at once that another is ready.
    os.fstat(fd)
    return fd


def signal_number(sig: object) -> int:
    """A signal's number."""
    try:
        return operator.index(sig)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"signal: a number such as signal.SIGTERM, not {sig!r}") from None


def _read_now(fd: int, limit: int) -> bytes:
    """What can be read without waiting, at most `limit` bytes."""
    os.set_blocking(fd, False)
    parts: list[bytes] = []
    while limit > 0:
        try:
            part = os.read(fd, min(limit, 1 << 16))
        except OSError:
            # Nothing is there now; or the last user of a terminal is gone (EIO).
            break
        if not part:
            break
        parts.append(part)
        limit -= len(part)
    return b"".join(parts)


def _milliseconds(seconds: float | None) -> int | None:
    """Rounded up, and never so many that poll(2) would refuse them."""
    return None if seconds is None else max(0, min(-int(-seconds * 1000 // 1), 2**31 - 1))
