# SPDX-License-Identifier: MIT OR Apache-2.0
"""`Sandbox.run` beside `subprocess.run`."""

from __future__ import annotations

import os
import pickle
import subprocess
from pathlib import Path
from typing import Any

import pytest
import tare


@pytest.mark.parametrize(
    "how",
    [
        {"args": ["echo", "a b"]},
        {"args": ["echo", "a b"], "text": True},
        {"args": "echo out; echo err >&2; exit 3", "shell": True},
        {"args": ["echo $0 $1; exit 9", "x", "y"], "shell": True, "universal_newlines": True},
        {"args": "true"},
        {"args": b"true"},
        {"args": Path("true")},
        {"args": ["sh", "-c", "kill -TERM $$"]},
        {"args": ["printf", r"a\r\nb\rc\n"], "text": True},
        {"args": ["printf", r"\344\n"], "encoding": "latin-1"},
        {"args": ["printf", r"\344\n"], "errors": "replace", "encoding": "utf-8"},
        {"args": ["cat"], "input": b"\0bytes"},
        {"args": ["cat"], "input": "text \u00e4", "text": True},
        {"args": ["cat"], "input": b""},
        {"args": ["sh", "-c", "echo a; echo b >&2"], "stderr": subprocess.STDOUT},
        {"args": ["sh", "-c", "echo a; echo b >&2"], "stdout": subprocess.DEVNULL},
        {"args": ["sh", "-c", "echo a; echo b >&2"], "stderr": subprocess.DEVNULL},
        {"args": ["sh", "-c", "pwd; echo $V"], "cwd": "/tmp", "env": {"V": "x y", "PATH": "/bin"}},
    ],
    ids=repr,
)
def test_run_gives_what_subprocess_gives(shared: tare.Sandbox, how: dict[str, Any]) -> None:
    for stream in ("stdout", "stderr"):
        how.setdefault(stream, subprocess.PIPE)
    theirs = subprocess.run(**how)
    if how.pop("universal_newlines", False):
        how["text"] = True
    ours = shared.run(**how)
    assert isinstance(ours, subprocess.CompletedProcess)
    seen = (ours.args, ours.returncode, ours.stdout, ours.stderr)
    assert seen == (theirs.args, theirs.returncode, theirs.stdout, theirs.stderr)
    assert ours.reason == ("exited" if ours.returncode >= 0 else "signaled")
    assert ours.usage.wall > 0 and (ours.usage.memory_peak or 0) > 0
    assert ours.usage.oom_kills is None


def test_run_without_words_is_the_images_command(store: tare.Store, images: Path) -> None:
    assert tare.run(f"oci:{images}/busybox:entrypoint").stdout == b"entry command\n"


def test_run_streams_may_be_files_and_descriptors(shared: tare.Sandbox, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("from a file")
    with open(tmp_path / "in") as stdin, open(tmp_path / "out", "wb") as stdout:
        done = shared.run(["cat"], stdin=stdin, stdout=stdout)
        assert done.stdout is None and done.stderr == b""
        shared.run("echo; echo more >&2", shell=True, stdout=stdout.fileno(), stderr=tare.STDOUT)
    assert (tmp_path / "out").read_text() == "from a file\nmore\n"


def test_run_none_is_the_callers_own(shared: tare.Sandbox, capfd: pytest.CaptureFixture[str]) -> None:
    done = shared.run("echo out; echo err >&2", shell=True, stdout=None, stderr=None)
    assert done.stdout is None and done.stderr is None
    assert capfd.readouterr() == ("out\n", "err\n")


def test_run_capture_output_is_that_of_subprocess(
    shared: tare.Sandbox, capfd: pytest.CaptureFixture[str]
) -> None:
    words: Any = {"args": "echo out; echo err >&2", "shell": True, "text": True}
    runs: list[Any] = [subprocess.run, shared.run]
    for how in ({"capture_output": True}, {"capture_output": True, "stdout": None, "stderr": None}):
        theirs, ours = (run(**words, **how) for run in runs)
        assert (ours.stdout, ours.stderr) == (theirs.stdout, theirs.stderr) == ("out\n", "err\n")
    for stream in ("stdout", "stderr"):
        for run in runs:
            with pytest.raises(ValueError, match="may not be used with capture_output"):
                run(**words, capture_output=True, **{stream: tare.PIPE})
    for run in runs:
        done = run(**words, capture_output=False)
        assert (done.stdout, done.stderr) == (None, None)
        assert capfd.readouterr() == ("out\n", "err\n")
        done = run(**words, capture_output=False, stderr=tare.PIPE)
        assert (done.stdout, done.stderr) == (None, "err\n")
        assert capfd.readouterr() == ("out\n", "")
    assert tare.run("busybox", ["echo", "x"], capture_output=True).stdout == b"x\n"


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("start_new_session", "; try: leaving it out: each command has a session of its own"),
        ("timeot", "; try: timeout"),
        ("nonsense", ""),
    ],
)
def test_run_unknown_keywords_are_told_with_what_does_the_same(
    shared: tare.Sandbox, name: str, cure: str
) -> None:
    wrong: Any = {name: True}
    calls: dict[str, Any] = {"run": shared.run, "popen": shared.popen}
    for call, start in calls.items():
        with pytest.raises(TypeError) as caught:
            start(["true"], **wrong)
        assert str(caught.value) == f"{call}() got an unexpected keyword argument '{name}'{cure}"


