# SPDX-License-Identifier: MIT OR Apache-2.0
"""Builds the wheel: maturin makes the extension, and the command `tare` goes in
as a script (PEP 517)."""

from __future__ import annotations

import json
import platform
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import maturin  # type: ignore[import-untyped]

HERE = Path(__file__).parent
# Named in pyproject.toml; filled here.
SCRIPTS = HERE / "data/scripts"

get_requires_for_build_wheel = maturin.get_requires_for_build_wheel


class UnsupportedOperation(Exception):
    """Raised as PEP 517 requires."""


def build_sdist(directory: str, settings: dict[str, Any] | None = None) -> str:
    """Refuses an archive of this directory alone, because the workspace around
    is needed."""
    raise UnsupportedOperation("libtare is built from its repository; install a wheel")


def prepare_metadata_for_build_wheel(directory: str, settings: dict[str, Any] | None = None) -> str:
    """Writes name, version and the like, which pip requests before a build."""
    # Maturin needs the directory, which a new clone lacks.
    SCRIPTS.mkdir(parents=True, exist_ok=True)
    return str(maturin.prepare_metadata_for_build_wheel(directory, settings))


def build_wheel(
    directory: str,
    settings: dict[str, Any] | None = None,
    metadata_directory: str | None = None,
) -> str:
    """Settings are maturin's; `build-args="--profile dev"` builds without
    optimization.

    With `sysroot`, the root directory of an older distribution with the
    development files of its C library, the wheel is linked against that
    library. The wheel then runs with any library at least as old, and has a
    name that says so.
    """
    settings = dict(settings or {})
    arguments = settings.pop("build-args", None) or []
    words = shlex.split(arguments) if isinstance(arguments, str) else list(arguments)
    profile = words[words.index("--profile") + 1] if "--profile" in words else "release"
    sysroot = settings.pop("sysroot", None)
    linking = []
    if sysroot:
        root = Path(sysroot).resolve()
        libraries = f"{root}/usr/lib/{platform.machine()}-linux-gnu/"
        # The compiler's own idea of where libraries are goes before the
        # sysroot's; -B before both.
        linking = ["--", f"-Clink-args=--sysroot={root} -B{libraries} -L{libraries}"]
        # The linked library is examined, and a wheel that needs a newer library
        # is refused.
        words += ["--compatibility", "pypi"]
    shutil.rmtree(SCRIPTS, ignore_errors=True)
    SCRIPTS.mkdir(parents=True)
    subprocess.run(["strip", "-o", SCRIPTS / "tare", _command_line(profile, linking)], check=True)
    settings["build-args"] = shlex.join(words + linking)
    return str(maturin.build_wheel(directory, settings, metadata_directory))


def _command_line(profile: str, linking: list[str]) -> str:
    """Builds the program; returns the path."""
    build = "cargo rustc --locked --package tare-cli --bin tare --message-format json-render-diagnostics"
    command = [*build.split(), "--profile", profile, *linking]
    built = subprocess.run(command, cwd=HERE, check=True, stdout=subprocess.PIPE)
    messages = [json.loads(line) for line in built.stdout.splitlines()]
    return next(str(m["executable"]) for m in reversed(messages) if m.get("executable"))
