# SPDX-License-Identifier: MIT OR Apache-2.0
"""Follows the cures of messages, and sees success. `tests/cures.txt` names the
test of each cure."""

from __future__ import annotations

import asyncio
import os
import platform
import signal
from pathlib import Path
from typing import Any, Callable

import pytest
import tare
import tare.aio
from tare import PIPE, _keywords

WRONG: Any = object()
TEXT = {"text", "encoding", "errors"}
"""What tare.aio alone refuses."""


def cure_of(call: Callable[..., object], *args: Any, **keys: Any) -> str:
    """Returns the error of a call."""
    with pytest.raises((TypeError, ValueError, tare.Error)) as caught:
        call(*args, **keys)
    _, cure = str(caught.value).split("; try: ")
    assert getattr(caught.value, "cure", cure) == cure
    return cure


def pasted(cure: str, **names: object) -> dict[str, Any]:
    """The keywords that a cure writes down."""
    keys: dict[str, Any] = eval(f"dict({cure.replace(' and ', ', ')})", {"PIPE": PIPE}, names)
    return keys


def output(box: tare.Sandbox, *args: Any, **keys: Any) -> str:
    said: str = box.run(*args, text=True, check=True, **keys).stdout
    return said.strip()


def session(box: tare.Sandbox) -> None:
    pid, own = output(box, ["cut", "-d ", "-f1,6", "/proc/self/stat"]).split()
    assert pid == own


def defaults(box: tare.Sandbox) -> None:
    assert box.run("kill -PIPE $$", shell=True).returncode == -signal.SIGPIPE


def closed(box: tare.Sandbox) -> None:
    ours, theirs = os.pipe()
    os.set_inheritable(theirs, True)
    assert len(output(box, ["ls", "/proc/self/fd"]).split()) == 4
    assert len(output(box, ["ls", "/proc/self/fd"], pass_fds=[theirs]).split()) == 5
    os.close(ours)
    os.close(theirs)


def piped(box: tare.Sandbox, cure: str) -> None:
    process = box.popen(["sh", "-c", "echo out; echo err >&2"], **pasted(cure))
    assert process.communicate() == (b"out\n", b"err\n")


def fed(box: tare.Sandbox, cure: str) -> None:
    keys = pasted(cure.split(", and ")[0])
    assert box.popen(["cat"], stdout=PIPE, **keys).communicate(b"in")[0] == b"in"


def as_text(box: tare.Sandbox, name: str) -> None:
    keys: dict[str, Any] = {name: True, "stdout": PIPE}
    assert box.run(["echo", "x"], **keys).stdout == "x\n"
    assert box.popen(["echo", "x"], **keys).communicate()[0] == "x\n"


async def decoded(name: str) -> None:
    """The popen of tare.aio has streams of bytes alone."""
    wrong: Any = {name: WRONG}
    async with tare.aio.Sandbox("busybox") as box:
        with pytest.raises(TypeError) as caught:
            await box.popen(["true"], **wrong)
        assert str(caught.value).endswith(" decoding what was read: its streams are bytes")
        out, _ = await (await box.popen(["echo", "\u00e4"], stdout=PIPE)).communicate()
        assert out is not None and out.decode() == "\u00e4\n"


def groups(box: tare.Sandbox) -> None:
    box.write_file("/etc/group", "root:x:0:root\n")
    assert output(box, ["id", "-G"], user="root") == "0"


OF_COMMANDS: dict[str, Callable[[tare.Sandbox, str], object]] = {
    "popen(), which has it": lambda box, _: box.popen(["true"], bufsize=0).wait(),
    "stdout=PIPE and stderr=PIPE": piped,
    "run(), which has it": lambda box, _: box.run(["true"], check=True),
    "stdin=PIPE, and communicate() with the input": fed,
    "leaving it out: what is not in pass_fds is closed": lambda box, _: closed(box),
    "the program as the first of args": lambda box, _: output(box, ["true"]),
    "the groups of a user in the image, as user": lambda box, _: groups(box),
    'user="USER:GROUP"': lambda box, cure: output(
        box, ["id"], **pasted(cure.replace("USER", "0").replace("GROUP", "0"))
    ),
    "leaving it out": lambda box, _: output(box, ["true"]),
    "shell=True with what has to come first: nothing of this process runs inside": lambda box, cure: output(
        box, "cd /tmp; pwd", **pasted(cure.split(" with ")[0])
    ),
    "leaving it out: each command has a session of its own": lambda box, _: session(box),
    "leaving it out: each command begins with the defaults": lambda box, _: defaults(box),
    "text, or in tare.aio decoding what was read: its streams are bytes": lambda box, cure: as_text(
        box, cure.split(",")[0]
    ),
    "text, which is the same": lambda box, cure: as_text(box, cure.split(",")[0]),
}


@pytest.mark.parametrize("call", ["run", "popen"])
def test_command_with_what_its_error_offers_runs(store: tare.Store, call: str) -> None:
    own = _keywords._RUN if call == "run" else _keywords._POPEN
    with tare.Sandbox("busybox") as box:
        for name in own.keys() - TEXT | _keywords._BOTH.keys():
            wrong: Any = {name: WRONG}
            cure = cure_of(getattr(box, call), ["true"], **wrong)
            OF_COMMANDS[cure](box, cure)


