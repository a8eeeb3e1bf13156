# SPDX-License-Identifier: MIT OR Apache-2.0
"""`Sandbox.popen` beside `subprocess.Popen`."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import tare
from tare import PIPE


def test_popen_communicates_more_than_any_pipe_holds(shared: tare.Sandbox) -> None:
    data = os.urandom(3_000_000)
    with shared.popen(["cat"], stdin=PIPE, stdout=PIPE) as process:
        assert process.communicate(data) == (data, None)
        assert (process.returncode, process.reason) == (0, "exited")
    script = "cat | tee /dev/stderr | tr a b; exit 4"
    process = shared.popen(["sh", "-c", script], stdin=PIPE, stdout=PIPE, stderr=PIPE)
    out, err = process.communicate(b"a" * 500_000)
    assert (out, err, process.returncode) == (b"b" * 500_000, b"a" * 500_000, 4)


def test_popen_text_is_read_line_by_line(shared: tare.Sandbox) -> None:
    with shared.popen(["cat"], stdin=PIPE, stdout=PIPE, text=True, bufsize=1) as process:
        assert process.stdin and process.stdout
        for line in ("one\n", "zwei \u00e4\n"):
            process.stdin.write(line)
            assert process.stdout.readline() == line
        process.stdin.write("left")
        process.stdin.close()
        assert list(process.stdout) == ["left"]
    assert process.returncode == 0


def test_popen_poll_wait_and_descriptors(shared: tare.Sandbox) -> None:
    process = shared.popen(["sleep", "0.3"])
    assert process.poll() is None and process.returncode is None and process.usage is None
    assert select.select([process], [], [], 0)[0] == []
    with pytest.raises(subprocess.TimeoutExpired) as caught:
        process.wait(0.01)
    assert caught.value.args[1] == 0.01 or caught.value.timeout == 0.01
    with open(f"/proc/{process.pid}/comm") as comm:
        assert comm.read() in ("sleep\n", "busybox\n")
    assert select.select([process], [], [], 20)[0] == [process]
    assert select.select([process.pidfd], [], [], 20)[0]
    assert (process.wait(0), process.poll(), process.wait()) == (0, 0, 0)
    assert process.usage and process.usage.wall >= 0.3
    assert "returncode: 0" in repr(process)


def test_popen_wait_unless_ends_with_either(shared: tare.Sandbox) -> None:
    reader, writer = os.pipe()
    silent, held = os.pipe()
    with open(reader, "rb", 0) as stop, open(silent, "rb", 0) as never, open(held, "wb", 0):
        process = shared.popen(["cat"], stdin=PIPE)
        threading.Timer(0.1, os.write, (writer, b"x")).start()
        assert process.wait_unless(stop) is None
        # No byte was read from the descriptor, so it ends the next wait at
        # once; so does a hang-up.
        assert process.wait_unless(stop.fileno()) is None and process.returncode is None
        os.close(writer)
        assert stop.read() == b"x" and process.wait_unless(stop) is None
        assert process.stdin
        process.stdin.close()
        assert process.wait_unless(never) == 0
        # An end is told, even if more is readable.
        assert process.wait_unless(stop) == 0 and process.wait() == 0


def test_popen_wait_unless_refuses_what_is_no_descriptor(shared: tare.Sandbox) -> None:
    with shared.popen(["cat"], stdin=PIPE) as process:
        for stop in ("1", None, 1.0, object()):
            with pytest.raises(TypeError, match=r"^stop: a descriptor or an object with fileno\(\), not "):
                process.wait_unless(stop)  # type: ignore[arg-type]
        for fd in (-1, 100_000):
            with pytest.raises(OSError, match="Bad file descriptor"):
                process.wait_unless(fd)
        assert process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGUSR1])
def test_popen_signals_are_negative_return_codes(shared: tare.Sandbox, number: signal.Signals) -> None:
    process = shared.popen(["sleep", "60"])
    process.send_signal(number)
    assert (process.wait(20), process.reason) == (-number, "signaled")
    process.send_signal(number)
    process.terminate()
    process.kill()


def test_popen_timeout_is_kept_without_anybody_waiting(shared: tare.Sandbox) -> None:
    process = shared.popen(["sleep", "60"], timeout=0.1)
    assert select.select([process], [], [], 60)[0]
    assert process.poll() == -9 and process.reason == "timeout"


def test_popen_communicate_goes_on_after_a_timeout(shared: tare.Sandbox) -> None:
    script = "read a; echo $a; until [ -e /tmp/go ]; do sleep 0.05; done; echo late; read b; echo $b"
    process = shared.popen(script, shell=True, stdin=PIPE, stdout=PIPE, text=True)
    given: str | None = "early\nlast\n"
    output: bytes | None = None
    while output != b"early\n":
        with pytest.raises(subprocess.TimeoutExpired) as caught:
            process.communicate(given, timeout=0.1)
        given, output = None, caught.value.output
    assert process.poll() is None
    with pytest.raises(ValueError):
        process.communicate("more")
    shared.write_file("/tmp/go", b"")
    assert process.communicate() == ("early\nlate\nlast\n", None)
    assert process.communicate() == ("early\nlate\nlast\n", None)


def test_popen_communicate_keeps_what_was_read_ahead(shared: tare.Sandbox) -> None:
    process = shared.popen("echo one; echo two; sleep 0.2; echo three", shell=True, stdout=PIPE)
    assert process.stdout and process.stdout.readline() == b"one\n"
    assert process.communicate()[0] == b"two\nthree\n"
    script = "echo \u00e4; echo two; sleep 0.2; echo three"
    text = shared.popen(script, shell=True, stdout=PIPE, text=True)
    assert text.stdout and text.stdout.readline() == "\u00e4\n"
    assert text.communicate()[0] == "two\nthree\n"


def test_popen_command_need_not_read_its_input(shared: tare.Sandbox) -> None:
    process = shared.popen(["true"], stdin=PIPE, stdout=PIPE)
    assert process.communicate(b"x" * 1_000_000) == (b"", None)
    with shared.popen(["true"], stdin=PIPE) as process:
        assert process.stdin
        process.wait()
        process.stdin.write(b"x")
    assert process.returncode == 0


def test_popen_leftovers_are_not_waited_for(box: tare.Sandbox) -> None:
    process = box.popen("sleep 60 & echo done", shell=True, stdout=PIPE)
    assert process.communicate(timeout=20) == (b"done\n", None)


def test_popen_left_by_an_exception_is_killed(shared: tare.Sandbox) -> None:
    with pytest.raises(KeyError):
        with shared.popen(["sleep", "60"]) as process:
            raise KeyError
    assert process.returncode == -9


def test_popen_has_a_terminal(shared: tare.Sandbox) -> None:
    with shared.popen("read a; echo got $a; stty size", shell=True, tty=(5, 20)) as process:
        assert process.terminal and process.stdin is None and process.stdout is None
        process.resize(6, 21)
        process.terminal.write(b"word\n")
        process.wait(20)
        assert process.communicate()[0].split() == [b"word", b"got", b"word", b"6", b"21"]


def test_popen_many_at_once_from_many_threads(shared: tare.Sandbox) -> None:
    def work(number: int) -> None:
        for _ in range(10):
            assert shared.run(["echo", str(number)], text=True).stdout == f"{number}\n"

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))


def test_popen_lives_as_long_as_it_is_held(store: tare.Store) -> None:
    # This is the last reference to the sandbox.
    process = tare.Sandbox("busybox").popen(["sleep", "0.2"])
    assert process.wait(20) == 0


def test_popen_is_found_again_by_its_number(store: tare.Store) -> None:
    with tare.Sandbox("busybox") as sandbox:
        assert sandbox.commands() == []
        id = sandbox.popen(["sleep", "60"]).id
        [running] = sandbox.commands()
        assert (running.id, running.args) == (id, ["sleep", "60"]) and running.seconds > 0
        found = sandbox.process(id)
        assert found.id == id and found.args == ["sleep", "60"] and found.stdout is None
        found.kill()
        assert (found.wait(20), found.reason) == (-signal.SIGKILL, "killed")
        assert sandbox.commands() == []
        with pytest.raises(tare.Error) as error:
            sandbox.process(id)
        assert error.value.kind == "not_found"


def test_popen_of_a_run_in_another_thread_is_found(store: tare.Store) -> None:
    with tare.Sandbox("busybox") as sandbox:
        with ThreadPoolExecutor(1) as threads:
            ended = threads.submit(sandbox.run, ["sleep", "60"])
            while not (running := sandbox.commands()):
                time.sleep(0.01)
            sandbox.process(running[0].id).kill()
            assert ended.result().reason == "killed"
