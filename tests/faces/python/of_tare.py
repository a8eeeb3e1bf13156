# SPDX-License-Identifier: MIT OR Apache-2.0
"""Shared parts of the faces of the Python package."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import stat
from collections.abc import Callable, Iterator
from typing import Any

import tare
from face import Outcome, Refused, Wanted


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """The exception, by the name in the cases."""
    try:
        yield
    except tare.Error as error:
        raise Refused(error.kind, None, error.step) from error
    except OSError as error:
        raise Refused(getattr(error, "kind", "none"), error.errno, getattr(error, "step", "none")) from error
    except ValueError as error:
        # The error names the keyword.
        raise Refused("invalid", None, str(error).partition(":")[0]) from error


def options(wanted: Wanted) -> dict[str, Any]:
    """The options of a command, as keywords."""
    how: dict[str, Any] = {
        "env": wanted.env,
        "cwd": wanted.cwd,
        "user": wanted.user,
        "timeout": wanted.timeout,
        "rlimits": wanted.rlimits,
        "cap_add": wanted.cap_add,
        "cap_drop": wanted.cap_drop,
        "umask": -1 if wanted.umask is None else wanted.umask,
    }
    how["stdout"] = tare.PIPE
    how["stderr"] = tare.STDOUT if wanted.merged else tare.PIPE
    return how


def outcome(
    reason: str, returncode: int, stdout: bytes | None, stderr: bytes | None, usage: tare.Usage | None
) -> Outcome:
    """The result of `run` and `communicate`."""
    assert usage is not None
    code, signal = (None, -returncode) if returncode < 0 else (returncode, None)
    return Outcome(reason, code, signal, stdout or b"", stderr or b"", usage.oom_kills, usage.memory_peak)


def raised(error: tare.OutputLimitExceeded | tare.TimeoutExpired, returncode: int | None = -9) -> Outcome:
    """The exception for a command that was killed; `run` tells no return code
    of such."""
    reason = "output" if isinstance(error, tare.OutputLimitExceeded) else "timeout"
    assert returncode is not None
    return outcome(reason, returncode, error.output, error.stderr, error.usage)


def spec(text: str) -> dict[str, Any]:
    """A spec as keywords."""
    keys = json.loads(text)
    return {"image": keys.pop("image"), **keys}


class _Hearing(logging.Handler):
    """Takes the keys that warnings say were left out."""

    def __init__(self, face: FaceOf) -> None:
        super().__init__(logging.WARNING)
        self.face = face

    def emit(self, record: logging.LogRecord) -> None:
        _, left_out, rest = record.getMessage().partition(": left out ")
        if left_out:
            self.face.told.append(rest.partition(":")[0])


class FaceOf:
    """The API that both classes have, awaited or not, and the logger's
    warnings."""

    sandbox: Any
    events: Any

    def __init__(self, store: str) -> None:
        self.store = tare.Store(store)
        self.processes: dict[str, Any] = {}
        self.told: list[str] = []
        logging.getLogger("tare").addHandler(_Hearing(self))

    def settled(self, what: Any) -> Any:
        """The result of a call."""
        return what

    def do(self, call: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
        with refusals():
            return self.settled(call(*args, **keywords))

    def start(self, wanted: Wanted) -> Any:
        return self.sandbox.run(wanted.argv, input=wanted.input, **options(wanted))

    def outcome_of(self, run: Callable[..., Any], *args: Any) -> Outcome:
        try:
            done = self.do(run, *args)
        except (tare.TimeoutExpired, tare.OutputLimitExceeded) as error:
            return raised(error)
        return outcome(done.reason, done.returncode, done.stdout, done.stderr, done.usage)

    def run(self, wanted: Wanted) -> Outcome:
        return self.outcome_of(self.start, wanted)

    def spawn(self, name: str, wanted: Wanted) -> None:
        stdin = tare.PIPE if wanted.pipe else tare.DEVNULL
        self.processes[name] = self.do(self.sandbox.popen, wanted.argv, stdin=stdin, **options(wanted))

    def eof(self, name: str) -> None:
        self.processes[name].stdin.close()

    def signal(self, name: str, number: int) -> None:
        self.do(self.processes[name].send_signal, number)

    def kill(self, name: str) -> None:
        self.do(self.processes[name].kill)

    def commands(self) -> int:
        return len(self.sandbox.commands())

    def kill_found(self, name: str) -> None:
        found = self.do(self.sandbox.process, self.processes[name].id)
        self.do(found.kill)

    def wait(self, name: str) -> Outcome:
        process = self.processes.pop(name)
        try:
            out, err = self.do(process.communicate)
        except tare.OutputLimitExceeded as error:
            return raised(error, process.returncode)
        return outcome(process.reason, process.returncode, out, err, process.usage)

    def reset(self) -> None:
        self.do(self.sandbox.reset)

    def freeze(self) -> None:
        self.do(self.sandbox.freeze)

    def thaw(self) -> None:
        self.do(self.sandbox.thaw)

    def limit(self, limits: dict[str, Any]) -> None:
        self.do(self.sandbox.set_limits, **limits)

    def usage(self) -> dict[str, Any]:
        return dict(self.sandbox.usage())

    def effective(self) -> Any:
        return self.sandbox.effective()

    def watch(self) -> None:
        self.events = self.do(self.sandbox.events)

    def close(self) -> None:
        self.do(self.sandbox.close)

    def end(self) -> None:
        if hasattr(self, "sandbox"):
            self.close()
            del self.sandbox

    def read(self, path: str) -> bytes:
        data: bytes = self.do(self.sandbox.read_file, path)
        return data

    def write(self, path: str, mode: int, data: bytes) -> None:
        self.do(self.sandbox.write_file, path, data, mode=mode)

    def mkdir(self, path: str, mode: int) -> None:
        self.do(self.sandbox.mkdir, path, mode)

    def list(self, path: str) -> list[str]:
        return [entry.name for entry in self.do(self.sandbox.list_dir, path)]

    def stat(self, path: str, follow: bool) -> tuple[str, int, int]:
        found: os.stat_result = self.do(self.sandbox.stat, path, follow_symlinks=follow)
        kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink"}
        return kinds[stat.S_IFMT(found.st_mode)], stat.S_IMODE(found.st_mode), found.st_size

    def remove(self, path: str, recursive: bool) -> None:
        self.do(self.sandbox.remove, path, recursive=recursive)
