# SPDX-License-Identifier: MIT OR Apache-2.0
"""The sandbox."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Callable, Protocol, cast, overload

from . import _log, _tare
from ._call import BYTES, Args, Call, CompletedProcess, Text
from ._errors import Error, InvalidError
from ._events import Events
from ._files import Files
from ._keywords import SUBPROCESS
from ._process import Popen, RunningCommand
from ._store import AnyStore, Image, Progress, opened
from ._types import KEYS, ONE_RUN
from .spec import Limits

if TYPE_CHECKING:
    from collections.abc import Set

    from typing_extensions import Literal, Unpack

    from ._call import Told
    from ._tare import _Ended as Ended
    from ._types import (
        BytesPopenOptions,
        BytesRunOptions,
        Effective,
        PopenOptions,
        RunOptions,
        SandboxUsage,
    )
    from .spec import SandboxOptions, StrPath


class Watcher(Protocol):
    """Told of every command of a sandbox, for the report of a test."""

    def ended(self, call: Call, ended: Ended, stdout: bytes, stderr: bytes) -> None:
        """Logs a command that its own call waited for."""

    def started(self, call: Call, process: object) -> Told:
        """Logs a running command. The result receives the end, and the output
        that `communicate` read."""


class Sandbox(Files):
    """A clean, isolated, throwaway environment.

    ```python
    with tare.Sandbox("debian", memory="256m", mounts=["src:/w:cow"]) as sb:
        sb.run(["make"], cwd="/w", timeout=60, check=True)
    ```

    `image` is a reference, or an `Image`. The keywords are the keys of the
    spec; those of its `limits` and `security` may be given directly. An unknown
    keyword is refused with the nearest known. None means the default.

    May be used from any thread, with any number of commands at once. `close`,
    or the end of the `with`, ends all processes inside and returns when nothing
    is left; so does any end of this process. A forgotten sandbox ends with a
    ResourceWarning. A closed sandbox holds no descriptors.

    A keyword that does not exist is an `UnknownKeywordError`, also a TypeError;
    a wrong value is an `InvalidError`, also a ValueError.
    """

    # None before the open and after the close.
    closed: bool = True
    """True after `close`."""
    _image: str = ""
    _owner: int = 0
    _watcher: Watcher | None = None

    def __init__(
        self,
        image: str | Image = "host",
        *,
        store: AnyStore | None = None,
        progress: Progress | None = None,
        **keys: Unpack[SandboxOptions],
    ) -> None:
        core, text, held = spec_of(image, store, keys)
        self._hold(_tare.Sandbox(core, text, held, None, progress), shown(image))

    @classmethod
    def open_in(
        cls, root: StrPath, *, store: AnyStore | None = None, **keys: Unpack[SandboxOptions]
    ) -> Sandbox:
        """Opens a sandbox on a plain directory as root, without copy-on-write:
        writes of commands stay."""
        core, text, held = spec_of("host", store, keys, "Sandbox.open_in")
        return cls._of(_tare.Sandbox(core, text, held, root), f"dir:{os.fspath(root)}")

    @classmethod
    def _of(cls, core: _tare.Sandbox, image: str) -> Sandbox:
        """Wraps an open sandbox."""
        sandbox = cls.__new__(cls)
        sandbox._hold(core, image)
        return sandbox

    def _hold(self, core: _tare.Sandbox, image: str) -> None:
        self._owner = os.getpid()
        self._image = image
        self._core = core
        self._files = _tare.Files(core)
        self.closed = False
        _log.debug("%r opened", self)
        self._warn_of_left_out()

    def _warn_of_left_out(self) -> None:
        """Warns of each key of `best_effort` that is not in force."""
        for key, why in self._core.left_out():
            _log.warning("%r: left out %s: %s", self, key, why)

    @overload
    def run(
        self, args: Args | None = ..., *, text: Literal[True], **options: Unpack[RunOptions]
    ) -> CompletedProcess[str]: ...
    @overload
    def run(
        self, args: Args | None = ..., *, encoding: str, **options: Unpack[RunOptions]
    ) -> CompletedProcess[str]: ...
    @overload
    def run(
        self, args: Args | None = ..., *, errors: str, **options: Unpack[RunOptions]
    ) -> CompletedProcess[str]: ...
    @overload
    def run(self, args: Args | None = ..., **options: Unpack[BytesRunOptions]) -> CompletedProcess[bytes]: ...
    @overload
    def run(
        self,
        args: Args | None = ...,
        *,
        text: bool | None = ...,
        encoding: str | None = ...,
        errors: str | None = ...,
        **options: Unpack[RunOptions],
    ) -> CompletedProcess[Any]: ...

    def run(
        self,
        args: Args | None = None,
        *,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        **options: Unpack[RunOptions],
    ) -> CompletedProcess[Any]:
        """Runs a command to its end, as `subprocess.run` does.

        Options: stdin, input, stdout, stderr, capture_output, env, cwd, user,
        timeout, check, shell, pass_fds, tty, output_limit, rlimits, cap_add,
        cap_drop, umask.

        Differences: without `args` the image's own command runs; input is empty
        and output is captured by default (`capture_output=False`: the caller's
        own); `env` is added to the sandbox's environment; text is UTF-8 or
        `encoding`; `timeout` may be a duration such as "1m30s", too; `tty`
        gives the command a terminal of (rows, columns); `output_limit` replaces
        the spec's `output`. Background processes live on and are not waited
        for.

        `rlimits` (`{"nofile": "64:128"}`) replace the sandbox's of the same
        name. `cap_drop` takes from the sandbox's capabilities, and `cap_add`
        adds to the rest, never beyond the sandbox's. `umask` is 0o022 by
        default.

        After `timeout` seconds, or when this call is interrupted, the command
        is killed with all processes that it started.

        Raises `TimeoutExpired` with the output so far; `OutputLimitExceeded`
        with the kept output above `output_limit`; `CalledProcessError` if
        `check` is true and the command failed; `FileNotFoundError` for a
        missing program, `PermissionError` for a program that is not executable.
        """
        call = Call.of_run(args, Text.of(text, encoding, errors), options)
        ended, stdout, stderr = self._core.run(call.words)
        self._saw(call, ended, stdout, stderr)
        return call.completed(ended, stdout, stderr)

    @overload
    def popen(
        self, args: Args | None = ..., *, text: Literal[True], **options: Unpack[PopenOptions]
    ) -> Popen[str]: ...
    @overload
    def popen(
        self, args: Args | None = ..., *, encoding: str, **options: Unpack[PopenOptions]
    ) -> Popen[str]: ...
    @overload
    def popen(
        self, args: Args | None = ..., *, errors: str, **options: Unpack[PopenOptions]
    ) -> Popen[str]: ...
    @overload
    def popen(self, args: Args | None = ..., **options: Unpack[BytesPopenOptions]) -> Popen[bytes]: ...
    @overload
    def popen(
        self,
        args: Args | None = ...,
        *,
        text: bool | None = ...,
        encoding: str | None = ...,
        errors: str | None = ...,
        **options: Unpack[PopenOptions],
    ) -> Popen[Any]: ...

    def popen(
        self,
        args: Args | None = None,
        *,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        **options: Unpack[PopenOptions],
    ) -> Popen[Any]:
        """Starts a command and returns while the command runs, as
        `subprocess.Popen` does.

        Options: stdin, stdout, stderr, env, cwd, user, timeout, shell,
        pass_fds, tty, output_limit, rlimits, cap_add, cap_drop, umask, bufsize.

        By default the output is the caller's and the input empty; the rest is
        as with `run`. After `timeout` seconds the command is killed with all
        processes that it started, also without a waiting call, with the reason
        `timeout`.
        """
        bufsize = options.pop("bufsize", -1)
        call = Call(args, Text.of(text, encoding, errors), options)
        started = self._core.spawn(call.words)
        process: Popen[Any] = Popen(self, call.args, call.text, started, bufsize)
        process._told = self._began(call, process)
        return process

    def _saw(self, call: Call, ended: Ended, stdout: bytes, stderr: bytes) -> None:
        """Tells the log of a command that has ended."""
        if _log.enabled():
            _log.debug("%r: %s: %s, %d", self, _log.command(call.words), ended[1], ended[0])
        if self._watcher is not None:
            self._watcher.ended(call, ended, stdout, stderr)

    def _began(self, call: Call, process: object) -> Told | None:
        """Tells the log of a command that runs."""
        if _log.enabled():
            _log.debug("%r: %s: started", self, _log.command(call.words))
        return None if self._watcher is None else self._watcher.started(call, process)

    def commands(self) -> list[RunningCommand]:
        """The commands that run, in the order of their start, those of `run` in
        other threads included."""
        running = self._core.commands()
        return [RunningCommand(id, [*map(os.fsdecode, argv)], time) for id, argv, time in running]

    def process(self, id: int) -> Popen[bytes]:
        """Returns a second handle to a running command by its number: to wait,
        signal and kill.

        Pipes and terminal stay with the first handle. Raises `Error` of the
        kind "not_found" if no command of that number runs.
        """
        core = self._core.process(id)
        args = [*map(os.fsdecode, core.describe()[1])]
        return Popen(self, args, BYTES, (core, None, None, None, None))

    def reset(self) -> None:
        """Ends everything inside and starts again from the image."""
        self._core.reset()
        _log.debug("%r reset", self)
        self._warn_of_left_out()

    def freeze(self) -> None:
        """Stops all processes inside, at once and unseen by them, and returns
        when all have stopped.

        Starting a command and using files then fail until `thaw`. A signal, a
        kill and a time limit take effect after the thaw. `reset` and `close`
        work. Needs an own cgroup in v2.
        """
        self._core.freeze()

    def thaw(self) -> None:
        """Lets all processes inside continue; nothing happens if they were not
        stopped."""
        self._core.thaw()

    def usage(self) -> SandboxUsage:
        """Returns the use of all processes inside, now and since the open or
        the last reset."""
        return cast("SandboxUsage", json.loads(self._core.usage()))

    def events(self) -> Events:
        """Reports later events by a descriptor: kills for want of memory
        inside, and the sandbox's end. A reset ends the events of before. Needs
        `memory`, which counts the kills."""
        return Events(self._core.events())

    def set_limits(self, **limits: Unpack[Limits]) -> None:
        """Changes limits while commands run: memory, swap, cpus, cpu_weight,
        cpuset, pids, io.

        Each must have been set when the sandbox was opened. Others stay. A
        reset brings the first ones back.
        """
        if strange := limits.keys() - Limits.__annotations__.keys():
            from . import _keywords

            raise _keywords.unknown_key("Sandbox.set_limits", min(strange), Limits.__annotations__.keys())
        self._core.set_limits(json.dumps(limits))

    def effective(self) -> Effective:
        """Returns the restrictions in force: back end, namespaces, cgroup and
        limits, capabilities, filter, masks."""
        return cast("Effective", json.loads(self._core.effective()))

    def pidfd(self) -> int:
        """Returns a descriptor that is readable at any end of the sandbox; the
        caller's to close."""
        return self._core.pidfd()

    def close(self) -> None:
        """Ends all processes inside and returns when nothing of the sandbox is
        left. May be repeated."""
        self.closed = True
        self._core.close()
        _log.debug("%r", self)

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, exc_type: object, value: BaseException | None, traceback: object) -> None:
        # A forked copy of this process has no part in the sandbox.
        if os.getpid() != self._owner:
            return
        with _log.ending("close", self, value):
            self.close()

    def __del__(self, warn: Callable[..., None] = warnings.warn) -> None:
        if not self.closed and os.getpid() == self._owner:
            warn(f"never closed: {self!r}", ResourceWarning, source=self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._image!r} {'closed' if self.closed else 'open'}>"


