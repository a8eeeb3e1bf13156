# SPDX-License-Identifier: MIT OR Apache-2.0
"""The keywords of `Sandbox` and `Pool`, for type checkers. Written by
spec_types.py from the schema."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict, Union

StrPath = Union[str, "os.PathLike[str]"]
"""A path."""


class _BindMount(TypedDict):
    """A file or directory of the host, an entry of `mounts`."""

    type: Literal["bind", "cow"]
    """`bind` shows the source itself, `cow` a copy-on-write view of a directory."""
    source: StrPath
    """File or directory of the host, with what is mounted below it."""
    target: str
    """Absolute path inside; a missing one is made."""


class BindMount(_BindMount, total=False):
    """A file or directory of the host, an entry of `mounts`."""

    options: Sequence[Literal["ro", "rw", "noexec", "exec", "cow"]]
    """Restrictions; `cow` is the same as the type. Default: empty."""


class _TmpfsMount(TypedDict):
    """A file system in memory, an entry of `mounts`."""

    type: Literal["tmpfs"]
    """An empty file system in memory."""
    target: str
    """Absolute path inside; a missing one is made."""


class TmpfsMount(_TmpfsMount, total=False):
    """A file system in memory, an entry of `mounts`."""

    options: Sequence[str]
    """`ro`, `rw`, `noexec`, `exec`, `size=SIZE`, `mode=OCTAL`. Default: half of memory, mode 1777."""


class JoinNetwork(TypedDict):
    """An existing namespace, by path, for example `/run/netns/blue`."""

    join: str


class Limits(TypedDict, total=False):
    """Ceilings for a sandbox, all of its commands together. A limit that this
    machine cannot enforce is an error unless `best_effort` names it.
    """

    memory: int | str | None
    """Memory, page cache and tmpfs included. Default: no limit."""
    swap: int | str | None
    """Swap on top of `memory`, not the sum of both. Default: no limit; `"0"` forbids swap."""
    cpus: float | str | None
    """Processor time, in processors: `1.5`. Default: no limit."""
    cpu_weight: int | None
    """Share of processor time, 1 to 10000; others have 100. Default: not set."""
    cpuset: str | None
    """Processors to run on, as in cpuset(7): `"0-2,4"`. Default: all."""
    pids: int | None
    """Processes and threads. Default: no limit."""
    io: int | None
    """Share of block input and output, 1 to 10000; others have 100. Default: not set."""
    disk: int | str | None
    """Size of the writable layer, which must be in memory. A file, directory or link is allowed for
    each 4 KiB, but never fewer than 1,024. Default: the kernel's, half of memory.
    """
    shm: int | str
    """Size of `/dev/shm`, which bounds its files as `disk` does. Default: `64m`, as Docker's."""
    output: int | str
    """Bytes captured of a command's output, both streams together. A command that writes more is
    killed with the reason `output`. Default: `64m`.
    """
    rlimits: Mapping[str, int | str]
    """Resource limits by name as in getrlimit(2), without `RLIMIT_`, in lower case: `{"nofile":
    "1024:4096"}`. Default: the caller's own, but `core` 0.
    """


class Security(TypedDict, total=False):
    """Rights of commands."""

    profile: Literal["default", "strict", "privileged"]
    """Start of the lists below. Default: `default`, Docker's."""
    cap_add: Sequence[str]
    """Capabilities added to the profile's, as `NET_ADMIN`, `CAP_NET_ADMIN` or `ALL`. Default: empty."""
    cap_drop: Sequence[str]
    """Capabilities taken from the profile's, before adding. Default: empty."""
    seccomp: Literal["default", "off"] | Mapping[str, Any]
    """The system call filter. Default: the profile's."""
    no_new_privs: bool | None
    """No rights gained from setuid programs. Default: true; false with `privileged`."""
    masked_paths: Sequence[StrPath] | None
    """Hidden paths. Default: Docker's list."""
    readonly_paths: Sequence[StrPath] | None
    """Read-only paths. Default: Docker's list."""
    devices: Sequence[str]
    """Visible devices of the host besides Docker's six, `/dev/fuse` or `/dev/sda:/dev/xvda:rwm`.
    Default: empty.
    """
    device_rules: Sequence[str]
    """Devices that commands may use through any node, cgroups(7): `c 10:200 rwm`, `b 8:* r`, `a`.
    Default: Docker's.
    """


class IdMap(TypedDict):
    """One line of a `uid_map` or `gid_map`, user_namespaces(7)."""

    inside: int
    """First id inside."""
    outside: int
    """First id outside."""
    count: int
    """Number of ids."""


class Maps(TypedDict):
    """The maps of user and group ids, user_namespaces(7)."""

    uids: Sequence[IdMap]
    """User ids."""
    gids: Sequence[IdMap]
    """Group ids."""


class MappedUsers(TypedDict):
    """Made, with these maps."""

    maps: Maps


class Namespaces(TypedDict, total=False):
    """Namespaces of the sandbox's own."""

    user: Literal["auto", "host"] | MappedUsers
    """Default: `auto`."""
    ipc: bool
    """System V IPC and POSIX message queues of its own. Default: true."""
    uts: bool
    """Host name of its own. Default: true."""
    cgroup: bool
    """A view of cgroups that begins at the sandbox's own. Default: true."""


