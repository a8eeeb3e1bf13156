# SPDX-License-Identifier: MIT OR Apache-2.0
"""Commands to run, and their results, with the conventions of `subprocess`."""

from __future__ import annotations

import codecs
import io
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from subprocess import DEVNULL, PIPE
from typing import IO, TYPE_CHECKING, Any, AnyStr, Callable, Protocol, Union

from . import _tare
from ._errors import CalledProcessError, OutputLimitExceeded, TimeoutExpired, Usage

if TYPE_CHECKING:
    from ._tare import _Ended as Ended
    from ._tare import _Used


_RUN_ALONE = frozenset({"input", "check"})


class HasFileno(Protocol):
    """A file."""

    def fileno(self) -> int: ...


StrOrBytesPath = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]
Args = Union[StrOrBytesPath, Sequence[StrOrBytesPath]]
"""A program, or a program with its arguments."""
Stream = Union[None, int, HasFileno]
"""`PIPE`, `DEVNULL`, a descriptor, a file; None for the caller's own."""
Environment = Union[Mapping[str, str], Mapping[bytes, bytes]]


Told = Callable[["Ended", "bytes | None", "bytes | None"], None]
"""Told how a command ended, and what was read of its output."""

NOTHING_USED = Usage(0.0, 0.0, 0.0, 0, 0, 0)


class CompletedProcess(subprocess.CompletedProcess[AnyStr]):
    """A finished command: the result of `subprocess.run`, with reason and
    usage."""

    reason: str
    """`exited`, `signaled`, `oom` or `killed`; `timeout` and `output` raise instead."""
    usage: Usage
    """The usage of the command."""
    core_dumped: bool
    """True if the command left a core file."""

    def __init__(
        self,
        args: Any,
        returncode: int,
        stdout: Any = None,
        stderr: Any = None,
        *,
        reason: str = "exited",
        usage: Usage = NOTHING_USED,
        core_dumped: bool = False,
    ) -> None:
        super().__init__(args, returncode, stdout, stderr)
        self.reason = reason
        self.usage = usage
        self.core_dumped = core_dumped

    def __repr__(self) -> str:
        said = super().__repr__()
        if self.reason == "exited":
            return said
        code = f"returncode={self.returncode!r}"
        return said.replace(code, f"{code}, reason={self.reason!r}", 1)

    def check_returncode(self) -> None:
        """Raises `CalledProcessError` unless the command succeeded."""
        if self.returncode or self.reason != "exited":
            error = CalledProcessError(self.returncode, self.args, self.stdout, self.stderr)
            error.reason = self.reason
            error.usage = self.usage
            raise error


class Text:
    """Reads bytes as text: UTF-8 by default, because the host's locale says
    nothing about an image."""

    def __init__(self, text: bool | None, encoding: str | None, errors: str | None) -> None:
        self.on = bool(text or encoding or errors)
        self.encoding = encoding or "utf-8"
        self.errors = errors or "strict"
        # A wrong name is to be found before anything runs.
        codecs.lookup(self.encoding)

    @classmethod
    def of(cls, text: bool | None, encoding: str | None, errors: str | None) -> Text:
        """Returns the same without a new object if there are no options."""
        return cls(text, encoding, errors) if text or encoding or errors else BYTES

    def read(self, data: bytes | None) -> Any:
        """Output, with newlines as in text files."""
        if data is None or not self.on:
            return data
        text = data.decode(self.encoding, self.errors)
        return text.replace("\r\n", "\n").replace("\r", "\n")

    def write(self, data: Any) -> bytes | None:
        """Input."""
        return data.encode(self.encoding, self.errors) if isinstance(data, str) else data

    def open(self, fd: int, mode: str, bufsize: int) -> IO[Any]:
        """A pipe's end as a file."""
        if not self.on:
            return open(fd, mode + "b", bufsize)
        buffered = open(fd, mode + "b", -1 if bufsize == 1 else bufsize)
        return io.TextIOWrapper(
            buffered,
            encoding=self.encoding,
            errors=self.errors,
            line_buffering=bufsize == 1,
            write_through=mode == "w",
        )


BYTES = Text(None, None, None)
"""Nothing becomes text."""


# As `os.fsencode` does for a string.
_ENCODING, _ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()


def _argv(args: Args | None, shell: bool) -> list[bytes] | None:
    if args is None:
        if shell:
            raise ValueError("shell=True needs a command")
        return None
    # Most are lists of strings, and those are asked for first.
    one = type(args) is not list and isinstance(args, (str, bytes, os.PathLike))
    words: Any = [args] if one else args
    argv = [word.encode(_ENCODING, _ERRORS) if type(word) is str else os.fsencode(word) for word in words]
    return [b"/bin/sh", b"-c", *argv] if shell else argv


