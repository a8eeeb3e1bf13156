# SPDX-License-Identifier: MIT OR Apache-2.0
"""Fixtures for pytest: a fresh sandbox for each test, and what its commands wrote where the test fails.

```python
def test_id(sandbox):
    assert sandbox.run(["id", "-u"]).stdout == b"0\\n"

@pytest.mark.sandbox(memory="64m")
def test_limited(sandbox): ...
```

Safe under pytest-xdist: each worker makes sandboxes of its own, and shares the images with the others.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Callable, Protocol, TypeVar

import pytest

if TYPE_CHECKING:
    from ._call import Call
    from ._sandbox import Sandbox
    from ._store import Image, Store
    from ._tare import _Ended as Ended

_T = TypeVar("_T")

# What is shown of each stream, and of how many commands.
_TAIL = 2000
_COMMANDS = 50


class SandboxFactory(Protocol):
    """Opens a sandbox that is closed when the test is over."""

    def __call__(self, image: str | Image | None = None, **keys: Any) -> Sandbox: ...


class _Log:
    """What the commands of one sandbox came to."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._commands: list[str] = []
        self._left_out = 0

    def seen(self, call: Call, ended: Ended | None, stdout: bytes, stderr: bytes) -> None:
        argv = call.words["argv"]
        words = [word.decode(errors="replace") for word in argv or []]
        lines = [f"$ {shlex.join(words)}" if argv else "$ (the image's command)"]
        if ended is None:
            lines[0] += "  (started)"
        else:
            returncode, reason, _, usage = ended
            lines[0] += f"  ({reason}, {returncode}, {usage[0]:.3f} s)"
        for name, data in (("stdout", stdout), ("stderr", stderr)):
            if data:
                cut = "" if len(data) <= _TAIL else f", last {_TAIL} of {len(data)} bytes"
                text = data[-_TAIL:].decode(errors="replace").rstrip("\n")
                lines += [f"  {name}{cut}:", *(f"    {line}" for line in text.split("\n"))]
        self._commands.append("\n".join(lines))
        if len(self._commands) > _COMMANDS:
            del self._commands[0]
            self._left_out += 1

    def text(self) -> str:
        first = [f"({self._left_out} more before)"] if self._left_out else []
        return "\n".join(first + self._commands) or "(no command was run)"


_LOGS = pytest.StashKey[list[_Log]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("tare", "sandboxes")
    image = "image of the fixture `sandbox` (default: host, a copy-on-write view of this machine)"
    store = "directory of the store (default: TARE_STORE, else the user's)"
    option = "key of the spec for every sandbox, such as memory=256m; a value may be JSON"
    group.addoption("--tare-image", metavar="REFERENCE", help=image)
    group.addoption("--tare-store", metavar="DIR", help=store)
    group.addoption("--tare-option", metavar="KEY=VALUE", action="append", default=[], help=option)
    parser.addini("tare_image", image)
    parser.addini("tare_store", store)
    parser.addini("tare_options", f"one each line: {option}", type="linelist")


_OPTIONS = pytest.StashKey[dict[str, Any]]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "sandbox(image=..., **keys): what the fixture `sandbox` is made of")
    # Once and before all tests, not in each of them.
    config.stash[_OPTIONS] = _options(config)


def _setting(config: pytest.Config, name: str) -> str | None:
    return config.getoption(name) or config.getini(name) or None


def _options(config: pytest.Config) -> dict[str, Any]:
    """The keys of the spec for every sandbox: those of the ini file, and over them those of the command line."""
    given = [("tare_options", text) for text in config.getini("tare_options")]
    given += [("--tare-option", text) for text in config.getoption("tare_option")]
    spec: dict[str, Any] = {}
    for source, text in given:
        said = f"{source} {text}"
        key, value = _option(said, text)
        _check(said, {key: value})
        spec[key] = value
    _check("tare_options and --tare-option", spec)
    return spec