class CommonOptions(TypedDict, total=False):
    """The keywords of a sandbox that no command has. None means the default."""

    write: Literal["memory", "disk", "none"] | None
    """Place of writes to the root. Default: `memory`."""
    storage: Literal["auto", "overlay", "copy"] | None
    """Copy-on-write back end of the root. Default: `auto`."""
    mounts: Sequence[str | BindMount | TmpfsMount] | None
    """More mounts, in order, each `SOURCE:TARGET[:options]` or a table. Default: empty."""
    workdir: StrPath | None
    """Working directory; a missing one is made in an image, but not in `host` or below a mount.
    Default: the image's, else `/`.
    """
    groups: Sequence[str] | None
    """Supplementary groups of every command, by name or number, besides those that `/etc/group` gives
    its user. Default: empty.
    """
    hostname: str | None
    """Host name inside. Default: the first twelve digits of the sandbox's id."""
    extra_hosts: Sequence[str] | None
    """Lines of `/etc/hosts`, each `NAME:ADDRESS` or `NAME=ADDRESS`. Default: empty."""
    sysctls: Mapping[str, str] | None
    """Kernel parameters of the sandbox's own namespaces, sysctl(8): `{"net.core.somaxconn": "1024"}`.
    Default: Docker's two, which let everyone ping and listen on any port.
    """
    network: Literal["none", "host"] | JoinNetwork | None
    """Visible network. Default: `none`, a loopback of its own."""
    limits: Limits | None
    """Ceilings on what commands may use. Default: `output` alone."""
    security: Security | None
    """Capabilities, seccomp, masks and devices. Default: Docker's, plus `no_new_privs`."""
    namespaces: Namespaces | None
    """Namespaces of the sandbox's own. Default: all; `user` for ordinary users only."""
    init: Literal["tare"] | None
    """Process 1. Default: `tare`, the resident init."""
    best_effort: (
        Sequence[
            Literal[
                "limits",
                "security",
                "limits.memory",
                "limits.swap",
                "limits.cpus",
                "limits.cpu_weight",
                "limits.cpuset",
                "limits.pids",
                "limits.io",
                "limits.disk",
                "security.devices",
            ]
        ]
        | None
    )
    """Keys that may be left out where this machine cannot enforce them. `effective` lists each that
    was left out. Default: empty, so such a key is an error.
    """
    labels: Mapping[str, str] | None
    """Free text of the caller, shown in `effective`. Default: empty."""
    memory: int | str | None
    """Memory, page cache and tmpfs included. Default: no limit."""
    swap: int | str | None
    """Swap on top of `memory`, not the sum of both. Default: no limit; `"0"` forbids swap."""
    cpus: float | str | None
    """Processor time, in processors: `1.5`. Default: no limit."""
    cpu_weight: int | None
    """Share of processor time, 1 to 10000; others have 100. Default: not set."""
    cpuset: str | None
    """Processors to run on, as in cpuset(7): `"0-2,4"`. Default: all."""
    pids: int | None
    """Processes and threads. Default: no limit."""
    io: int | None
    """Share of block input and output, 1 to 10000; others have 100. Default: not set."""
    disk: int | str | None
    """Size of the writable layer, which must be in memory. A file, directory or link is allowed for
    each 4 KiB, but never fewer than 1,024. Default: the kernel's, half of memory.
    """
    shm: int | str | None
    """Size of `/dev/shm`, which bounds its files as `disk` does. Default: `64m`, as Docker's."""
    output: int | str | None
    """Bytes captured of a command's output, both streams together. A command that writes more is
    killed with the reason `output`. Default: `64m`.
    """
    rlimits: Mapping[str, int | str] | None
    """Resource limits by name as in getrlimit(2), without `RLIMIT_`, in lower case: `{"nofile":
    "1024:4096"}`. Default: the caller's own, but `core` 0.
    """
    profile: Literal["default", "strict", "privileged"] | None
    """Start of the lists below. Default: `default`, Docker's."""
    cap_add: Sequence[str] | None
    """Capabilities added to the profile's, as `NET_ADMIN`, `CAP_NET_ADMIN` or `ALL`. Default: empty."""
    cap_drop: Sequence[str] | None
    """Capabilities taken from the profile's, before adding. Default: empty."""
    seccomp: Literal["default", "off"] | Mapping[str, Any] | None
    """The system call filter. Default: the profile's."""
    no_new_privs: bool | None
    """No rights gained from setuid programs. Default: true; false with `privileged`."""
    masked_paths: Sequence[StrPath] | None
    """Hidden paths. Default: Docker's list."""
    readonly_paths: Sequence[StrPath] | None
    """Read-only paths. Default: Docker's list."""
    devices: Sequence[str] | None
    """Visible devices of the host besides Docker's six, `/dev/fuse` or `/dev/sda:/dev/xvda:rwm`.
    Default: empty.
    """
    device_rules: Sequence[str] | None
    """Devices that commands may use through any node, cgroups(7): `c 10:200 rwm`, `b 8:* r`, `a`.
    Default: Docker's.
    """


class SandboxOptions(CommonOptions, total=False):
    """The keywords of `Sandbox` and `Pool`: the keys of the spec, those of its
    `limits` and `security` too. None means the default.
    """

    env: Mapping[str, str] | Mapping[bytes, bytes] | None
    """Environment over the image's own. Default: empty."""
    user: str | int | None
    """`USER[:GROUP]`, by name or number. Default: the image's, else `0:0`."""
