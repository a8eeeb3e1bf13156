# SPDX-License-Identifier: MIT OR Apache-2.0
"""The pool."""

from __future__ import annotations

import os
from types import TracebackType
from typing import TYPE_CHECKING, Any

from . import _tare
from ._sandbox import Progress, Sandbox, spec_of

if TYPE_CHECKING:
    from ._store import Image, Store


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

    May be used from any thread. `close`, or the end of the `with`, ends what waits; what was taken lives on.
    """

    def __init__(
        self,
        image: str | Image = "host",
        *,
        min: int = 2,
        max: int = 16,
        store: Store | None = None,
        progress: Progress | None = None,
        **keys: Any,
    ) -> None:
        self._owner = os.getpid()
        core, text, held = spec_of(image, store, keys)
        self._core = _tare.Pool(core, text, min, max, held, progress)

    def take(self) -> Sandbox:
        """A sandbox that nobody has used: one that waits, else one that is opened now."""
        return Sandbox._of(self._core.take())

    @property
    def ready(self) -> int:
        """How many could be taken now without waiting."""
        return self._core.ready()

    def close(self) -> None:
        """Ends all that wait and comes back when nothing of them is left. Again is no mistake."""
        self._core.close()

    def __enter__(self) -> Pool:
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
