# SPDX-License-Identifier: MIT OR Apache-2.0
"""A running command, with the feel of `subprocess.Popen`."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, AnyStr, Generic

from ._call import Call, Text, output_limit_exceeded, seconds
from ._errors import TimeoutExpired, Usage

if TYPE_CHECKING:
    from ._sandbox import Sandbox
    from ._tare import Capture
    from ._tare import _Ended as Ended


class Popen(Generic[AnyStr]):
    """A running command: what `Sandbox.popen` returns, with the feel of `subprocess.Popen`.

    Its end leaves nothing to be waited for; nothing happens to it when this object goes.
    """

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
        call: Call,
        bufsize: int,
    ) -> None:
        self.args = call.args
        self._text = text = call.text
        # The sandbox lives at least as long as its command is held.
        self._sandbox = sandbox
        self._ended: Ended | None = None
        self._capture: Capture | None = None
        self._input = memoryview(b"")
        self._process, stdin, stdout, stderr, terminal = sandbox._core.spawn(call.words)
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
        """A pidfd, pidfd_open(2); this object's own."""
        return self._process.pidfd()

    def fileno(self) -> int:
        """A descriptor that is readable when it has ended, so that it can be handed to `select`."""
        return self._process.status_fd()

    @property
    def pid(self) -> int:
        """Its process id outside, or -1 when it is gone."""
        with open(f"/proc/self/fdinfo/{self.pidfd}") as info:
            return next(int(line[4:]) for line in info if line.startswith("Pid:"))

    def poll(self) -> int | None:
        """Its return code, if it has ended."""
        if self._ended is None:
            self._ended = self._process.poll()
        return self.returncode

    def wait(self, timeout: float | str | None = None) -> int:
        """Waits until it has ended. After `timeout` seconds raises `TimeoutExpired`, and it lives on."""
        timeout = seconds(timeout)
        if self.poll() is None:
            poller = select.poll()
            poller.register(self._process.status_fd(), select.POLLIN)
            if not poller.poll(_milliseconds(timeout)):
                assert timeout is not None
                raise TimeoutExpired(self.args, timeout)
            self.poll()
        assert self._ended is not None
        return self._ended[0]

    def communicate(self, input: AnyStr | None = None, timeout: float | str | None = None) -> tuple[Any, Any]:
        """Writes `input`, reads to the end, waits: its output and errors, None for what is no pipe.

        What its leftovers in the background write later is not waited for. Output over the limit kills it
        and raises `OutputLimitExceeded` with what was kept. After `timeout` seconds raises `TimeoutExpired`
        with what there is; it lives on, nothing is lost, and the call can be repeated.
        """
        timeout = seconds(timeout)
        deadline = None if timeout is None else time.monotonic() + timeout
        if self._capture is None:
            self._begin(input)
        elif input:
            raise ValueError("Cannot send input after starting communication")
        capture = self._capture
        assert capture is not None
        while True:
            ended = capture.step(self._process)
            if ended is not None:
                break
            self._wait_for_pipes(capture, deadline, timeout)
        self._ended = ended
        if self.stdin is not None:
            self.stdin.close()
        out, err = self._read_so_far(capture)
        if ended[1] == "output":
            raise output_limit_exceeded(self.args, out, err, ended[3])
        return self._text.read(out), self._text.read(err)

    def _begin(self, input: AnyStr | None) -> None:
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
        self._capture = self._process.capture(out, err)
        self._read_before = [b"" if f is None else self._drain(f) for f in files]

    def _drain(self, file: IO[Any]) -> bytes:
        """Closes a pipe's file; gives what that has read ahead and nobody has seen."""
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), file.fileno(), inheritable=False)
        held = file.read()
        file.close()
        return self._text.write(held) or b""

    def _wait_for_pipes(self, capture: Capture, deadline: float | None, timeout: float | None) -> None:
        poller = select.poll()
        poller.register(self._process.status_fd(), select.POLLIN)
        for fd in capture.fds():
            poller.register(fd, select.POLLIN)
        writing = self.stdin is not None and not self.stdin.closed
        if self.stdin is not None and writing:
            poller.register(self.stdin.fileno(), select.POLLOUT)
        left = None if deadline is None else deadline - time.monotonic()
        ready = poller.poll(_milliseconds(left))
        if not ready and left is not None:
            assert timeout is not None
            raise TimeoutExpired(self.args, timeout, *self._read_so_far(capture))
        if self.stdin is not None and writing and any(fd == self.stdin.fileno() for fd, _ in ready):
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

    def _read_so_far(self, capture: Capture) -> list[bytes | None]:
        is_pipe = [self.stdout is not None or self.terminal is not None, self.stderr is not None]
        read = zip(is_pipe, self._read_before, capture.output())
        return [before + after if pipe else None for pipe, before, after in read]

    def send_signal(self, sig: int) -> None:
        """Sends it a signal; nothing happens if it has ended."""
        if self.poll() is None:
            self._process.send_signal(int(sig))

    def terminate(self) -> None:
        """Asks it to end: SIGTERM, to the command itself."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kills it and everything that it started."""
        if self.poll() is None:
            self._process.kill()

    def resize(self, rows: int, columns: int) -> None:
        """Tells its terminal another size."""
        self._process.resize(rows, columns)

    def __enter__(self) -> Popen[AnyStr]:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_type is not None:
            # Nobody is left who could end it: it does not see the terminal's Ctrl-C.
            self.kill()
        for file in (self.stdout, self.stderr, self.stdin, self.terminal):
            if file is not None:
                # Input that was still buffered may find nobody who wants it.
                with contextlib.suppress(BrokenPipeError):
                    file.close()
        self.wait()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: returncode: {self.returncode} args: {self.args!r}>"


def _milliseconds(seconds: float | None) -> int | None:
    """Rounded up, and never so many that poll(2) would refuse them."""
    return None if seconds is None else max(0, min(-int(-seconds * 1000 // 1), 2**31 - 1))
