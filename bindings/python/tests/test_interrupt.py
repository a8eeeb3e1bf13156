# SPDX-License-Identifier: MIT OR Apache-2.0
"""Ctrl-C stops every wait at once, and its command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import tare

LONG = 30.0


def interrupted(tmp_path: Path, *argv: str, number: int = signal.SIGINT) -> tuple[str, int]:
    """Runs Python until the file $READY exists, then sends a signal; returns
    the output and the exit code, which come soon."""
    ready = tmp_path / "ready"
    child = subprocess.Popen(
        [sys.executable, *argv],
        env={**os.environ, "READY": str(ready)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + LONG
    while not ready.exists():
        assert child.poll() is None and time.monotonic() < deadline, child.communicate()[0]
        time.sleep(0.01)
    # The blocking call has begun.
    time.sleep(0.2)
    child.send_signal(number)
    return child.communicate(timeout=10)[0], child.returncode


@pytest.mark.parametrize(
    "wait",
    [
        "sb.run(['sleep', '60'])",
        "sb.run(['sleep', '60'], timeout=50)",
        "sb.popen(['sleep', '60']).wait()",
        "sb.popen(['sleep', '60']).wait(50)",
        "sb.popen(['sleep', '60'], stdout=tare.PIPE).communicate()",
        "sb.popen(['sleep', '60'], stdin=tare.PIPE).communicate(b'x' * 1000000, 50)",
        "sb.popen(['sleep', '60'], stdout=tare.PIPE).stdout.read()",
    ],
)
def test_interrupt_ends_a_wait_and_its_command(store: tare.Store, tmp_path: Path, wait: str) -> None:
    code = f"""if True:
        import os, time, tare
        sb = tare.Sandbox("busybox")
        open(os.environ["READY"], "w")
        try:
            {wait}
        except KeyboardInterrupt:
            print("interrupted")
        if "run" in {wait!r}:
            while b"sleep" in sb.run(["ps"]).stdout:
                time.sleep(0.01)
        sb.close()
        """
    assert interrupted(tmp_path, "-c", code) == ("interrupted\n", 0)


def test_interrupt_whose_handler_returns_goes_on(store: tare.Store, tmp_path: Path) -> None:
    code = """if True:
        import os, signal, tare
        signal.signal(signal.SIGUSR1, lambda *_: print("handled", flush=True))
        sb = tare.Sandbox("busybox")
        open(os.environ["READY"], "w")
        print(sb.run(["sh", "-c", "sleep 1; echo done"], text=True).stdout, end="")
        """
    assert interrupted(tmp_path, "-c", code, number=signal.SIGUSR1) == ("handled\ndone\n", 0)


def test_interrupt_stops_an_import(images: Path, tmp_path: Path) -> None:
    code = f"""if True:
        import os, tare
        store = tare.Store({str(tmp_path / "store")!r})
        open(os.environ["READY"], "w")
        try:
            while True:
                # Each of them takes a second or so.
                store.import_image("oci:{images}/debian:latest", "debian")
                store.remove("debian")
        except KeyboardInterrupt:
            print("interrupted", os.listdir(store.path + "/scratch"))
        """
    assert interrupted(tmp_path, "-c", code) == ("interrupted []\n", 0)


@pytest.mark.parametrize(
    ("fixture", "opened"),
    [("", 'tare.Sandbox("busybox")'), ("sandbox", "contextlib.nullcontext(sandbox)")],
    ids=["with", "fixture"],
)
def test_interrupt_of_pytest_leaves_nothing(
    store: tare.Store, tmp_path: Path, fixture: str, opened: str
) -> None:
    (tmp_path / "test_it.py").write_text(
        f"""if True:
        import contextlib, os, tare
        def test_it({fixture}):
            with {opened} as sb:
                pid = sb.popen(["sleep", "60"]).pid
                with open(os.environ["READY"] + ".new", "w") as file:
                    file.write(f"{{pid}} {{sb.effective()['name']}}")
                os.rename(file.name, os.environ["READY"])
                sb.run(["sleep", "61"])
        """
    )
    words = ["-m", "pytest", "-p", "no:cacheprovider", "--tare-image=busybox", str(tmp_path)]
    said, code = interrupted(tmp_path, *words)
    assert "KeyboardInterrupt" in said and code == 2
    pid, name = (tmp_path / "ready").read_text().split()
    assert not os.path.exists(f"/proc/{pid}/root/bin")
    assert name not in os.listdir(f"{store.path}/scratch")


@pytest.mark.parametrize(
    "wait", ["wait()", "wait(50)", "wait_unless(process.pidfd)", "communicate()", "communicate(timeout=50)"]
)
def test_interrupt_of_a_wait_kills_the_command(box: tare.Sandbox, wait: str) -> None:
    process = box.popen(["sh", "-c", "echo; sleep 60 & exec sleep 60"], stdout=tare.PIPE)
    reader = process.stdout
    assert reader is not None and reader.readline() == b"\n"
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        eval(f"process.{wait}", {"process": process})
    assert process.wait(LONG) == -9 and process.reason == "killed"
    # Its children, too: the pipe is at its end.
    assert process.communicate() == (b"", None)


def test_interrupt_by_another_handler_leaves_the_command(box: tare.Sandbox) -> None:
    class Alarm(Exception):
        pass

    def ring(*_: object) -> None:
        raise Alarm

    before = signal.signal(signal.SIGALRM, ring)
    try:
        process = box.popen(["sleep", "60"])
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(Alarm):
            process.wait()
        assert process.poll() is None
        process.kill()
        assert process.wait(LONG) == -9
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
