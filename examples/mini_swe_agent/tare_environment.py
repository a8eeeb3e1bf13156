# SPDX-License-Identifier: MIT OR Apache-2.0
"""Sandboxes of libtare for mini-swe-agent: `--environment-class
tare_environment.TareEnvironment`."""

from __future__ import annotations

from typing import Any

import tare
from minisweagent.environments.docker import DockerEnvironment
from pydantic import BaseModel


class TareEnvironmentConfig(BaseModel, extra="allow"):
    """An image, how commands run, and any other keyword of `tare.Sandbox`:
    `memory="1g"`."""

    image: str
    cwd: str = "/"
    env: dict[str, str] = {}
    timeout: int = 30
    interpreter: list[str] = ["bash", "-lc"]


class TareEnvironment(DockerEnvironment):
    """A sandbox for a task; each action is a command inside. All but the
    container is as with Docker."""

    def __init__(self, *, config_class: type = TareEnvironmentConfig, **kwargs: Any) -> None:
        super().__init__(config_class=config_class, **kwargs)

    def _start_container(self) -> None:
        self.sandbox = tare.Sandbox(self.config.image, env=self.config.env, **self.config.model_extra)

    def execute(self, action: dict[str, Any], cwd: str = "", *, timeout: int | None = None) -> dict[str, Any]:
        command = [*self.config.interpreter, action.get("command", "")]
        how: dict[str, Any] = {"cwd": cwd or self.config.cwd, "timeout": timeout or self.config.timeout}
        output: dict[str, Any] = {"returncode": -1, "exception_info": ""}
        try:
            done = self.sandbox.run(
                command, stdout=tare.PIPE, stderr=tare.STDOUT, text=True, errors="replace", **how
            )
            output.update(output=done.stdout, returncode=done.returncode)
        except Exception as error:
            output["output"] = (getattr(error, "output", None) or b"").decode(errors="replace")
            output["exception_info"] = f"An error occurred while executing the command: {error}"
            output["extra"] = {"exception_type": type(error).__name__, "exception": str(error)}
        self._check_finished(output)
        return output

    def cleanup(self) -> None:
        if hasattr(self, "sandbox"):
            self.sandbox.close()