def _unknown(of: str, names: Iterable[str]) -> TypeError:
    # Only wrong calls pay for this.
    from . import _keywords, _types

    known = _types.RUN if of == "run" else _types.POPEN
    return _keywords.unknown(of, min(names), known)


def _number(stream: Stream) -> int | None:
    return stream if stream is None or isinstance(stream, int) else stream.fileno()


def output_limit_exceeded(
    args: Any, stdout: bytes | None, stderr: bytes | None, usage: _Used
) -> OutputLimitExceeded:
    """Returns the error for cut output, as long as the limit."""
    exceeded = OutputLimitExceeded(args, len(stdout or b"") + len(stderr or b""), stdout, stderr)
    exceeded.usage = Usage(*usage)
    return exceeded


def seconds(timeout: float | str | None) -> float | None:
    """Reads a time limit in seconds: a number, or a duration such as
    "1m30s"."""
    if timeout is None:
        return None
    read = _tare.seconds(timeout)
    return read if isinstance(timeout, str) else timeout


class Call:
    """A command to run, the reading of its output, and its result."""

    def __init__(self, args: Args | None, text: Text, options: Mapping[str, Any], of: str = "popen") -> None:
        """`of` is the name of the call with these options: `run` or `popen`."""
        self.args: Any = args
        self.check = bool(options.get("check"))
        self.text = text
        if of == "popen" and not _RUN_ALONE.isdisjoint(options):
            raise _unknown(of, _RUN_ALONE & options.keys())
        self.words = self._words(of, **options)

    @classmethod
    def of_run(cls, args: Args | None, text: Text, options: Mapping[str, Any]) -> Call:
        """Makes a call that captures output by default."""
        if "capture_output" not in options:
            return cls(args, text, {"stdout": PIPE, "stderr": PIPE, **options}, "run")
        rest = dict(options)
        if rest.pop("capture_output"):
            if rest.get("stdout") is not None or rest.get("stderr") is not None:
                raise ValueError("stdout and stderr arguments may not be used with capture_output.")
            rest.update(stdout=PIPE, stderr=PIPE)
        return cls(args, text, rest, "run")

    def _words(
        self,
        of: str,
        /,
        *,
        stdin: Stream = DEVNULL,
        input: Any = None,
        stdout: Stream = None,
        stderr: Stream = None,
        env: Environment | None = None,
        cwd: StrOrBytesPath | None = None,
        user: int | str | None = None,
        timeout: float | str | None = None,
        check: bool = False,
        shell: bool = False,
        pass_fds: Sequence[int] = (),
        tty: tuple[int, int] | None = None,
        output_limit: int | str | None = None,
        rlimits: Mapping[str, int | str] | None = None,
        cap_add: Sequence[str] | None = None,
        cap_drop: Sequence[str] | None = None,
        umask: int = -1,
        **unknown: Any,
    ) -> dict[str, Any]:
        """Returns the arguments of the extension."""
        if unknown:
            raise _unknown(of, unknown)
        if input is not None and stdin != DEVNULL:
            raise ValueError("stdin and input may not both be used")
        return {
            "argv": _argv(self.args, shell),
            "env": [(os.fsencode(name), os.fsencode(value)) for name, value in env.items()] if env else (),
            "cwd": None if cwd is None else os.fsencode(cwd),
            "user": None if user is None else str(user),
            "input": self.text.write(input),
            "stdin": _number(stdin),
            "stdout": _number(stdout),
            "stderr": _number(stderr),
            "pass_fds": [(fd, fd) for fd in pass_fds] if pass_fds else (),
            "timeout": seconds(timeout),
            "tty": tty,
            "output_limit": output_limit,
            "rlimits": list(rlimits.items()) if rlimits else (),
            "cap_add": cap_add or (),
            "cap_drop": cap_drop or (),
            "umask": umask,
        }

    def completed(self, ended: Ended, out: bytes, err: bytes) -> CompletedProcess[Any]:
        """Returns the finished command, or raises its error."""
        returncode, reason, core_dumped, usage = ended
        words = self.words
        stdout = out if words["stdout"] == PIPE or words["tty"] else None
        stderr = err if words["stderr"] == PIPE else None
        if reason == "timeout":
            expired = TimeoutExpired(self.args, words["timeout"], stdout, stderr)
            expired.usage = Usage(*usage)
            raise expired
        if reason == "output":
            raise output_limit_exceeded(self.args, stdout, stderr, usage)
        done: CompletedProcess[Any] = CompletedProcess(
            self.args,
            returncode,
            self.text.read(stdout),
            self.text.read(stderr),
            reason=reason,
            usage=Usage(*usage),
            core_dumped=core_dumped,
        )
        if self.check:
            done.check_returncode()
        return done
