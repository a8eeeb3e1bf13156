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
    """A running command in the list of `Sandbox.commands`."""

    id: int
    """The number in the sandbox, for `Sandbox.process`."""
    args: list[str]
    """Program and arguments."""
    seconds: float
    """The time since the start."""


class Popen(Generic[AnyStr]):
    """A running command: the result of `Sandbox.popen`, modelled on
    `subprocess.Popen`.

    No wait is needed after the end, and the command survives this object. After
    the end was read, only `stdin`, `stdout`, `stderr` and `terminal` hold
    descriptors.
    """

    id: int
    """The number in the sandbox, unique there; for `Sandbox.process`."""
    args: Any
    """The arguments as given; None for the image's own command."""
    stdin: IO[AnyStr] | None
    """The stream to the command's input, if that is `PIPE`."""
    stdout: IO[AnyStr] | None
    """The stream of the command's output, if that is `PIPE`."""
    stderr: IO[AnyStr] | None
    """The stream of the command's errors, if that is `PIPE`."""
    terminal: IO[bytes] | None
    """The master of the terminal, if any; not buffered."""

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
        # Keeps the sandbox alive for as long as its command is held.
        self._sandbox = sandbox
        self._ended: Ended | None = None
        self._told: Told | None = None
        # The reader of the output for `communicate`, and its descriptors.
        self._capture: tuple[Capture, Process] | None = None
        # The output that `communicate` has read to the end.
        self._output: tuple[bytes | None, bytes | None] | None = None
        self._input = memoryview(b"")
        # None after the end was read: a waiting thread has its own reference,
        # so no descriptor in use is closed.
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
        """The exit code, minus a signal's number, or None before the end was
        read."""
        return None if self._ended is None else self._ended[0]

    @property
    def reason(self) -> str | None:
        """The reason of the end, as in `CompletedProcess`."""
        return None if self._ended is None else self._ended[1]

    @property
    def core_dumped(self) -> bool | None:
        """True if the command left a core file."""
        return None if self._ended is None else self._ended[2]

    @property
    def usage(self) -> Usage | None:
        """The usage of the command."""
        return None if self._ended is None else Usage(*self._ended[3])

    @property
    def pidfd(self) -> int:
        """A pidfd, pidfd_open(2); this object's own. ValueError after the end
        was read."""
        return self._running().pidfd()

    def fileno(self) -> int:
        """A descriptor that is readable at the end, for `select`. ValueError
        after the end was read."""
        return self._running().status_fd()

    def _running(self) -> Process:
        process = self._process
        if process is None:
            raise ValueError("the command has ended, and its descriptors are closed")
        return process

    @property
    def pid(self) -> int:
        """The process id outside, or -1 after the end."""
        process = self._process
        if process is None:
            return -1
        with open(f"/proc/self/fdinfo/{process.pidfd()}") as info:
            return next(int(line[4:]) for line in info if line.startswith("Pid:"))

    def poll(self) -> int | None:
        """Returns the return code, or None for a running command."""
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
        """Waits for the end. After `timeout` seconds raises `TimeoutExpired`,
        and the command lives on.

        Ctrl-C kills the command with all processes that it started.
        """
        with self._killed_by_interrupt():
            return self._wait(seconds(timeout))

    def _wait(self, timeout: float | None) -> int:
        process = self._process
        # If another thread reads the end, the status is known a moment later.
        while process is not None and self.poll() is None:
            if not _ready([process.status_fd()], [], timeout):
                assert timeout is not None
                raise TimeoutExpired(self.args, timeout)
        ended = self._ended
        assert ended is not None
        return ended[0]

    def wait_unless(self, stop: int | HasFileno) -> int | None:
        """Waits for the end and returns the return code; or until `stop` is
        readable or hung up, and returns None.

        The command then lives on. `stop` is a descriptor or has a `fileno()`,
        as for `select`, and is not read: with `os.eventfd` or a pipe another
        thread, or a signal handler, ends the wait. An end of the command comes
        first. Ctrl-C kills as in `wait`.
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
        """Kills the command if Ctrl-C ends the wait, because the command gets
        no signal from the terminal."""
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
        """Writes `input`, reads to the end, waits. Returns output and errors,
        None for a stream without a pipe.

        Later output of background processes is not waited for. Output over the
        limit kills the command and raises `OutputLimitExceeded` with the output
        so far. After `timeout` seconds raises `TimeoutExpired` with the output
        so far; the command lives on, no output is lost, and the call can be
        repeated. Ctrl-C kills the command with all processes that it started.
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
        """Hands the pipes over; bytes that their files have read ahead come
        first."""
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
        """Reads the remains in the pipes of an ended command, and the bytes
        that their files have read ahead."""
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
                # As in the library: cut output has no exit code.
                assert self._ended is not None
                _, _, core, usage = self._ended
                self._ended = (-signal.SIGKILL, "output", core, usage)
                room = 0
        assert self._ended is not None
        self._see(self._ended, *found)
        return found[0], found[1]

    def _drain(self, file: IO[Any]) -> bytes:
        """Closes a pipe's file; returns unseen bytes that the file has read
        ahead."""
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
            # A command need not read all of its input.
            self._input = self._input[:0]
        if not self._input:
            stdin.close()

    def _read_so_far(self, capture: Capture) -> tuple[bytes | None, bytes | None]:
        is_pipe = [self.stdout is not None or self.terminal is not None, self.stderr is not None]
        read = zip(is_pipe, self._read_before, capture.output())
        out, err = (before + after if pipe else None for pipe, before, after in read)
        return out, err

    def send_signal(self, sig: int) -> None:
        """Sends a signal to the command; nothing happens after the end."""
        number = signal_number(sig)
        process = self._process
        if process is not None and self.poll() is None:
            process.send_signal(number)

    def terminate(self) -> None:
        """Sends SIGTERM to the command itself."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kills the command with all processes that it started."""
        process = self._process
        if process is not None and self.poll() is None:
            process.kill()

    def resize(self, rows: int, columns: int) -> None:
        """Resizes the command's terminal."""
        process = self._process
        if process is not None:
            process.resize(rows, columns)

    def __enter__(self) -> Popen[AnyStr]:
        return self

    def __exit__(self, exc_type: object, value: BaseException | None, traceback: object) -> None:
        if value is None:
            self._close()
            return
        with _log.ending("end", self, value):
            # The block can no longer end the command, and the terminal sends it
            # no Ctrl-C.
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
    """Waits for descriptors. Returns the ready descriptors, none after the
    timeout."""
    if not hasattr(select, "poll"):
        # eventlet removes poll(2); its select() lets other green threads run.
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
    """Reads without waiting, at most `limit` bytes."""
    os.set_blocking(fd, False)
    parts: list[bytes] = []
    while limit > 0:
        try:
            part = os.read(fd, min(limit, 1 << 16))
        except OSError:
            # No bytes now; or the last user of a terminal is gone (EIO).
            break
        if not part:
            break
        parts.append(part)
        limit -= len(part)
    return b"".join(parts)


def _milliseconds(seconds: float | None) -> int | None:
    """Rounded up, and never so many that poll(2) would refuse them."""
    return None if seconds is None else max(0, min(-int(-seconds * 1000 // 1), 2**31 - 1))
