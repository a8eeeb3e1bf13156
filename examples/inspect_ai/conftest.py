# SPDX-License-Identifier: MIT OR Apache-2.0
"""A sandbox for each of inspect_ai's checks."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import tare
from inspect_ai.util import SandboxEnvironment
from tare_sandbox import TareConfig, TareSandboxEnvironment

IMAGES = os.environ.get("TARE_IMAGES", Path(__file__).parents[2] / "target/images")
COMMON: dict[str, Any] = {
    "image": f"oci:{IMAGES}/debian:latest",
    # The checks look for processes with ps(1), which the image does not have.
    "mounts": [f"{shutil.which('busybox')}:/usr/local/bin/ps:ro"],
}
# Checks that no sandbox with a single id can satisfy, user_namespaces(7), and
# the kernel's answer.
WITH_ONE_ID = {"test_exec_as_user": "adduser: chown 1000:1000 /home/USER: EINVAL (Invalid argument)"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def one_id() -> bool:
    """Returns whether sandboxes of the caller have user 0 alone."""
    with tare.Sandbox("host") as sandbox:
        return sandbox.effective()["ids"] == "single"


@pytest.fixture
def config(one_id: bool) -> TareConfig:
    if not one_id:
        return TareConfig(**COMMON, user="nobody", workdir="/tmp")
    # The checks want to see a mode refuse something, and this capability
    # overrides modes.
    return TareConfig(**COMMON, workdir="/root", cap_drop=["DAC_OVERRIDE"])


@pytest.fixture
async def sandbox_env(
    request: pytest.FixtureRequest, config: TareConfig, one_id: bool
) -> AsyncIterator[SandboxEnvironment]:
    reason = WITH_ONE_ID.get(request.node.originalname)
    if one_id and reason is not None:
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
    environments = await TareSandboxEnvironment.sample_init("self_check", config, {})
    yield environments["default"]
    await TareSandboxEnvironment.sample_cleanup("self_check", config, environments, False)