def shown(image: str | Image) -> str:
    """Shows an image in messages."""
    return image.reference if isinstance(image, Image) else image


def spec_of(
    image: str | Image, store: AnyStore | None, keys: Mapping[str, Any], call: str = "Sandbox"
) -> tuple[_tare.Store, str, _tare.Image | None]:
    """Returns store, spec as JSON, and the image if already opened. `call`
    names the owner of these keywords."""
    if not keys.keys() <= KEYS:
        raise unknown(call, keys)
    spec = {name: value for name, value in keys.items() if value is not None}
    if "env" in spec:
        spec["env"] = _environment(spec["env"])
    if isinstance(spec.get("user"), int):
        spec["user"] = str(spec["user"])
    held = None
    if isinstance(image, Image):
        held = image._core
        store = store or image.store
    else:
        spec["image"] = image
    return opened(store)._core, json.dumps(spec, default=_plain), held


def unknown(call: str, keys: Mapping[str, Any], of_command: Set[str] = frozenset()) -> Error:
    """Returns the error for the first of `keys` that belongs neither to the
    spec nor to `of_command`."""
    from . import _keywords

    return _keywords.unknown_key(call, min(keys.keys() - KEYS - of_command), of_command)


def command_keys(call: str, keys: dict[str, Any]) -> dict[str, Any]:
    """Takes the command's keywords from those of a `run` with a sandbox of its
    own; refuses a keyword of neither."""
    how = {name: keys.pop(name) for name in (ONE_RUN | SUBPROCESS) & keys.keys()}
    if not keys.keys() <= KEYS:
        raise unknown(call, keys, ONE_RUN)
    return how


