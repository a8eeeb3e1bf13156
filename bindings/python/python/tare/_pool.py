# SPDX-License-Identifier: MIT OR Apache-2.0
"""The pool."""

from __future__ import annotations

import os
import warnings
from types import TracebackType
from typing import TYPE_CHECKING, Callable

from . import _log, _tare
from ._sandbox import Progress, Sandbox, shown, spec_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._store import AnyStore, Image
    from .spec import SandboxOptions


class Pool:
    """Sandboxes made ahead, each used once.

    ```python
    with tare.Pool("debian", min=4) as pool:
        with pool.take() as sb:
            sb.run(["make", "test"])
    ```

    `image`, `store`, `progress` and the keywords are those of `Sandbox`. Between `min` and `max` sandboxes wait,
    depending on how they are taken; the library's helper process makes them, so there is no thread for it. A
    sandbox that was taken never comes back: when it is closed, the next one is begun.

    May be used from any thread. `close`, or the end of the `with`, ends what waits; what was taken lives on. A
    pool that is just forgotten ends, too, with a ResourceWarning.
    """

    # Until it is open, and when it was closed.
    closed: bool = True
    """Whether `close` was called."""
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
        """A sandbox that nobody has used: one that waits, else one that is opened now."""
        return Sandbox._of(self._core.take(), self._image)

    @property
    def ready(self) -> int:
        """How many could be taken now without waiting."""
        return self._core.ready()

    def close(self) -> None:
        """Ends all that wait and comes back when nothing of them is left. Again is no mistake."""
        self.closed = True
        self._core.close()
        _log.debug("%r", self)

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # A forked copy of this process that leaves the block has no part in it.
        if os.getpid() != self._owner:
            return
        with _log.ending("close", self, value):
            self.close()

    def __del__(self, warn: Callable[..., None] = warnings.warn) -> None:
        if not self.closed and os.getpid() == self._owner:
            warn(f"never closed: {self!r}", ResourceWarning, source=self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._image!r} {'closed' if self.closed else 'open'}>"
