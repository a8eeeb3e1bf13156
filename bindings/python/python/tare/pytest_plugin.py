# SPDX-License-Identifier: MIT OR Apache-2.0
"""Fixtures for pytest: a fresh sandbox for each test, and the output of its
commands if the test fails.

```python
def test_id(sandbox):
    assert sandbox.run(["id", "-u"]).stdout == b"0\\n"

@pytest.mark.sandbox(memory="64m")
def test_limited(sandbox): ...

async def test_in_a_loop(async_sandbox):
    assert (await async_sandbox.run(["id", "-u"])).stdout == b"0\\n"
```

`sandbox_factory` opens more; `module_sandbox_factory` and
`session_sandbox_factory` open sandboxes shared by tests. Safe under
pytest-xdist: each worker makes its own sandboxes, and shares the images with
the others.
"""

from __future__ import annotations

import json
import shlex
import weakref
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Callable, Protocol, TypeVar

import pytest

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from . import aio
    from ._call import Call, Told
    from ._sandbox import Sandbox
    from ._store import Image, Store
    from ._tare import _Ended as Ended
    from .spec import SandboxOptions

_T = TypeVar("_T")

# The most shown of each stream, and of commands.
_TAIL = 2000
_COMMANDS = 50


class SandboxFactory(Protocol):
    """Opens a sandbox that is closed at the end of its fixture's scope."""

    def __call__(self, image: str | Image | None = None, **keys: Unpack[SandboxOptions]) -> Sandbox: ...


class AsyncSandboxFactory(Protocol):
    """Opens a sandbox for asyncio, closed at the end of the test."""

    def __call__(self, image: str | Image | None = None, **keys: Unpack[SandboxOptions]) -> aio.Sandbox: ...


class _Entry:
    """A command in a log."""

    def __init__(self, call: Call, process: object | None = None) -> None:
        argv = call.words["argv"]
        words = [word.decode(errors="replace") for word in argv or []]
        self._words = shlex.join(words) if argv else "(the image's command)"
        # Weak, so that the log keeps no process alive; the report asks whether
        # the command runs.
        self._process = None if process is None else weakref.ref(process)
        self._end: Ended | None = None
        self._output: tuple[bytes | None, bytes | None] = (None, None)

    def ended(self, ended: Ended, stdout: bytes | None, stderr: bytes | None) -> None:
        self._end = ended
        self._output = (stdout or self._output[0], stderr or self._output[1])

    def _state(self) -> str:
        process: Any = None if self._process is None else self._process()
        if self._end is None and process is not None and process.returncode is None:
            poll = getattr(process, "poll", None)
            return "started, runs" if poll is None or poll() is None else self._state()
        if self._end is None:
            return "started"
        returncode, reason, _, usage = self._end
        return f"{reason}, {returncode}, {usage[0]:.3f} s"

    def text(self) -> str:
        lines = [f"$ {self._words}  ({self._state()})"]
        for name, data in zip(("stdout", "stderr"), self._output):
            if data:
                cut = "" if len(data) <= _TAIL else f", last {_TAIL} of {len(data)} bytes"
                text = data[-_TAIL:].decode(errors="replace").rstrip("\n")
                lines += [f"  {name}{cut}:", *(f"    {line}" for line in text.split("\n"))]
        return "\n".join(lines)


class _Log:
    """The results of a sandbox's commands in a test."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._entries: list[_Entry] = []
        self._left_out = 0

    def add(self, entry: _Entry) -> None:
        self._entries.append(entry)
        if len(self._entries) > _COMMANDS:
            del self._entries[0]
            self._left_out += 1

    def text(self) -> str:
        first = [f"({self._left_out} more before)"] if self._left_out else []
        return "\n".join(first + [entry.text() for entry in self._entries]) or "(no command was run)"


class _Watcher:
    """Puts a sandbox's commands in the log of the test that runs."""

    def __init__(self, config: pytest.Config, image: str | Image) -> None:
        self._config = config
        self._image = image

    def log(self) -> _Log:
        """The sandbox's log in this test."""
        item = self._config.stash.get(_ITEM, None)
        # Between tests there is no report.
        logs = {} if item is None else item.stash.setdefault(_LOGS, {})
        return logs.setdefault(self, _Log(f"sandbox {len(logs) + 1}: {self._image}"))

    def ended(self, call: Call, ended: Ended, stdout: bytes, stderr: bytes) -> None:
        entry = _Entry(call)
        entry.ended(ended, stdout, stderr)
        self.log().add(entry)

    def started(self, call: Call, process: object) -> Told:
        entry = _Entry(call, process)
        self.log().add(entry)
        return entry.ended


_LOGS = pytest.StashKey[dict[_Watcher, _Log]]()
_ITEM = pytest.StashKey[pytest.Item]()


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, None, None]:
    """Notes the running test, because a test that shares a sandbox has its own
    commands."""
    item.config.stash[_ITEM] = item
    yield


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
    """The keys of the spec for every sandbox: those of the ini file, and over
    them those of the command line."""
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
    # Without options the library is not needed yet.
    from . import _tare
    from ._errors import Error

    # None means the default, as with `Sandbox`.
    given = {key: value for key, value in spec.items() if value is not None}
    try:
        _tare.check_spec(json.dumps(given))
    except Error as error:
        raise pytest.UsageError(f"{said}: {error}") from None


