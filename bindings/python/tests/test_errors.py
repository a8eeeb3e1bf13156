# SPDX-License-Identifier: MIT OR Apache-2.0
"""Exceptions and their texts."""

from __future__ import annotations

import errno
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import tare


def test_error_with_an_errno_is_the_plain_oserror(shared: tare.Sandbox) -> None:
    with pytest.raises(OSError) as caught:
        shared.run(["no/such"])
    error = caught.value
    assert type(error) is FileNotFoundError
    assert (error.errno, error.filename) == (errno.ENOENT, "no/such")
    assert str(error) == "[Errno 2] execute: No such file or directory: 'no/such'"
    said = [getattr(error, name) for name in ("kind", "step", "subject", "cure")]
    assert said == ["not_found", "execute", '"no/such"', None]
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.step) == (type(error), str(error), "execute")


@pytest.mark.root
def test_error_about_what_is_no_file_has_no_file_name() -> None:
    script = """
import tare
try:
    tare.Sandbox(memory="64m")
except OSError as error:
    print(error.errno, error.filename, error.subject, error, sep="\\n")
"""
    with tempfile.TemporaryDirectory(dir="/tmp") as home:
        os.chown(home, 65534, 65534)
        # A caller that may make no cgroup.
        someone: list[str] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        command = [*someone, sys.executable, "-c", script]
        words = {"TARE_STORE": f"{home}/store", "PYTHONDONTWRITEBYTECODE": "1"}
        said = subprocess.run(command, env=words, text=True, stdout=subprocess.PIPE, check=True).stdout
    number, name, subject, message = said.splitlines()
    assert (int(number), name) == (errno.EACCES, "None") and subject.startswith("make a cgroup in /")
    assert message.startswith(
        f"[Errno 13] set limits.memory: {subject}: Permission denied; try: run as root, or"
    )


def test_error_without_an_errno_is_ours(store: tare.Store) -> None:
    with pytest.raises(tare.Error) as caught:
        tare.Sandbox("busibox", store=store)
    error = caught.value
    assert (error.kind, error.step, error.cure) == ("not_found", "find image", "busybox:latest")
    assert error.subject.startswith("busibox")
    assert str(error).endswith("; try: busybox:latest")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.kind, again.cure) == (str(error), error.kind, error.cure)


def test_spec_keys_may_be_flat_nested_paths_or_none(store: tare.Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("seen")
    with tare.Sandbox(
        "busybox",
        hostname="named",
        shm="1m",
        limits={"output": "2m"},
        cap_drop=["ALL"],
        workdir=Path("/w"),
        env={"A": "b"},
        memory=None,
        mounts=[{"type": "bind", "source": tmp_path, "target": "/m"}, f"{tmp_path}:/c:cow"],
    ) as box:
        script = "hostname; pwd; echo $A; cat /m/file; echo; df /dev/shm | tail -n 1; touch /c/new"
        said = box.run(script, shell=True, text=True, check=True).stdout.split()
        assert said[:4] == ["named", "/w", "b", "seen"] and said[5] == "1024"
        effective = box.effective()
        assert effective["capabilities"] == [] and effective["hostname"] == "named"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    with pytest.raises(TypeError, match="a spec cannot hold a value of the type object"):
        tare.Sandbox("busybox", hostname=object())  # type: ignore[arg-type]


def test_sandbox_in_a_plain_directory_writes_there(shared: tare.Sandbox, tmp_path: Path) -> None:
    store = tare.Store()
    root = tmp_path / "root"
    store.unpack("busybox", root)
    with tare.Sandbox.open_in(root) as box:
        assert box.run("echo written >/tmp/file", shell=True, check=True).returncode == 0
    assert (root / "tmp/file").read_text() == "written\n"


def test_doctor_tells_of_this_machine() -> None:
    report = tare.doctor()
    assert report["ok"] and report["kernel"] == subprocess.getoutput("uname -r")
    assert {"name", "ok", "matter", "found", "cure"} == set(report["checks"][0])


def test_version_is_that_of_the_package() -> None:
    from importlib.metadata import version

    assert tare.__version__ == version("libtare") and "overlay" in tare.FEATURES