def test_run_takes_descriptors_and_terminals(shared: tare.Sandbox) -> None:
    read, write = os.pipe()
    shared.run(f"echo through >&{write}", shell=True, pass_fds=[write])
    os.close(write)
    with open(read) as end:
        assert end.read() == "through\n"
    done = shared.run("tty; stty size; echo err >&2", shell=True, tty=(7, 33), text=True)
    assert done.stdout.split() == ["/dev/pts/0", "7", "33", "err"]


def test_run_timeout_of_0_is_refused(shared: tare.Sandbox) -> None:
    for none in (0, 0.0, -1, "0", "0ms"):
        for start in (shared.run, shared.popen):
            with pytest.raises(
                ValueError, match=r"^timeout: .* leaves a command no time; try: None, for no limit$"
            ):
                start(["true"], timeout=none)
    # A wait of 0 looks once, as with subprocess.
    with shared.popen(["sleep", "60"]) as process:
        for wait in (process.wait, lambda timeout: process.communicate(timeout=timeout)):
            for none in (0, -1):
                with pytest.raises(subprocess.TimeoutExpired):
                    wait(none)
        process.kill()


def test_run_timeout_may_be_a_duration(shared: tare.Sandbox) -> None:
    for limit in ("1m30s", "20", "1.5h", 20, 1e9, 1e18):
        assert shared.run(["true"], timeout=limit).returncode == 0
    with pytest.raises(subprocess.TimeoutExpired) as caught:
        shared.run("echo out; echo err >&2; sleep 60", shell=True, timeout="300ms")
    error = caught.value
    assert (error.output, error.stderr, error.timeout) == (b"out\n", b"err\n", 0.3)
    assert isinstance(error, tare.TimeoutExpired) and error.usage and error.usage.wall >= 0.3
    assert "after 0.3 seconds" in str(error)
    with shared.popen(["sleep", "60"]) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait("10ms")
        with pytest.raises(subprocess.TimeoutExpired):
            process.communicate(timeout="10ms")
        process.kill()


def test_run_timeout_that_is_none_is_told_by_its_name(shared: tare.Sandbox) -> None:
    wrong: Any
    with shared.popen(["true"]) as process:
        for wrong in (float("nan"), float("inf"), 1e30, 10**400):
            for use in (lambda: shared.run(["true"], timeout=wrong), lambda: process.wait(wrong)):  # noqa: B023
                with pytest.raises(
                    ValueError, match=r"^timeout: .* is no number of seconds that can be waited; try: "
                ):
                    use()
    for wrong in ("", "soon", "1x", "-1s"):
        with pytest.raises(
            ValueError, match=rf'^timeout: "{wrong}" is not a duration; try: seconds, or .* "1m30s"$'
        ):
            shared.run(["true"], timeout=wrong)
    for wrong in ([1], b"1s", object()):
        with pytest.raises(TypeError, match=r'^timeout: seconds or a duration such as "1m30s", not '):
            shared.run(["true"], timeout=wrong)


