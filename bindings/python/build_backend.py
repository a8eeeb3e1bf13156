# SPDX-License-Identifier: MIT OR Apache-2.0
"""Builds the wheel: maturin makes the extension, and the command `tare` goes in as a script (PEP 517)."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import maturin  # type: ignore[import-untyped]

HERE = Path(__file__).parent
# Named in pyproject.toml; what lies in it is made here.
SCRIPTS = HERE / "data/scripts"

get_requires_for_build_wheel = maturin.get_requires_for_build_wheel
prepare_metadata_for_build_wheel = maturin.prepare_metadata_for_build_wheel


class UnsupportedOperation(Exception):
    """What the specification wants to be raised."""


def build_sdist(directory: str, settings: dict[str, Any] | None = None) -> str:
    """The workspace around is needed, which an archive of this directory would not have."""
    raise UnsupportedOperation("libtare is built from its repository; install a wheel")


def build_wheel(
    directory: str,
    settings: dict[str, Any] | None = None,
    metadata_directory: str | None = None,
) -> str:
    """Settings are maturin's; `build-args="--profile dev"` builds without optimization."""
    arguments = (settings or {}).get("build-args") or []
    words = shlex.split(arguments) if isinstance(arguments, str) else list(arguments)
    profile = words[words.index("--profile") + 1] if "--profile" in words else "release"
    shutil.rmtree(SCRIPTS, ignore_errors=True)
    SCRIPTS.mkdir(parents=True)
    subprocess.run(["strip", "-o", SCRIPTS / "tare", _command_line(profile)], check=True)
    return str(maturin.build_wheel(directory, settings, metadata_directory))


def _command_line(profile: str) -> str:
    """Builds it; where it is then."""
    build = "cargo build --locked --package tare-cli --message-format json-render-diagnostics"
    command = [*build.split(), "--profile", profile]
    built = subprocess.run(command, cwd=HERE, check=True, stdout=subprocess.PIPE)
    messages = [json.loads(line) for line in built.stdout.splitlines()]
    return next(str(m["executable"]) for m in reversed(messages) if m.get("executable"))
