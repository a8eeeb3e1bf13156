# SPDX-License-Identifier: MIT OR Apache-2.0
"""A store for the test run, with real images."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tare

pytest_plugins = ["pytester"]

# A shell's background job ignores SIGINT, and so would every child process.
signal.signal(signal.SIGINT, signal.default_int_handler)


def python(code: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Runs a program in an interpreter of its own."""
    return subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="session")
def images() -> Path:
    """The directory in which tests/images.sh put the real images."""
    return Path(os.environ["TARE_IMAGES"])


@pytest.fixture(scope="session")
def store(images: Path, tmp_path_factory: pytest.TempPathFactory) -> tare.Store:
    """A new store with busybox; also the default store, here and in child
    processes."""
    path = tmp_path_factory.mktemp("store")
    os.environ["TARE_STORE"] = str(path)
    store = tare.Store()
    store.import_image(f"oci:{images}/busybox:latest", "busybox")
    return store


@pytest.fixture(scope="session")
def shared(store: tare.Store) -> Iterator[tare.Sandbox]:
    """A sandbox for tests that leave nothing behind."""
    with tare.Sandbox("busybox") as sandbox:
        yield sandbox


@pytest.fixture
def box(store: tare.Store) -> Iterator[tare.Sandbox]:
    """A sandbox of the test's own."""
    with tare.Sandbox("busybox") as sandbox:
        yield sandbox
