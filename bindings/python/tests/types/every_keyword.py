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
    return tare.Sandbox(image, store=store, progress=told, memory="1g", seccomp="off", env={b"A": b"b"})


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
