# SPDX-License-Identifier: MIT OR Apache-2.0
"""Containers as a library: an image in, an isolated throwaway command out, no daemon.

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
from typing import TYPE_CHECKING, Any, cast

from . import _tare
from ._call import Args, CompletedProcess
from ._errors import CalledProcessError, Error, OutputLimitExceeded, TimeoutExpired, Usage
from ._files import Copied, DirEntry
from ._keywords import SUBPROCESS
from ._pool import Pool
from ._process import Popen
from ._sandbox import Sandbox
from ._store import Collected, Image, Recovered, Store, Tree
from ._types import RUN

if TYPE_CHECKING:
    from . import aio as aio
    from ._types import Report

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
    "Image",
    "OutputLimitExceeded",
    "Pool",
    "Popen",
    "Recovered",
    "Sandbox",
    "Store",
    "TimeoutExpired",
    "Tree",
    "Usage",
    "__version__",
    "doctor",
    "run",
]

__version__: str = _tare.VERSION
FEATURES: list[str] = _tare.FEATURES
"""What was built in: back ends, image sources, compressions."""


def run(image: str | Image, args: Args | None = None, **keys: Any) -> CompletedProcess[Any]:
    """Runs one command in a sandbox of its own, which is gone afterwards: `tare run IMAGE COMMAND`.

    The keywords are those of `Sandbox.run` and of `Sandbox`.
    """
    how = {name: keys.pop(name) for name in (RUN | SUBPROCESS) & keys.keys()}
    with Sandbox(image, **keys) as sandbox:
        return sandbox.run(args, **how)


def doctor(store: str | os.PathLike[str] | None = None) -> Report:
    """What this machine can do, and for each thing it cannot, the setting or package that would cure it.

    Changes nothing and leaves nothing behind. `store` is the directory that a store would be in.
    """
    return cast("Report", json.loads(_tare.doctor(store)))


def __getattr__(name: str) -> Any:
    # Most have no use for asyncio, and importing it takes longer than all of this.
    if name == "aio":
        return importlib.import_module("tare.aio")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
