# SPDX-License-Identifier: MIT OR Apache-2.0
"""The sandbox."""

from __future__ import annotations

import json
import os
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, cast, overload

from . import _tare
from ._call import Args, Call, CompletedProcess, Text
from ._files import Files
from ._process import Popen
from ._store import Image, Store, default_store

if TYPE_CHECKING:
    from typing_extensions import Literal, Unpack

    from ._tare import _Ended as Ended
    from ._types import Effective, PopenOptions, RunOptions

Progress = Callable[[int, int, str, int, int], object]
"""Told how far an import is: layer, of how many, its digest, bytes done, of how many."""


class Sandbox(Files):
    """A clean, isolated, throwaway environment.

    ```python
    with tare.Sandbox("debian", memory="256m", mounts=["src:/w:cow"]) as sb:
        sb.run(["make"], cwd="/w", timeout=60, check=True)
    ```

    `image` is a reference, or an `Image`. The keywords are the keys of the spec; those of its `limits` and
    `security` may be given directly. One that is not known is refused with the nearest that is. None means
    the default.

    May be used from any thread, with any number of commands at once. `close`, or the end of the `with`, ends
    everything inside and comes back when nothing is left; so does the end of this process, however it ends. One
    that is just forgotten ends, too.
    """

    # Told of every command: the call, how it ended unless it has just begun, its output.
    _seen: Callable[[Call, Ended | None, bytes, bytes], None] | None = None

    def __init__(
        self,
        image: str | Image = "host",
        *,
        store: Store | None = None,
        progress: Progress | None = None,
        **keys: Any,
    ) -> None:
        self._open(image, None, store, progress, keys)

    @classmethod
    def open_in(cls, root: str | os.PathLike[str], *, store: Store | None = None, **keys: Any) -> Sandbox:
        """One whose root is a directory as it is, without copy-on-write: what commands write stays."""
        sandbox = cls.__new__(cls)
        sandbox._open("host", root, store, None, keys)
        return sandbox

    def _open(
        self,
        image: str | Image,
        root: str | os.PathLike[str] | None,
        store: Store | None,
        progress: Progress | None,
        keys: dict[str, Any],
    ) -> None:
        core, text, held = spec_of(image, store, keys)
        self._hold(_tare.Sandbox(core, text, held, root, progress))

    @classmethod
    def _of(cls, core: _tare.Sandbox) -> Sandbox:
        """One that is open already."""
        sandbox = cls.__new__(cls)
        sandbox._hold(core)
        return sandbox

    def _hold(self, core: _tare.Sandbox) -> None:
        self._owner = os.getpid()
        self._core = core
        self._files = _tare.Files(core)

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
    def run(
        self,
        args: Args | None = ...,
        *,
        text: Literal[False] | None = ...,
        encoding: None = ...,
        errors: None = ...,
        **options: Unpack[RunOptions],
    ) -> CompletedProcess[bytes]: ...

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

        Options: stdin, input, stdout, stderr, capture_output, env, cwd, user, timeout, check, shell, pass_fds,
        tty, output_limit.

        What differs from there: without `args` it is the image's own command; input is empty and output is
        captured unless told otherwise (`capture_output=False`: the caller's own); `env` is added to the
        sandbox's environment; text is UTF-8 unless `encoding` says otherwise; `timeout` may be a duration such
        as "1m30s", too; `tty` gives it a terminal of (rows, columns); `output_limit` replaces the spec's
        `output`. What it leaves in the background lives on and is not waited for.

        After `timeout` seconds, or when this call is interrupted, it is killed with everything that it started.

        Raises `TimeoutExpired` with what it wrote until then; `OutputLimitExceeded` with what was kept if it
        wrote more than `output_limit`; `CalledProcessError` if `check` is true and it did not succeed;
        `FileNotFoundError` if the program is not there, `PermissionError` if it is not
        executable.
        """
        call = Call.of_run(args, Text.of(text, encoding, errors), options)
        ended, stdout, stderr = self._core.run(call.words)
        if self._seen is not None:
            self._seen(call, ended, stdout, stderr)
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
    def popen(
        self,
        args: Args | None = ...,
        *,
        text: Literal[False] | None = ...,
        encoding: None = ...,
        errors: None = ...,
        **options: Unpack[PopenOptions],
    ) -> Popen[bytes]: ...

    def popen(
        self,
        args: Args | None = None,
        *,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        **options: Unpack[PopenOptions],
    ) -> Popen[Any]:
        """Starts a command and comes back while it runs, as `subprocess.Popen` does.

        Options: stdin, stdout, stderr, env, cwd, user, timeout, shell, pass_fds, tty, output_limit, bufsize.

        Its output is the caller's own unless told otherwise, its input empty; the rest is as with `run`. After
        `timeout` seconds it is killed with everything that it started, whether anybody waits or not, and its
        reason is `timeout`.
        """
        bufsize = options.pop("bufsize", -1)
        call = Call(args, Text.of(text, encoding, errors), options)
        process: Popen[Any] = Popen(self, call, bufsize)
        if self._seen is not None:
            self._seen(call, None, b"", b"")
        return process

    def reset(self) -> None:
        """Ends everything inside and starts again from the image."""
        self._core.reset()

    def effective(self) -> Effective:
        """What is really in force: back end, namespaces, cgroup and limits, capabilities, filter, masks."""
        return cast("Effective", json.loads(self._core.effective()))

    def pidfd(self) -> int:
        """A descriptor that is readable when the sandbox is gone, for whatever reason; the caller's to close."""
        return self._core.pidfd()

    def close(self) -> None:
        """Ends everything inside and comes back when nothing of it is left. Again is no mistake."""
        self._core.close()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # A forked copy of this process that leaves the block has no part in it.
        if os.getpid() == self._owner:
            self.close()


def spec_of(
    image: str | Image, store: Store | None, keys: dict[str, Any]
) -> tuple[_tare.Store, str, _tare.Image | None]:
    """Store, spec as JSON, and the image if it was looked up before."""
    spec = {name: value for name, value in keys.items() if value is not None}
    held = None
    if isinstance(image, Image):
        held = image._core
        store = store or image.store
    else:
        spec["image"] = image
    store = store or default_store()
    return store._core, json.dumps(spec, default=_plain), held


def _plain(value: object) -> object:
    """What JSON does not know: paths."""
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    raise TypeError(f"a spec cannot hold {value!r}")
