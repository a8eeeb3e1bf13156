# SPDX-License-Identifier: MIT OR Apache-2.0
"""Events of a sandbox."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from typing_extensions import Literal

    from . import _tare


@dataclass(frozen=True)
class Event:
    """An event of a sandbox."""

    kind: Literal["oom", "gone"]
    """`oom`: the kernel killed processes inside for want of memory. `gone`: the sandbox was closed or reset, or
    its process 1 has died."""
    oom_kills: int = 0
    """The number of killed processes."""


class Events:
    """Events of a sandbox from `Sandbox.events` on, for loops of poll(2),
    `selectors` and the like.

    ```python
    with sb.events() as events:
        selector.register(events, selectors.EVENT_READ)
        ...
        while event := events.next(): ...
    ```

    May be used from any thread; each event is told once.
    """

    def __init__(self, core: _tare.Events) -> None:
        self._core = core

    def fileno(self) -> int:
        """A descriptor that is readable when there may be something for `next`,
        and for good once the sandbox is gone; not to be read from."""
        return self._core.fd()

    def next(self) -> Event | None:
        """Returns the next event since the last call, or None. Never waits.

        Kills come before `gone`, which every later call returns.
        """
        event = self._core.next()
        return None if event is None else Event(cast("Literal['oom', 'gone']", event[0]), event[1])

    def close(self) -> None:
        """Closes the descriptor. Again is no mistake."""
        self._core.close()

    def __enter__(self) -> Events:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()