@pytest.mark.parametrize("name", ["text", "encoding", "errors", "universal_newlines"])
def test_output_of_aio_is_decoded(store: tare.Store, name: str) -> None:
    asyncio.run(decoded(name))


def opened(**keys: Any) -> tare.Sandbox:
    return tare.Sandbox("busybox", **keys)


def ran(*args: str, **keys: Any) -> str:
    with opened(**keys) as box:
        return output(box, list(args))


def in_workdir(cure: str) -> None:
    key, other = cure.split(", or ")
    assert ran("pwd", **{key: "/tmp"}) == "/tmp" and other == "cwd of run()"
    with opened() as box:
        assert output(box, ["pwd"], cwd="/tmp") == "/tmp"


def detached() -> None:
    with opened() as box, box.popen(["cat"], stdin=PIPE, stdout=PIPE) as process:
        assert process.poll() is None
        assert process.communicate(b"in")[0] == b"in"


def named(cure: str) -> None:
    hostname, labels = cure.split(", or ")
    assert ran("hostname", **{hostname: "mine"}) == "mine"
    assert ran("true", **{labels: {"name": "mine"}}) == ""


def mounted(cure: str, directory: Path) -> None:
    keys = pasted(cure.replace("/host/dir", str(directory)))
    assert "/inside" in ran("mount", **keys)


OF_SANDBOXES: dict[str, Callable[[str, Path], object]] = {
    "leaving it out: nothing of a sandbox stays": lambda cure, _: ran("true"),
    "leaving it out": lambda cure, _: ran("true"),
    "run(args)": lambda cure, _: ran("true"),
    "workdir, or cwd of run()": lambda cure, _: in_workdir(cure),
    "popen(), which returns while the command runs": lambda cure, _: detached(),
    "run(args): the first of args is the program": lambda cure, _: ran("true"),
    "hostname, or labels": lambda cure, _: named(cure),
    "Store.image(reference, platform=...)": lambda cure, _: tare.Store().image(
        "busybox", platform=f"linux/{platform.machine()}"
    ),
    'network="host"': lambda cure, _: ran("true", **pasted(cure)),
    'profile="privileged"': lambda cure, _: ran("true", **pasted(cure)),
    'write="none"': lambda cure, _: ran("true", **pasted(cure)),
    "stdin of popen()": lambda cure, _: detached(),
    'mounts=[{"type": "tmpfs", "target": "/inside"}]': mounted,
    'mounts=["/host/dir:/inside:rw"]': mounted,
}


def test_sandbox_with_what_its_error_offers_opens(store: tare.Store, tmp_path: Path) -> None:
    for name in _keywords._SANDBOX:
        wrong: Any = {name: WRONG}
        cure = cure_of(tare.Sandbox, "busybox", **wrong)
        OF_SANDBOXES[cure](cure, tmp_path)


def test_keyword_of_a_command_is_given_to_it(box: tare.Sandbox) -> None:
    values: dict[str, Any] = {"timeout": 9, "check": True, "capture_output": True}
    for name, value in values.items():
        wrong: Any = {name: value}
        cure = cure_of(tare.Sandbox, "busybox", **wrong)
        assert cure == f"run({name}=...), or popen()"
        assert box.run(["true"], **wrong).returncode == 0


def test_time_limit_as_its_error_has_it(box: tare.Sandbox) -> None:
    for wrong in (0, -1):
        cure = cure_of(box.run, ["true"], timeout=wrong)
        assert box.run(["true"], timeout=eval(cure.split(",")[0])).returncode == 0
    with box.popen(["true"]) as process:
        cure = cure_of(process.wait, timeout=float("inf"))
        assert process.wait(timeout=eval(cure.split(" ")[0])) == 0


def test_environment_that_is_not_text_is_a_commands(box: tare.Sandbox) -> None:
    env: Any = {"A": "\udcff", "PATH": "/bin"}
    cure = cure_of(tare.Sandbox, "busybox", env=env)
    assert cure == "env of run() and popen(), which takes any bytes"
    assert box.run("echo $A", shell=True, env=env).stdout == b"\xff\n"


def test_sandbox_that_is_closed_has_another_opened(store: tare.Store) -> None:
    box = opened()
    process = box.popen(["sleep", "60"])
    box.close()
    box.close()
    assert (process.wait(20), process.reason) == (-9, "killed")
    process.kill()
    for use in (box.run, lambda _: box.read_file("/etc/passwd")):
        with pytest.raises(tare.Error, match="it was closed"):
            use(["true"])
        assert cure_of(use, ["true"]) == "open another"
    assert ran("true") == ""


@pytest.mark.root
def test_option_of_pytest_as_its_error_has_it(pytester: pytest.Pytester, store: tare.Store) -> None:
    pytester.makepyfile("def test_it(sandbox):\n    sandbox.run(['true'], check=True)")
    for key, value in {"image": "busybox", "store": store.path}.items():
        result = pytester.runpytest_subprocess(f"--tare-option={key}={value}")
        _, option = str(result.stderr).split("; try: ")
        option = option.split()[0]
        pytester.runpytest_subprocess("--tare-image=busybox", f"{option}={value}").assert_outcomes(passed=1)