def test_run_check_raises(shared: tare.Sandbox) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        shared.run("echo out; exit 3", shell=True, check=True, text=True)
    error = caught.value
    assert isinstance(error, tare.CalledProcessError)
    assert (error.returncode, error.output, error.stderr) == (3, "out\n", "")
    assert str(error) == "Command 'echo out; exit 3' returned non-zero exit status 3."
    again = pickle.loads(pickle.dumps(error))
    assert (again.reason, again.usage) == ("exited", error.usage)
    shared.run(["true"], check=True).check_returncode()


def test_run_output_over_the_limit_raises(shared: tare.Sandbox) -> None:
    for limit in (1000, "1000b"):
        # The second ends with 0 before a kill can reach it.
        for argv in (["yes"], ["head", "-c", "1001", "/dev/zero"]):
            for check in (False, True):
                with pytest.raises(tare.OutputLimitExceeded) as caught:
                    shared.run(argv, output_limit=limit, check=check)
                error = caught.value
                assert isinstance(error, subprocess.SubprocessError)
                assert (error.cmd, error.limit, error.stderr) == (argv, 1000, b"")
                assert len(error.output or b"") == 1000 and error.stdout == error.output
    assert "wrote more than 1000 bytes" in str(error) and error.usage
    again = pickle.loads(pickle.dumps(error))
    assert (again.limit, again.output, again.usage) == (1000, error.output, error.usage)


def test_run_rights_of_a_command_are_of_the_right_type(shared: tare.Sandbox) -> None:
    wrong: Any
    for wrong, kind in (
        ({"umask": "077"}, TypeError),
        ({"umask": -2}, ValueError),
        ({"umask": 0o1000}, ValueError),
        ({"umask": 1 << 40}, ValueError),
        ({"rlimits": {"nofile": None}}, TypeError),
        ({"rlimits": {"nofile": "few"}}, ValueError),
        ({"rlimits": {"files": 1}}, ValueError),
        ({"cap_add": "KILL"}, TypeError),
        ({"cap_drop": [1]}, TypeError),
        ({"cap_add": ["BPF"]}, ValueError),
    ):
        with pytest.raises(kind) as caught:
            shared.run(["true"], **wrong)
        assert min(wrong).removesuffix("s") in str(caught.value)


def test_run_alone_gives_rights_to_its_sandbox() -> None:
    facts = "umask; ulimit -n; grep CapEff /proc/self/status"
    done = tare.run(
        "busybox",
        facts,
        shell=True,
        text=True,
        umask=0,
        rlimits={"nofile": 60},
        cap_drop=["ALL"],
        cap_add=["SYS_ADMIN"],
    )
    assert done.stdout == "0000\n60\nCapEff:\t0000000000200000\n"


def test_run_words_that_are_wrong_are_refused(shared: tare.Sandbox) -> None:
    refused: list[dict[str, Any]] = [{"args": []}, {"args": ["true"], "cwd": "relative"}, {"args": ["a\0b"]}]
    for words in refused:
        with pytest.raises(tare.Error) as caught:
            shared.run(**words)
        assert caught.value.kind == "invalid"
    wrongs: list[dict[str, Any]] = [{"args": [1]}, {"args": ["true"], "pass_fds": ["x"]}, {"nonsense": 1}]
    for wrong in wrongs:
        with pytest.raises(TypeError) as mistaken:
            shared.run(**wrong)
        assert "Words" not in str(mistaken.value)
    with pytest.raises(TypeError, match=r"^tty: "):
        shared.run(["true"], tty=5)  # type: ignore[call-overload]
    with pytest.raises(LookupError):
        shared.run(["true"], encoding="nonsense")
    with pytest.raises(ValueError, match="stdin and input"):
        shared.run(["cat"], input=b"", stdin=tare.PIPE)
    with pytest.raises(OSError) as wrong_fd:
        shared.run(["true"], stdin=9999)
    assert wrong_fd.value.strerror == "copy descriptor: file descriptor 9999: Bad file descriptor"
    assert wrong_fd.value.filename is None


def test_run_once_leaves_nothing_open(store: tare.Store) -> None:
    before = len(os.listdir("/proc/self/fd"))
    done = tare.run("busybox", ["hostname"], hostname="mine", text=True, check=True)
    assert done.stdout == "mine\n"
    with pytest.raises(tare.Error, match='try: "hostname"'):
        tare.run("busybox", ["true"], hostnam="mine")  # type: ignore[call-overload]
    # The helper's socket stays.
    assert len(os.listdir("/proc/self/fd")) <= before + 1
