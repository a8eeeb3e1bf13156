# SPDX-License-Identifier: MIT OR Apache-2.0
"""Shared parts of the faces of the Python package: options, exceptions,
files."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import stat
from collections.abc import Iterator
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

    def __init__(self, face: FilesOf) -> None:
        super().__init__(logging.WARNING)
        self.face = face

    def emit(self, record: logging.LogRecord) -> None:
        _, left_out, rest = record.getMessage().partition(": left out ")
        if left_out:
            self.face.told.append(rest.partition(":")[0])


class FilesOf:
    """The file API, equal in both, and the logger's warnings."""

    sandbox: Any

    def __init__(self) -> None:
        self.told: list[str] = []
        logging.getLogger("tare").addHandler(_Hearing(self))

    def effective(self) -> Any:
        return self.sandbox.effective()

    def read(self, path: str) -> bytes:
        with refusals():
            return self.sandbox.read_file(path)

    def write(self, path: str, mode: int, data: bytes) -> None:
        with refusals():
            self.sandbox.write_file(path, data, mode=mode)

    def mkdir(self, path: str, mode: int) -> None:
        with refusals():
            self.sandbox.mkdir(path, mode)

    def list(self, path: str) -> list[str]:
        with refusals():
            return [entry.name for entry in self.sandbox.list_dir(path)]

    def stat(self, path: str, follow: bool) -> tuple[str, int, int]:
        with refusals():
            found: os.stat_result = self.sandbox.stat(path, follow_symlinks=follow)
        kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink"}
        return kinds[stat.S_IFMT(found.st_mode)], stat.S_IMODE(found.st_mode), found.st_size

    def remove(self, path: str, recursive: bool) -> None:
        with refusals():
            self.sandbox.remove(path, recursive=recursive)
