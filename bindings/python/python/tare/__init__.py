# SPDX-License-Identifier: MIT OR Apache-2.0
"""Containers as a library: an image in, an isolated throwaway command out, no
daemon.

```python
import tare

with tare.Sandbox("host", memory="256m") as sb:
    print(sb.run(["id"], text=True).stdout)
```
"""

from __future__ import annotations

import importlib
import json
import os
from subprocess import DEVNULL, PIPE, STDOUT
from typing import TYPE_CHECKING, Any, cast, overload

from . import _tare
from ._call import Args, CompletedProcess
from ._errors import (
    CalledProcessError,
    Error,
    InvalidError,
    OutputLimitExceeded,
    TimeoutExpired,
    UnknownKeywordError,
    Usage,
)
from ._events import Event, Events
from ._files import Copied, DirEntry
from ._pool import Pool
from ._process import Popen, RunningCommand
from ._sandbox import Sandbox, command_keys
from ._store import AnyStore, Collected, Image, Progress, Recovered, Store, Tree
from ._types import OneRunOptions, PopenOptions, RunOptions
from .spec import SandboxOptions

if TYPE_CHECKING:
    from typing_extensions import Literal, Unpack

    from . import aio as aio
    from ._types import AnyOneRunOptions, BytesOneRunCall, OneRunCall, Report

__all__ = [
    "DEVNULL",
    "FEATURES",
    "PIPE",
    "STDOUT",
    "CalledProcessError",
    "Collected",
    "CompletedProcess",
    "Copied",
    "DirEntry",
    "Error",
    "Event",
    "Events",
    "Image",
    "InvalidError",
    "OneRunOptions",
    "OutputLimitExceeded",
    "Pool",
    "Popen",
    "PopenOptions",
    "Recovered",
    "RunOptions",
    "RunningCommand",
    "Sandbox",
    "SandboxOptions",
    "Store",
    "TimeoutExpired",
    "Tree",
    "UnknownKeywordError",
    "Usage",
    "__version__",
    "doctor",
    "run",
]

__version__: str = _tare.VERSION
FEATURES: list[str] = _tare.FEATURES
"""What was built in: back ends, image sources, compressions."""


@overload
def run(
    image: str | Image, args: Args | None = ..., *, text: Literal[True], **keys: Unpack[OneRunCall]
) -> CompletedProcess[str]: ...
@overload
def run(
    image: str | Image, args: Args | None = ..., *, encoding: str, **keys: Unpack[OneRunCall]
) -> CompletedProcess[str]: ...
@overload
def run(
    image: str | Image, args: Args | None = ..., *, errors: str, **keys: Unpack[OneRunCall]
) -> CompletedProcess[str]: ...
@overload
def run(
    image: str | Image, args: Args | None = ..., **keys: Unpack[BytesOneRunCall]
) -> CompletedProcess[bytes]: ...
@overload
def run(
    image: str | Image,
    args: Args | None = ...,
    *,
    store: AnyStore | None = ...,
    progress: Progress | None = ...,
    **keys: Unpack[AnyOneRunOptions],
) -> CompletedProcess[Any]: ...
def run(
    image: str | Image,
    args: Args | None = None,
    *,
    store: AnyStore | None = None,
    progress: Progress | None = None,
    **keys: Any,
) -> CompletedProcess[Any]:
    """Runs one command in a new sandbox and closes the sandbox: `tare run IMAGE
    COMMAND`.

    The keywords are those of `Sandbox.run` and of `Sandbox`. `env` and `user`
    are the command's; `rlimits`, `cap_add` and `cap_drop` the sandbox's.
    """
    how = command_keys("tare.run", keys)
    with Sandbox(image, store=store, progress=progress, **keys) as sandbox:
        done: CompletedProcess[Any] = sandbox.run(args, **how)
        return done


def doctor(store: str | os.PathLike[str] | None = None) -> Report:
    """Reports the abilities of this machine, and a cure for each missing one.

    Changes nothing and leaves nothing behind. `store` is the directory of a
    possible store.
    """
    return cast("Report", json.loads(_tare.doctor(store)))


def __getattr__(name: str) -> Any:
    # Most programs have no use for asyncio, and importing it takes longer than
    # the rest.
    if name == "aio":
        return importlib.import_module("tare.aio")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "aio"])