def _option(said: str, text: str) -> tuple[str, Any]:
    key, is_pair, value = text.partition("=")
    key = key.strip()
    if not is_pair:
        raise pytest.UsageError(f"{said}: it is no KEY=VALUE")
    if key in ("image", "store"):
        raise pytest.UsageError(f"{said}: it has an option of its own; try: --tare-{key}")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value.strip()


def _check(said: str, spec: dict[str, Any]) -> None:
    if not spec:
        return
    # Who gives no options has no use for it yet.
    from . import _tare
    from ._errors import Error

    # None means the default, as with `Sandbox`.
    given = {key: value for key, value in spec.items() if value is not None}
    try:
        _tare.check_spec(json.dumps(given))
    except Error as error:
        raise pytest.UsageError(f"{said}: {error}") from None


def _opened(said: str, opener: Callable[[], _T]) -> _T:
    """What the settings are to blame for is one line: nothing in a traceback would help."""
    from ._errors import Error

    try:
        return opener()
    except (Error, OSError) as error:
        wrong = f"{said}: {error}"
    pytest.fail(wrong, pytrace=False)


@pytest.fixture(scope="session")
def sandbox_image(pytestconfig: pytest.Config) -> str | Image:
    """The image of `sandbox`: `--tare-image`, else the ini file's `tare_image`, else `host`.

    May be overridden, for example with an `Image` that is brought into the store before.
    """
    return _setting(pytestconfig, "tare_image") or "host"


@pytest.fixture(scope="session")
def sandbox_store(pytestconfig: pytest.Config) -> Store | None:
    """The store of all sandboxes: `--tare-store`, else the ini file's `tare_store`, else the user's (None)."""
    from ._store import Store

    path = _setting(pytestconfig, "tare_store")
    if path is None:
        return None
    return _opened(f"store {path}", lambda: Store(path))


@pytest.fixture
def sandbox_factory(
    request: pytest.FixtureRequest, sandbox_image: str | Image, sandbox_store: Store | None
) -> Generator[SandboxFactory, None, None]:
    """Opens sandboxes that are closed when the test is over.

    Called with an image (default: `sandbox_image`) and the keys of the spec, which go over `--tare-option` and
    those over the ini file's `tare_options`.
    """
    from ._sandbox import Sandbox

    options = request.config.stash[_OPTIONS]
    logs: list[_Log] = request.node.stash.setdefault(_LOGS, [])
    opened: list[Sandbox] = []

    def make(image: str | Image | None = None, **keys: Any) -> Sandbox:
        # What a test itself asks for it may expect to be refused.
        asked = image is not None or keys
        image = sandbox_image if image is None else image
        spec = {**options, **keys}
        if sandbox_store is not None:
            spec.setdefault("store", sandbox_store)
        sandbox = (
            Sandbox(image, **spec)
            if asked
            else _opened(f"sandbox of {image}", lambda: Sandbox(image, **spec))
        )
        opened.append(sandbox)
        log = _Log(f"sandbox {len(logs) + 1}: {image}")
        logs.append(log)
        sandbox._seen = log.seen
        return sandbox

    yield make
    for sandbox in reversed(opened):
        sandbox.close()


@pytest.fixture
def sandbox(
    request: pytest.FixtureRequest, sandbox_image: str | Image, sandbox_factory: SandboxFactory
) -> Sandbox:
    """A fresh sandbox, closed when the test is over; `@pytest.mark.sandbox(...)` says of what it is made."""
    spec: dict[str, Any] = {}
    image = sandbox_image
    # The nearest goes over those around it.
    for mark in reversed(list(request.node.iter_markers("sandbox"))):
        spec.update(mark.kwargs)
        image = mark.args[0] if mark.args else image
    image = spec.pop("image", image)
    # Nobody else could be told.
    return _opened(f"sandbox of {image}", lambda: sandbox_factory(image, **spec))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """Attaches the logs to the report of what failed."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for log in item.stash.get(_LOGS, []):
            report.sections.append((log.title, log.text()))
