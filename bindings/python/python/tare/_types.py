# SPDX-License-Identifier: MIT OR Apache-2.0
"""Types of keyword arguments and reports, for type checkers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from ._call import Environment, Stream, StrOrBytesPath
from .spec import CommonOptions, SandboxOptions

if TYPE_CHECKING:
    from typing_extensions import Literal

    from ._store import AnyStore, Progress


class _CommonCommandOptions(TypedDict, total=False):
    """The keyword arguments of a command alone, not of a sandbox."""

    stdin: Stream
    stdout: Stream
    stderr: Stream
    env: Environment | None
    cwd: StrOrBytesPath | None
    user: int | str | None
    timeout: float | str | None
    shell: bool
    pass_fds: Sequence[int]
    tty: tuple[int, int] | None
    output_limit: int | str | None
    umask: int


class _InPlaceOfTheSandboxs(TypedDict, total=False):
    """The keyword arguments of a command that its sandbox has, too."""

    rlimits: Mapping[str, int | str] | None
    cap_add: Sequence[str] | None
    cap_drop: Sequence[str] | None


class _OnlyRunOptions(TypedDict, total=False):
    """The keyword arguments of `run` alone."""

    input: bytes | str | None
    check: bool
    capture_output: bool


class CommandOptions(_CommonCommandOptions, _InPlaceOfTheSandboxs, total=False):
    """The keyword arguments that all ways to start a command have."""


class RunOptions(CommandOptions, _OnlyRunOptions, total=False):
    """The keyword arguments of `run`."""


class PopenOptions(CommandOptions, total=False):
    """The keyword arguments of `popen`."""

    bufsize: int


class _AsBytes(TypedDict, total=False):
    """Words that leave output as bytes."""

    text: Literal[False] | None
    encoding: None
    errors: None


class BytesRunOptions(RunOptions, _AsBytes, total=False):
    """The keyword arguments of a `run` that returns bytes."""


class BytesPopenOptions(PopenOptions, _AsBytes, total=False):
    """The keyword arguments of a `popen` with streams of bytes."""


_TEXT = frozenset(_AsBytes.__annotations__)
RUN = RunOptions.__annotations__.keys() | _TEXT
"""All keyword arguments of `run`."""
ONE_RUN = RUN - _InPlaceOfTheSandboxs.__annotations__.keys()
"""All keyword arguments of `tare.run` that are the command's."""
POPEN = PopenOptions.__annotations__.keys() | _TEXT
"""All keyword arguments of `popen`."""


KEYS = SandboxOptions.__annotations__.keys() | CommonOptions.__annotations__.keys()
"""All keywords of a sandbox but `image`, `store` and `progress`."""


class OneRunOptions(_CommonCommandOptions, _OnlyRunOptions, CommonOptions, total=False):
    """The keyword arguments of `tare.run` that are the command's and the
    sandbox's."""


class OneRunCall(OneRunOptions, total=False):
    """All keyword arguments of `tare.run`."""

    store: AnyStore | None
    progress: Progress | None


class BytesOneRunCall(OneRunCall, _AsBytes, total=False):
    """The keyword arguments of a `tare.run` that returns bytes."""


class AnyOneRunOptions(OneRunOptions, total=False):
    """The keyword arguments of a `tare.run` that returns bytes or text."""

    text: bool | None
    encoding: str | None
    errors: str | None


class LeftOut(TypedDict):
    """A key of `best_effort` that a sandbox goes without."""

    key: str
    why: str


class Effective(TypedDict):
    """The restrictions in force in a sandbox."""

    name: str
    hostname: str
    storage: str
    unique_inodes: bool | None
    namespaces: list[str]
    ids: str
    capabilities: list[str]
    seccomp: bool
    no_new_privs: bool
    mounts: list[dict[str, Any]]
    masked_paths: list[str]
    readonly_paths: list[str]
    cgroup: dict[str, Any]
    left_out: list[LeftOut]
    labels: dict[str, str]
    notes: list[str]


class SandboxUsage(TypedDict):
    """The use of all processes of a sandbox, now and in total.

    None for a figure that this machine does not count for this sandbox:
    memory, io and pids are counted only with a limit of their kind.
    """

    memory: int | None
    memory_peak: int | None
    user_us: int | None
    system_us: int | None
    io_read: int | None
    io_written: int | None
    pids: int | None
    pids_peak: int | None
    oom_kills: int | None


class Check(TypedDict):
    """One thing that `doctor` looked at."""

    name: str
    ok: bool
    matter: str
    found: str
    cure: str | None


class Report(TypedDict):
    """The report on this machine."""

    ok: bool
    kernel: str
    uid: int
    checks: list[Check]


class Layer(TypedDict):
    """A layer of an image."""

    digest: str
    diff_id: str
    size: int


class ImageConfig(TypedDict):
    """An image's configuration for running."""

    env: list[str]
    entrypoint: list[str]
    cmd: list[str]
    workdir: str | None
    user: str | None
    exposed_ports: list[str]
    volumes: list[str]
    labels: dict[str, str]
    stop_signal: int | None


class StoredImage(TypedDict):
    """One line of the list of images."""

    name: str | None
    digest: str
    size: int
    created: str | None
    architecture: str
    layers: int
    damage: str | None


class Problem(TypedDict):
    """One thing that is wrong in a store."""

    subject: str
    why: str


class StoreReport(TypedDict):
    """The result of a check of a store, and of the repair."""

    images: int
    blobs: int
    bytes: int
    layers: int
    problems: list[Problem]
    removed: int