def _opened(said: str, opener: Callable[[], _T]) -> _T:
    """Reports faults of the settings as a single line, because a traceback
    would not help."""
    from ._errors import Error

    try:
        return opener()
    except (Error, OSError) as error:
        wrong = f"{said}: {error}"
    pytest.fail(wrong, pytrace=False)


@pytest.fixture(scope="session")
def sandbox_image(pytestconfig: pytest.Config) -> str | Image:
    """The image of `sandbox`: `--tare-image`, else the ini file's `tare_image`,
    else `host`.

    May be overridden, for example with an `Image` that is brought into the
    store before.
    """
    return _setting(pytestconfig, "tare_image") or "host"


@pytest.fixture(scope="session")
def sandbox_store(pytestconfig: pytest.Config) -> Store | None:
    """The store of all sandboxes: `--tare-store`, else the ini file's
    `tare_store`, else the user's (None)."""
    from ._store import Store

    path = _setting(pytestconfig, "tare_store")
    if path is None:
        return None
    return _opened(f"store {path}", lambda: Store(path))


def _opener(
    request: pytest.FixtureRequest, sandbox_image: str | Image, sandbox_store: Store | None
) -> Generator[SandboxFactory, None, None]:
    from ._sandbox import Sandbox

    config = request.config
    opened: list[Sandbox] = []

    def make(image: str | Image | None = None, **keys: Any) -> Sandbox:
        # A test may expect its own request to be refused.
        asked = image is not None or keys
        image = sandbox_image if image is None else image
        options: dict[str, Any] = config.stash[_OPTIONS]
        spec = {**options, **keys}
        if sandbox_store is not None:
            spec.setdefault("store", sandbox_store)
        sandbox = (
            Sandbox(image, **spec)
            if asked
            else _opened(f"sandbox of {image}", lambda: Sandbox(image, **spec))
        )
        opened.append(sandbox)
        watcher = _Watcher(config, image)
        watcher.log()
        sandbox._watcher = watcher
        return sandbox

    yield make
    for sandbox in reversed(opened):
        sandbox.close()


@pytest.fixture
def sandbox_factory(
    request: pytest.FixtureRequest, sandbox_image: str | Image, sandbox_store: Store | None
) -> Generator[SandboxFactory, None, None]:
    """Opens sandboxes that are closed when the test is over.

    Called with an image (default: `sandbox_image`) and keys of the spec, which
    override `--tare-option`, which overrides the ini file's `tare_options`.
    """
    yield from _opener(request, sandbox_image, sandbox_store)


@pytest.fixture(scope="module")
def module_sandbox_factory(
    request: pytest.FixtureRequest, sandbox_image: str | Image, sandbox_store: Store | None
) -> Generator[SandboxFactory, None, None]:
    """As `sandbox_factory`, for sandboxes that the tests of a module share."""
    yield from _opener(request, sandbox_image, sandbox_store)


@pytest.fixture(scope="session")
def session_sandbox_factory(
    request: pytest.FixtureRequest, sandbox_image: str | Image, sandbox_store: Store | None
) -> Generator[SandboxFactory, None, None]:
    """Works as `sandbox_factory`, for sandboxes that all tests share; under
    xdist those of a worker."""
    yield from _opener(request, sandbox_image, sandbox_store)


@pytest.fixture
def async_sandbox_factory(sandbox_factory: SandboxFactory) -> AsyncSandboxFactory:
    """As `sandbox_factory`, for `tare.aio.Sandbox`: open already, and closed
    when the test is over.

    Needs no plugin for asyncio, and works with each of them: a sandbox belongs
    to no loop.
    """
    from .aio import Sandbox

    def make(image: str | Image | None = None, **keys: Any) -> Sandbox:
        return Sandbox._of(sandbox_factory(image, **keys))

    return make


def _marked(request: pytest.FixtureRequest, image: str | Image, factory: Callable[..., _T]) -> _T:
    """A sandbox as the marks say."""
    spec: dict[str, Any] = {}
    # The nearest marker overrides the outer markers.
    for mark in reversed(list(request.node.iter_markers("sandbox"))):
        spec.update(mark.kwargs)
        image = mark.args[0] if mark.args else image
    image = spec.pop("image", image)
    # A test that only names the fixture expects no refusal.
    return _opened(f"sandbox of {image}", lambda: factory(image, **spec))


@pytest.fixture
def sandbox(
    request: pytest.FixtureRequest, sandbox_image: str | Image, sandbox_factory: SandboxFactory
) -> Sandbox:
    """Opens a fresh sandbox, closed at the end of the test;
    `@pytest.mark.sandbox(...)` gives image and keys."""
    return _marked(request, sandbox_image, sandbox_factory)


@pytest.fixture
def async_sandbox(
    request: pytest.FixtureRequest, sandbox_image: str | Image, async_sandbox_factory: AsyncSandboxFactory
) -> aio.Sandbox:
    """As `sandbox`, for asyncio: a `tare.aio.Sandbox`, open already."""
    return _marked(request, sandbox_image, async_sandbox_factory)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """Attaches the logs to the report of a failure."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for log in item.stash.get(_LOGS, {}).values():
            report.sections.append((log.title, log.text()))
