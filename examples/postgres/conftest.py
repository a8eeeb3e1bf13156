# SPDX-License-Identifier: MIT OR Apache-2.0
"""A new PostgreSQL server for each test: a fresh sandbox, with the cluster of
the image."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import psycopg
import pytest
import tare
from tare.pytest_plugin import SandboxFactory

# The server's socket, and settings without durability, because a database lives
# for a single test.
INSIDE = "/run/postgresql"
SETTINGS = ["-c", "listen_addresses=", "-c", "fsync=off", "-c", "full_page_writes=off"]
SERVER = ["/usr/lib/postgresql/15/bin/postgres", "-D", "/var/lib/postgresql/data", *SETTINGS]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--engine", choices=["tare", "docker"], default="tare", help="what runs the servers")
    parser.addoption(
        "--docker-image", default="postgres-of-libtare", help="the image's name in Docker's engine"
    )


class Server(Protocol):
    """A server that was started."""

    def failure(self) -> str | None:
        """The server's output, if it has ended."""


class InSandbox:
    """The server as a process of a sandbox."""

    def __init__(self, factory: SandboxFactory, sockets: str) -> None:
        self.log = tempfile.TemporaryFile()
        self.sandbox = factory(mounts=[f"{sockets}:{INSIDE}"])
        self.process = self.sandbox.popen(SERVER, stdout=self.log, stderr=tare.STDOUT)

    def failure(self) -> str | None:
        if self.process.poll() is None:
            return None
        self.log.seek(0)
        return self.log.read().decode(errors="replace")


class InDocker:
    """The same with `docker run`, to compare."""

    def __init__(self, image: str, sockets: str) -> None:
        command = [
            "docker",
            "run",
            "--detach",
            "--network=none",
            f"--volume={sockets}:{INSIDE}",
            image,
            *SERVER,
        ]
        self.id = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def failure(self) -> str | None:
        inspect = ["docker", "inspect", "--format={{.State.Running}}", self.id]
        if subprocess.run(inspect, capture_output=True, text=True).stdout == "true\n":
            return None
        return subprocess.run(["docker", "logs", self.id], capture_output=True, text=True).stderr

    def close(self) -> None:
        subprocess.run(["docker", "rm", "--force", "--volumes", self.id], check=True, capture_output=True)


@pytest.fixture(scope="session")
def sandbox_image() -> str:
    """The image that `tests/images.sh postgres` makes."""
    images = os.environ.get("TARE_IMAGES", Path(__file__).parents[2] / "target/images")
    return f"oci:{images}/postgres:latest"


@pytest.fixture
def sockets() -> Iterator[str]:
    """A directory of the host for the server's socket; its path must be short,
    unix(7)."""
    with tempfile.TemporaryDirectory(prefix="pg") as path:
        # The server's user differs from root inside.
        os.chmod(path, 0o777)
        yield path


@pytest.fixture
def server(request: pytest.FixtureRequest, sockets: str) -> Iterator[Server]:
    """An unused server."""
    if request.config.getoption("engine") == "tare":
        yield InSandbox(request.getfixturevalue("sandbox_factory"), sockets)
        return
    docker = InDocker(request.config.getoption("docker_image"), sockets)
    yield docker
    docker.close()


@pytest.fixture
def database(server: Server, sockets: str) -> Iterator[psycopg.Connection]:
    """A connection to the server as its superuser, who is alone there."""
    with connect(server, sockets) as connection:
        yield connection


def connect(server: Server, sockets: str, **words: str) -> psycopg.Connection:
    """Connects as soon as the server is ready."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return psycopg.connect(**{"host": sockets, "user": "postgres", "autocommit": True, **words})
        except psycopg.OperationalError as error:
            said = server.failure()
            if said is not None:
                raise RuntimeError(f"the server has ended: {said}") from error
            if time.monotonic() > deadline:
                raise
            time.sleep(0.002)
