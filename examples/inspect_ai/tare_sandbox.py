# SPDX-License-Identifier: MIT OR Apache-2.0
"""Sandboxes of libtare for inspect_ai: `sandbox=("tare", "debian")` gives each
sample a fresh one."""

from __future__ import annotations

import errno
import posixpath
from typing import Any

import tare.aio
from inspect_ai.util import (
    ExecResult,
    OutputLimitExceededError,
    SandboxEnvironment,
    SandboxEnvironmentLimits,
    SandboxUserUnsupportedError,
    sandboxenv,
)
from pydantic import BaseModel


class TareConfig(BaseModel, frozen=True, extra="allow"):
    """An image, and any other keyword of `tare.Sandbox`:
    `TareConfig(image="debian", memory="1g")`."""

    image: str

    def __hash__(self) -> int:
        return hash(self.model_dump_json())


@sandboxenv(name="tare")
class TareSandboxEnvironment(SandboxEnvironment):
    """A sandbox. Files are read and written with the rights of the user that
    commands run as."""

    def __init__(self, sandbox: tare.aio.Sandbox, user: str, workdir: str) -> None:
        super().__init__()
        self.sandbox, self.user, self.workdir = sandbox, user, workdir

    @classmethod
    def config_deserialize(cls, config: dict[str, Any]) -> BaseModel:
        return TareConfig(**config)

    @classmethod
    async def sample_init(cls, task_name: str, config: Any, metadata: Any) -> dict[str, SandboxEnvironment]:
        if config is None:
            raise ValueError('the sandbox has no image; try: sandbox=("tare", "debian")')
        options = config.model_dump() if isinstance(config, BaseModel) else {"image": config}
        sandbox = await tare.aio.Sandbox(**options)
        try:
            who = await sandbox.run("id -u; id -g; pwd", shell=True, text=True, check=True)
        except BaseException:
            await sandbox.close()
            raise
        uid, gid, workdir = who.stdout.rstrip("\n").split("\n", 2)
        return {"default": cls(sandbox, f"{uid}:{gid}", workdir)}

    @classmethod
    async def sample_cleanup(
        cls, task_name: str, config: Any, environments: dict[str, SandboxEnvironment], interrupted: bool
    ) -> None:
        for environment in environments.values():
            await environment.as_type(TareSandboxEnvironment).sandbox.close()

    async def exec(
        self,
        cmd: list[str],
        input: str | bytes | None = None,
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        user: str | None = None,
        timeout: int | None = None,
        timeout_retry: bool = True,
        concurrency: bool = True,
    ) -> ExecResult[str]:
        limit = SandboxEnvironmentLimits.MAX_EXEC_OUTPUT_SIZE
        try:
            done = await self.sandbox.run(
                cmd,
                input=input.encode() if isinstance(input, str) else input,
                cwd=self._inside(cwd or ""),
                env=env,
                user=user,
                timeout=timeout,
                output_limit=limit,
            )
        except tare.TimeoutExpired as expired:
            raise TimeoutError(str(expired)) from expired
        except tare.OutputLimitExceeded as exceeded:
            said = (exceeded.stdout or b"").decode(errors="replace")
            raise OutputLimitExceededError(SandboxEnvironmentLimits.MAX_EXEC_OUTPUT_SIZE_STR, said) from None
        except (FileNotFoundError, tare.Error) as error:
            # No such program, directory or user.
            return ExecResult(False, 127, "", f"{error}\n")
        except OSError as error:
            if error.errno == errno.EINVAL and user is not None:
                raise SandboxUserUnsupportedError(str(error)) from error
            raise
        code = done.returncode if done.returncode >= 0 else 128 - done.returncode
        out, err = (stream.decode(errors="replace") for stream in (done.stdout, done.stderr))
        return ExecResult(code == 0, code, out, err)

    async def write_file(self, file: str, contents: str | bytes) -> None:
        path = self._inside(file)
        self.sandbox.mkdir(posixpath.dirname(path), parents=True, user=self.user)
        self.sandbox.write_file(path, contents, user=self.user)

    async def read_file(self, file: str, text: bool = True) -> Any:
        limit = SandboxEnvironmentLimits.MAX_READ_FILE_SIZE
        try:
            data = self.sandbox.read_file(self._inside(file), limit=limit, user=self.user)
        except OSError as error:
            if error.errno != errno.EFBIG:
                raise
            raise OutputLimitExceededError(SandboxEnvironmentLimits.MAX_READ_FILE_SIZE_STR, None) from error
        return data.decode() if text else data

    def _inside(self, path: str) -> str:
        return posixpath.join(self.workdir, path)