def _environment(env: object) -> dict[str, str]:
    """Names and values as text. Messages have the name alone: a value may be a
    secret."""
    if not isinstance(env, Mapping):
        raise _wrong_env("", f"a mapping of names to values is needed, not {type(env).__name__}")
    return {_text(name, "", "a name"): _text(value, name, "the value") for name, value in env.items()}


def _text(word: object, name: object, what: str) -> str:
    if not isinstance(word, (str, bytes, os.PathLike)):
        raise _wrong_env(name, f"{what} is {type(word).__name__}, not a text")
    text = os.fsdecode(word)
    try:
        text.encode()
    except UnicodeEncodeError:
        cure = "env of run() and popen(), which takes any bytes"
        raise _wrong_env(name, f"{what} is not UTF-8", cure) from None
    return text


def _wrong_env(name: Any, why: str, cure: str | None = None) -> InvalidError:
    step = f"parse spec: env.{os.fsdecode(name)}" if name else "parse spec: env"
    said = f"{step}: {why}" if cure is None else f"{step}: {why}; try: {cure}"
    return InvalidError(said, "invalid", step, why, cure)


def _plain(value: object) -> object:
    """Converts types unknown to JSON: paths and mappings."""
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, Mapping):
        return dict(value)
    # Without the value, which may hold a secret.
    raise TypeError(f"a spec cannot hold a value of the type {type(value).__name__}")
