# SPDX-License-Identifier: MIT OR Apache-2.0
"""Sandboxes in an event loop: real asyncio, no thread."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import warnings
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Callable

import pytest
import tare
import tare.aio
from conftest import python
from tare._store import default_store


def in_loop(test: Callable[[tare.aio.Sandbox], Coroutine[Any, Any, None]]) -> Callable[[tare.Store], None]:
    """Makes a test of a coroutine with a sandbox. Afterwards the loop watches
    nothing and the process has no more descriptors or threads."""

    async def main() -> None:
        async with tare.aio.Sandbox("busybox") as box:
            await test(box)

    async def checked() -> None:
        async with tare.aio.Sandbox("busybox") as first:
            await first.run(["true"])
        del first
        default_store().recover()
        before, tasks = set(os.listdir("/proc/self/fd")), set(os.listdir("/proc/self/task"))
        await main()
        # The last close takes effect in the loop's next turn.
        await asyncio.sleep(0.01)
        gc.collect()
        # The prestarted sandbox goes, too.
        default_store().recover()
        assert set(os.listdir("/proc/self/fd")) <= before
        assert set(os.listdir("/proc/self/task")) <= tasks
        # The loop's own is left.
        assert len(getattr(asyncio.get_running_loop(), "_selector").get_map()) == 1  # noqa: B009

    return lambda store: asyncio.run(checked())


@in_loop
async def test_aio_run_is_as_run(sb: tare.aio.Sandbox) -> None:
    done = await sb.run("cat; echo err >&2; exit 3", shell=True, input=b"in", env={"A": "b"})
    assert (done.returncode, done.stdout, done.stderr) == (3, b"in", b"err\n")
    assert done.reason == "exited" and done.usage.wall > 0
    assert (await sb.run(["echo", "\u00e4"], text=True)).stdout == "\u00e4\n"
    assert (await sb.run(["echo", "x"], capture_output=True)).stdout == b"x\n"
    assert (await sb.run(["true"], capture_output=False)).stdout is None
    with pytest.raises(ValueError, match="may not be used with capture_output"):
        await sb.run(["true"], capture_output=True, stdout=tare.DEVNULL)
    with pytest.raises(TypeError, match=r"^run\(\) got .* 'close_fds'; try: "):
        await sb.run(["true"], close_fds=True)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"^popen\(\) got .* 'text'; try: decoding what was read"):
        await sb.popen(["true"], text=True)  # type: ignore[call-arg]
    with pytest.raises(tare.CalledProcessError):
        await sb.run(["false"], check=True)
    with pytest.raises(FileNotFoundError):
        await sb.run(["nonsense"])
    with pytest.raises(tare.TimeoutExpired) as expired:
        await sb.run("echo part; sleep 60", shell=True, timeout="300ms")
    assert expired.value.output == b"part\n"
    with pytest.raises(tare.OutputLimitExceeded) as over:
        await sb.run(["yes"], output_limit=1000)
    assert over.value.limit == len(over.value.output or b"") == 1000


@in_loop
async def test_aio_opens_by_await_too_and_closes_again(_: tare.aio.Sandbox) -> None:
    sandbox = await tare.aio.Sandbox("busybox")
    pidfd = sandbox.pidfd()
    assert (await sandbox.run(["true"])).returncode == 0
    await sandbox.close()
    os.close(pidfd)
    await sandbox.close()
    with pytest.raises(tare.Error, match="closed"):
        await sandbox.run(["true"])
    done = await tare.aio.run("busybox", ["hostname"], hostname="h", text=True)
    assert done.stdout == "h\n"


@in_loop
async def test_aio_popen_streams(sb: tare.aio.Sandbox) -> None:
    process = await sb.popen(["cat"], stdin=tare.PIPE, stdout=tare.PIPE)
    assert process.stdin and process.stdout and process.stderr is None
    for line in (b"one\n", b"two\n"):
        process.stdin.write(line)
        await process.stdin.drain()
        assert await process.stdout.readline() == line
    assert process.returncode is None and process.usage is None
    process.stdin.close()
    await process.stdin.wait_closed()
    assert await process.stdout.read() == b""
    waits = [asyncio.create_task(process.wait()) for _ in range(3)]
    assert await asyncio.gather(*waits) == [0, 0, 0]
    assert process.reason == "exited" and process.usage and not process.core_dumped


@in_loop
async def test_aio_communicate(sb: tare.aio.Sandbox) -> None:
    pipes: Any = {"stdin": tare.PIPE, "stdout": tare.PIPE, "stderr": tare.PIPE}
    big = bytes(range(256)) * 20_000
    process = await sb.popen("tee /dev/stderr", shell=True, **pipes)
    assert await process.communicate(big) == (big, big)
    process = await sb.popen(["true"], stdin=tare.PIPE, stdout=tare.PIPE)
    assert await process.communicate(big) == (b"", None)
    process = await sb.popen("sleep 60 & echo x", shell=True, stdout=tare.PIPE)
    assert await asyncio.wait_for(process.communicate(), 30) == (b"x\n", None)
    process = await sb.popen(["yes"], stdout=tare.PIPE, output_limit=100_001)
    with pytest.raises(tare.OutputLimitExceeded) as over:
        await process.communicate()
    assert over.value.limit == len(over.value.output or b"") == 100_001
    assert process.reason == "output" and process.returncode == -9


@in_loop
async def test_aio_slow_reader_holds_the_writer_back(sb: tare.aio.Sandbox) -> None:
    async with await sb.popen(["yes"], stdout=tare.PIPE) as process:
        assert process.stdout
        await process.stdout.readexactly(10)
        await asyncio.sleep(0.2)
        # As much as a reader takes before it pauses its pipe, and not
        # much more.
        assert len(getattr(process.stdout, "_buffer")) < 500_000  # noqa: B009
        assert len(await process.stdout.readexactly(3_000_000)) == 3_000_000
        process.kill()
        assert await process.wait() == -9
    assert process.reason == "killed"


@in_loop
async def test_aio_terminal(sb: tare.aio.Sandbox) -> None:
    process = await sb.popen("stty size; read a; echo got $a; stty size", shell=True, tty=(5, 70))
    assert process.stdin and process.stdout
    assert await process.stdout.readline() == b"5 70\r\n"
    process.resize(6, 71)
    process.stdin.write(b"word\n")
    assert (await process.communicate())[0] == b"word\r\ngot word\r\n6 71\r\n"


@in_loop
async def test_aio_cancelled_run_kills_the_command(sb: tare.aio.Sandbox) -> None:
    for line in ("exec sleep 61", "sleep 61 | cat"):
        task = asyncio.ensure_future(sb.run(line, shell=True))
        while b" sleep 61" not in (await sb.run(["ps"])).stdout:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while b" sleep 61" in (await sb.run(["ps"])).stdout:
            await asyncio.sleep(0.01)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(sb.run(["sleep", "62"]), 0.1)
    with pytest.raises(ZeroDivisionError):
        async with await sb.popen(["sleep", "63"]) as process:
            raise ZeroDivisionError
    assert process.reason == "killed"


@in_loop
async def test_aio_wait_that_is_cancelled_can_be_repeated(sb: tare.aio.Sandbox) -> None:
    process = await sb.popen("read a; exit 5", shell=True, stdin=tare.PIPE)
    other = asyncio.create_task(process.wait())
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(process.wait(), 0.05)
    process.send_signal(signal.SIGCONT)
    assert process.stdin
    process.stdin.close()
    assert (await process.wait(), await other) == (5, 5)
    process.terminate()


MANY = """if True:
    import asyncio, contextlib, os, resource, sys, time, tare, tare.aio

    # Three descriptors or so for a sandbox, five for a command with pipes.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def threads():
        return len(os.listdir("/proc/self/task"))

    async def main(count):
        image = tare.Store().image("busybox")
        most = threads()
        read, write = os.pipe()
        async with contextlib.AsyncExitStack() as stack:
            boxes = [await stack.enter_async_context(tare.aio.Sandbox(image)) for _ in range(count)]
            tasks = [
                asyncio.ensure_future(sb.run(f"echo ready {n} >&2; cat; echo done {n}", shell=True,
                                             stdin=read, text=True))
                for n, sb in enumerate(boxes)
            ]
            await asyncio.sleep(0.5)
            most = max(most, threads())
            # All of them run at once: no input is at its end yet.
            assert not any(task.done() for task in tasks)
            os.close(read)
            os.close(write)
            done = await asyncio.gather(*tasks)
            most = max(most, threads())
        assert [d.stdout for d in done] == [f"done {n}\\n" for n in range(count)], done
        assert [d.stderr for d in done] == [f"ready {n}\\n" for n in range(count)], done
        print(len(done), "sandboxes,", max(most, threads()), "thread")

    async def first():
        async with tare.aio.Sandbox(tare.Store().image("busybox")):
            pass

    # The first of an image may take a thread, which goes with its loop: Python
    # has joined it a moment before the kernel has.
    asyncio.run(first())
    while threads() > 1:
        time.sleep(0.001)
    asyncio.run(main(int(sys.argv[1])))
    """


def test_aio_two_hundred_sandboxes_in_one_loop_without_a_thread(store: tare.Store) -> None:
    said = python(MANY, "200")
    assert (said.stdout, said.stderr) == ("200 sandboxes, 1 thread\n", "")


class Ticks:
    """Counts the turns of the loop: a long turn is a single one."""

    def __init__(self) -> None:
        self.count = 0

    async def __aenter__(self) -> Ticks:
        self._task = asyncio.ensure_future(self._tick())
        await asyncio.sleep(0)
        return self

    async def _tick(self) -> None:
        while True:
            self.count += 1
            await asyncio.sleep(0)

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


def test_aio_first_import_and_a_copy_do_not_stop_the_loop(images: Path, tmp_path: Path) -> None:
    async def main() -> None:
        store = tare.Store(tmp_path / "store")
        reference = f"oci:{images}/busybox:latest"
        async with Ticks() as ticks:
            told: list[tuple[int, asyncio.AbstractEventLoop]] = []
            tell: Any = lambda *_: told.append((ticks.count, asyncio.get_running_loop()))  # noqa: E731
            async with tare.aio.Sandbox(reference, store=store, progress=tell) as box:
                assert (await box.run(["true"])).returncode == 0
            turns = [turn for turn, loop in told if loop is asyncio.get_running_loop()]
            assert len(turns) == len(told) > 1 and turns == sorted(set(turns))
            opens: list[Any] = [{"storage": "copy"}, {"storage": "copy"}, {}]
            for keys in opens:
                before = ticks.count
                box = await tare.aio.Sandbox(reference, store=store, **keys)
                assert ticks.count > before
                if keys:
                    before = ticks.count
                    await box.reset()
                    assert ticks.count > before
                await box.close()
            before = ticks.count
            async with tare.aio.Pool(reference, min=1, max=1, store=store):
                assert ticks.count > before

    asyncio.run(main())


def test_aio_progress_that_raises_stops_the_import(images: Path, tmp_path: Path) -> None:
    def refuse(*_: object) -> None:
        raise LookupError("enough")

    async def main() -> None:
        reference = f"oci:{images}/busybox:latest"
        for kind in (tare.aio.Sandbox, tare.aio.Pool):
            with pytest.raises(LookupError, match="enough"):
                await kind(reference, store=tmp_path / "store", progress=refuse)

    asyncio.run(main())
    assert tare.Store(tmp_path / "store").images() == []


def test_aio_open_that_is_cancelled_leaves_nothing(images: Path, tmp_path: Path) -> None:
    async def main() -> None:
        reference = f"oci:{images}/busybox:latest"
        opening: asyncio.Future[Any]
        box = tare.aio.Sandbox(reference, store=tmp_path / "store", progress=lambda *_: opening.cancel())
        opening = asyncio.ensure_future(box._opened())
        with pytest.raises(asyncio.CancelledError):
            await opening
        # A sandbox that a thread is about to hand over is closed.
        copy = tare.aio.Sandbox("busybox", storage="copy")
        opening = asyncio.ensure_future(copy._opened())
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tare.Store(tmp_path / "store")
        asyncio.run(main())
        gc.collect()
    assert caught == [] and tare.Store(tmp_path / "store").images() == []


@in_loop
async def test_aio_streams_have_a_limit_for_a_line(sb: tare.aio.Sandbox) -> None:
    script = "head -c 100000 /dev/zero | tr '\\0' x; echo"
    async with await sb.popen(["sh", "-c", script], stdout=tare.PIPE, limit=1 << 20) as process:
        assert process.stdout is not None
        assert len(await process.stdout.readline()) == 100_001
    async with await sb.popen(["sh", "-c", script], stdout=tare.PIPE) as process:
        assert process.stdout is not None
        with pytest.raises(ValueError):
            await process.stdout.readline()
