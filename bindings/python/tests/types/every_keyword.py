# SPDX-License-Identifier: MIT OR Apache-2.0
"""Every keyword of every call, each with a right value, for check_types.py: a
type checker finds nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tare
import tare.aio

if TYPE_CHECKING:
    from typing_extensions import Unpack, assert_type


def told(layer: int, layers: int, digest: str, done: int, total: int) -> None:
    """Receives the progress of an import."""


def of_a_sandbox(image: tare.Image, store: tare.Store) -> tare.Sandbox:
    return tare.Sandbox(
        image,
        store=store,
        progress=told,
        write="memory",
        storage="auto",
        mounts=[
            "/src:/w:cow",
            {"type": "bind", "source": Path("/src"), "target": "/w", "options": ["ro"]},
            {"type": "tmpfs", "target": "/t", "options": ["size=1m"]},
        ],
        env=os.environ,
        workdir=Path("/w"),
        user=1000,
        groups=["audio", "7"],
        hostname="box",
        extra_hosts=["db:10.0.0.1"],
        sysctls={"net.core.somaxconn": "1024"},
        network={"join": "/run/netns/x"},
        limits={
            "memory": "1g",
            "swap": 0,
            "cpus": "1.5",
            "cpu_weight": 100,
            "cpuset": "0-1",
            "pids": 10,
            "io": 100,
            "disk": "1g",
            "shm": 1 << 26,
            "output": "1m",
            "rlimits": {"nofile": "10:20", "core": 0},
        },
        security={
            "profile": "strict",
            "cap_add": ["NET_RAW"],
            "cap_drop": ["ALL"],
            "seccomp": {"defaultAction": "SCMP_ACT_ALLOW"},
            "no_new_privs": True,
            "masked_paths": [Path("/proc/kcore")],
            "readonly_paths": ["/sys"],
            "devices": ["/dev/fuse"],
            "device_rules": ["c 10:200 rwm"],
        },
        namespaces={
            "user": {"maps": {"uids": [{"inside": 0, "outside": 1000, "count": 1}], "gids": []}},
            "ipc": True,
            "uts": True,
            "cgroup": False,
        },
        init="tare",
        best_effort=["limits.memory"],
        labels={"a": "b"},
        memory=1 << 30,
        swap="0",
        cpus=1.5,
        cpu_weight=100,
        cpuset="0-1",
        pids=10,
        io=100,
        disk="1g",
        shm="64m",
        output="1m",
        rlimits={"core": 0},
        profile="default",
        cap_add=["NET_RAW"],
        cap_drop=["ALL"],
        seccomp="off",
        no_new_privs=False,
        masked_paths=[Path("/proc/kcore"), "/sys"],
        readonly_paths=[],
        devices=["/dev/fuse"],
        device_rules=["c 10:200 rwm"],
    )


def of_a_command(sandbox: tare.Sandbox, flag: bool, pipe: int) -> None:
    sandbox.run(
        ["true"],
        text=True,
        encoding="utf-8",
        errors="strict",
        stdin=tare.DEVNULL,
        stdout=tare.PIPE,
        stderr=tare.STDOUT,
        env={b"A": b"b"},
        cwd=b"/w",
        user="nobody:users",
        timeout="1m30s",
        shell=False,
        pass_fds=[pipe],
        tty=(24, 80),
        output_limit="1m",
        rlimits={"nofile": "10:20", "core": 0},
        cap_add=["KILL"],
        cap_drop=["ALL"],
        umask=0o077,
        input="x",
        check=True,
    )
    sandbox.run("true", capture_output=True, shell=True)
    assert_type(sandbox.run(["true"]), tare.CompletedProcess[bytes])
    assert_type(sandbox.run(["true"], text=True), tare.CompletedProcess[str])
    assert_type(sandbox.run(["true"], text=False), tare.CompletedProcess[bytes])
    assert_type(sandbox.run(["true"], text=flag), tare.CompletedProcess[Any])
    assert_type(tare.run("host", ["true"], text=True, memory="1g", umask=0), tare.CompletedProcess[str])
    assert_type(tare.run("host", ["true"], text=flag, timeout=5, env=os.environ), tare.CompletedProcess[Any])
    with sandbox.popen(["true"], bufsize=0, text=flag) as process:
        assert_type(process, tare.Popen[Any])
    assert_type(sandbox.popen(["true"], encoding="utf-8"), tare.Popen[str])


async def in_a_loop(image: tare.Image, flag: bool) -> None:
    async with tare.aio.Sandbox(image, store="/srv/store", progress=told, memory="1g") as sandbox:
        assert_type(await sandbox.run(["true"], text=flag), tare.CompletedProcess[Any])
        assert_type(await sandbox.run(["true"], text=True, timeout=5), tare.CompletedProcess[str])
        assert_type(await sandbox.popen(["true"], limit=1 << 20, cwd="/"), tare.aio.Process)
    async with tare.aio.Pool("debian", min=1, max=2, memory="1g") as pool, pool.take() as sandbox:
        assert_type(sandbox, tare.aio.Sandbox)
    assert_type(await tare.aio.run("host", ["true"], memory="1g"), tare.CompletedProcess[bytes])


def handed_on(**keys: Unpack[tare.SandboxOptions]) -> tare.Pool:
    """A user's function with the same keywords."""
    keys.setdefault("network", "none")
    return tare.Pool("debian", min=1, max=2, store=Path("/srv/store"), **keys)
