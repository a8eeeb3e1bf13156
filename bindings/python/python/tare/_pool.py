# SPDX-License-Identifier: MIT OR Apache-2.0
"""The pool."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Callable

from . import _log, _tare
from ._sandbox import Sandbox, shown, spec_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._store import AnyStore, Image, Progress
    from .spec import SandboxOptions


class Pool:
    """Sandboxes made ahead, each used once.

    ```python
    with tare.Pool("debian", min=4) as pool:
        with pool.take() as sb:
            sb.run(["make", "test"])
    ```

    `image`, `store`, `progress` and the keywords are those of `Sandbox`.
    Between `min` and `max` sandboxes wait, depending on demand; the library's
    helper process makes them, without a thread. A taken sandbox never returns
    to the pool; closing it starts its replacement.

    May be used from any thread. `close`, or the end of the `with`, ends waiting
    sandboxes; taken sandboxes live on. A forgotten pool ends with a
    ResourceWarning.
    """

    # None before the open and after the close.
    closed: bool = True
    """True after `close`."""
    _image: str = ""
    _owner: int = 0

    def __init__(
        self,
        image: str | Image = "host",
        *,
        min: int = 2,
        max: int = 16,
        store: AnyStore | None = None,
        progress: Progress | None = None,
        **keys: Unpack[SandboxOptions],
    ) -> None:
        core, text, held = spec_of(image, store, keys, "Pool")
        self._core = _tare.Pool(core, text, min, max, held, progress)
        self._owner = os.getpid()
        self._image = shown(image)
        self.closed = False
        _log.debug("%r opened", self)

    def take(self) -> Sandbox:
        """Takes an unused sandbox: a waiting one, else a sandbox opened now."""
        return Sandbox._of(self._core.take(), self._image)

    @property
    def ready(self) -> int:
        """The number that could be taken now without waiting."""
        return self._core.ready()

    def close(self) -> None:
        """Ends all waiting sandboxes and returns when they are gone. May be
        repeated."""
        self.closed = True
        self._core.close()
        _log.debug("%r", self)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, exc_type: object, value: BaseException | None, traceback: object) -> None:
        # A forked copy of this process has no part in the pool.
        if os.getpid() != self._owner:
            return
        with _log.ending("close", self, value):
            self.close()

    def __del__(self, warn: Callable[..., None] = warnings.warn) -> None:
        if not self.closed and os.getpid() == self._owner:
            warn(f"never closed: {self!r}", ResourceWarning, source=self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._image!r} {'closed' if self.closed else 'open'}>"
