# SPDX-License-Identifier: MIT OR Apache-2.0
"""The contract with the host process: untouched state, forks, threads."""

from __future__ import annotations

import gc
import multiprocessing
import os
import resource
import signal
import sysconfig
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import tare
from conftest import python
from tare._store import default_store

# In a user namespace, uid 0 is an ordinary user. An ordinary user has no cgroup
# for a limit, unless one was delegated.
MAP = Path("/proc/self/uid_map").read_text().split()
PIDS = 50 if os.geteuid() == 0 and MAP == ["0", "0", "4294967295"] else None


def status(*names: str) -> list[str]:
    with open("/proc/self/status") as lines:
        return [line for line in lines if line.split(":")[0] in names]


def contract() -> dict[str, Any]:
    """The state that a library must leave alone."""
    signals = [s for s in signal.valid_signals() if s not in (signal.SIGKILL, signal.SIGSTOP)]
    return {
        "cwd": os.getcwd(),
        "environment": dict(os.environ),
        "handlers": [signal.getsignal(s) for s in signals],
        "status": status("Umask", "SigBlk", "SigIgn", "SigCgt", "NoNewPrivs", "Seccomp", "CapEff"),
        "limits": [resource.getrlimit(n) for n in range(16)],
        "namespaces": {n: os.readlink(f"/proc/self/ns/{n}") for n in os.listdir("/proc/self/ns")},
        "blocking": [os.get_blocking(fd) for fd in (0, 1, 2)],
        "dumpable": os.stat("/proc/self/mem").st_uid,
    }


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def test_host_is_left_alone(store: tare.Store) -> None:
    with tare.Sandbox("busybox") as first:
        first.run(["true"])
    del first
    gc.collect()
    default_store().recover()
    before, threads, fds = contract(), threading.enumerate(), descriptors()
    tasks = set(os.listdir("/proc/self/task"))
    for write in ("memory", "disk"):
        with tare.Sandbox("busybox", write=write, pids=PIDS) as box:
            box.run(["cat"], input=b"x", timeout=20)
            with box.popen(["cat"], stdin=tare.PIPE, stdout=tare.PIPE) as process:
                process.communicate(b"y")
            box.reset()
            with pytest.raises(OSError):
                box.run(["nonsense"])
    del process, box
    gc.collect()
    # The prestarted sandbox goes, too.
    default_store().recover()
    assert contract() == before
    assert threading.enumerate() == threads
    assert set(os.listdir("/proc/self/task")) <= tasks
    assert descriptors() <= fds


def test_descriptors_are_closed_on_exec(shared: tare.Sandbox) -> None:
    before = descriptors()
    process = shared.popen(["sleep", "60"], stdin=tare.PIPE, stdout=tare.PIPE)
    terminal = shared.popen(["sleep", "60"], tty=(1, 1))
    pidfd = shared.pidfd()
    inheritable = [fd for fd in map(int, descriptors() - before) if _inheritable(fd)]
    assert inheritable == []
    os.close(pidfd)
    process.kill()
    terminal.kill()


def _inheritable(fd: int) -> bool:
    try:
        return os.get_inheritable(fd)
    except OSError:
        # The listing's own.
        return False


def _communicates(sandbox: tare.Sandbox, stdin: int) -> Any:
    process = sandbox.popen(["cat"], stdin=stdin, stdout=tare.PIPE, timeout=60)
    process.communicate()
    return process.returncode


@pytest.mark.parametrize(
    "blocks",
    [
        lambda sb, stdin: sb.run(["cat"], stdin=stdin, timeout=60).returncode,
        lambda sb, stdin: sb.popen(["cat"], stdin=stdin, timeout=60).wait(),
        _communicates,
    ],
    ids=["run", "wait", "communicate"],
)
def test_gil_is_free_while_something_blocks(shared: tare.Sandbox, blocks: Any) -> None:
    reader, writer = os.pipe()

    def end() -> None:
        # By then the call below blocks.
        time.sleep(0.1)
        os.close(writer)

    # Only this thread ends the command: with the lock held, it would never run.
    ender = threading.Thread(target=end)
    ender.start()
    assert blocks(shared, reader) == 0
    ender.join()
    os.close(reader)


def test_fork_child_makes_its_own_and_leaves_the_parents_alone(store: tare.Store, tmp_path: Path) -> None:
    with tare.Sandbox("busybox") as box:
        process = box.popen("sleep 0.5; exit 7", shell=True, timeout=60)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                for use in (lambda: box.run(["true"]), box.close, process.kill, process.poll):
                    try:
                        use()
                    except tare.Error as error:
                        assert "forked from" in str(error), error
                    else:
                        raise AssertionError("it worked")
                with box:
                    pass
                del box, process
                gc.collect()
                with tare.Sandbox("busybox") as own:
                    assert own.run(["echo", "own"]).stdout == b"own\n"
                code = 0
            except BaseException as error:
                (tmp_path / "wrong").write_text(repr(error))
            finally:
                os._exit(code)
        _, ended = os.waitpid(child, 0)
        assert ended == 0, (tmp_path / "wrong").read_text()
        assert process.wait(20) == 7
        assert box.run(["true"]).returncode == 0


def in_child(word: str) -> str:
    return str(tare.run("busybox", ["echo", word], text=True).stdout)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_works_however_it_starts(shared: tare.Sandbox, method: str) -> None:
    words = [f"word{n}" for n in range(6)]
    with multiprocessing.get_context(method).Pool(3) as pool:
        assert pool.map(in_child, words) == [f"{word}\n" for word in words]
    assert shared.run(["true"]).returncode == 0


def test_free_threading_is_declared() -> None:
    # An interpreter without the GIL enables the GIL for a module that does not
    # declare its independence.
    code = "import sys, tare; print(getattr(sys, '_is_gil_enabled', lambda: True)())"
    said = python(code)
    free = sysconfig.get_config_var("Py_GIL_DISABLED")
    assert (said.stdout, said.stderr) == ("False\n" if free else "True\n", "")
