# SPDX-License-Identifier: MIT OR Apache-2.0
"""Lifetimes of descriptors, of errors on their way, of objects that were never
closed."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import select
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable

import pytest
import tare
import tare.aio
from conftest import python
from tare._store import default_store


def descriptors() -> int:
    # The prestarted sandbox goes.
    default_store().recover()
    return len(os.listdir("/proc/self/fd"))


def test_sandbox_closed_holds_no_descriptor(store: tare.Store) -> None:
    tare.Sandbox("busybox").close()
    before = descriptors()
    closed = [tare.Sandbox("busybox") for _ in range(5)]
    for sandbox in closed:
        sandbox.close()
    assert descriptors() == before
    assert [repr(sandbox) for sandbox in closed] == ["<Sandbox 'busybox' closed>"] * 5

    async def awaited() -> list[tare.aio.Sandbox]:
        boxes = [tare.aio.Sandbox("busybox") for _ in range(5)]
        for box in boxes:
            async with box:
                process = await box.popen(["true"])
                await process.wait()
        return boxes

    asyncio.run(awaited())
    before = descriptors()
    held = asyncio.run(awaited())
    assert descriptors() == before and all("closed" in repr(box) for box in held)


def test_popen_ended_holds_no_descriptor(box: tare.Sandbox) -> None:
    before = descriptors()
    held = [box.popen(["true"]) for _ in range(5)]
    for process in held:
        assert process.wait() == 0
    assert descriptors() == before
    talking = [box.popen(["echo", "x"], stdout=tare.PIPE, stderr=tare.PIPE) for _ in range(5)]
    assert [process.communicate() for process in talking] == [(b"x\n", b"")] * 5
    assert descriptors() == before
    for process in [*held, *talking]:
        assert process.pid == -1 and process.poll() == 0 and process.wait() == 0
        process.kill()
        process.send_signal(9)
        with pytest.raises(ValueError, match="its descriptors are closed"):
            process.fileno()
        with pytest.raises(ValueError, match="its descriptors are closed"):
            process.pidfd  # noqa: B018


def test_popen_whose_end_was_seen_can_still_be_read(box: tare.Sandbox) -> None:
    script = "printf out; printf err >&2; exit 3"
    process = box.popen(script, shell=True, stdin=tare.PIPE, stdout=tare.PIPE, stderr=tare.PIPE)
    assert process.wait() == 3
    assert process.communicate(b"unread") == (b"out", b"err")
    assert process.communicate() == (b"out", b"err")
    # Some was read before, and some lies in the file's buffer.
    process = box.popen(["printf", "one\ntwo\nthree"], stdout=tare.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"one\n"
    process.wait()
    assert process.communicate() == (b"two\nthree", None)
    with pytest.raises(tare.OutputLimitExceeded) as cut:
        process = box.popen(["printf", "123456789"], stdout=tare.PIPE, output_limit=4)
        process.wait()
        process.communicate()
    assert (cut.value.output, process.returncode, process.reason) == (b"1234", -9, "output")


def test_popen_is_waited_for_by_many_threads(box: tare.Sandbox) -> None:
    with ThreadPoolExecutor(4) as threads:
        for _ in range(20):
            process = box.popen(["cat"], stdin=tare.PIPE)
            waits = [threads.submit(process.wait, 20) for _ in range(4)]
            assert process.stdin is not None
            process.stdin.close()
            assert [wait.result() for wait in waits] == [0] * 4


def test_popen_is_selected_until_its_end(box: tare.Sandbox) -> None:
    with box.popen(["true"]) as process:
        assert select.select([process], [], [], 20)[0] == [process]


class Own(Exception):
    """The exception on its way."""


def broken(*_: object) -> None:
    raise OSError(5, "broken")


def test_close_never_masks_what_is_on_its_way(
    store: tare.Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for kind in (tare.Sandbox, tare.Pool):
        opened = kind("busybox")
        really = opened.close
        monkeypatch.setattr(opened, "close", broken)
        with pytest.raises(Own) as caught, opened:
            raise Own
        if sys.version_info >= (3, 11):
            assert any("broken" in note for note in caught.value.__notes__)
        with pytest.raises(OSError, match="broken"), opened:
            pass
        really()

    async def awaited() -> None:
        for kind in (tare.aio.Sandbox, tare.aio.Pool):
            opened = await kind("busybox")
            really = opened.close
            monkeypatch.setattr(opened, "close", broken)
            with pytest.raises(Own):
                async with opened:
                    raise Own
            await really()

    asyncio.run(awaited())
    with tare.Sandbox("busybox") as box, pytest.raises(Own):
        with box.popen(["sleep", "60"]) as process:
            monkeypatch.setattr(process, "kill", broken)
            box.close()
            raise Own
    assert sum("broken" in record.getMessage() for record in caplog.records if record.name == "tare") == 5


def test_what_was_never_closed_is_warned_of(store: tare.Store) -> None:
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: tare.Sandbox("busybox"), "never closed: <Sandbox 'busybox' open>"),
        (lambda: tare.Pool("busybox", min=1, max=1), "never closed: <Pool of 'busybox' open>"),
        (lambda: asyncio.run(opened()), "never closed: <Sandbox 'busybox' open>"),
    ]
    for make, said in cases:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            make()
            gc.collect()
        assert [(w.category, str(w.message)) for w in caught] == [(ResourceWarning, said)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        wrongs: list[Any] = [{"memory": "1x"}, {"memroy": 1}]
        for wrong in wrongs:
            with pytest.raises(tare.Error):
                tare.Sandbox("busybox", **wrong)
        with tare.Sandbox("busybox"), tare.Pool("busybox", min=1, max=1):
            pass
        if os.fork() == 0:
            os._exit(0)
        os.wait()
        gc.collect()
    # From 3.12 on, Python warns of a fork beside other threads, which xdist
    # has.
    assert [w for w in caught if w.category is not DeprecationWarning] == []


async def opened() -> tare.aio.Sandbox:
    return await tare.aio.Sandbox("busybox")


def test_repr_says_image_state_and_reason(box: tare.Sandbox, store: tare.Store) -> None:
    assert repr(box) == "<Sandbox 'busybox' open>"
    image = store.image("busybox")
    with tare.Sandbox(image) as held:
        assert repr(held) == f"<Sandbox {image.reference!r} open>"
    process = box.popen(["sleep", "60"])
    assert repr(process) == "<Popen: returncode: None args: ['sleep', '60']>"
    process.kill()
    process.wait()
    assert repr(process) == "<Popen: returncode: -9 reason: killed args: ['sleep', '60']>"
    done = box.run("kill -9 $$", shell=True)
    assert repr(done).startswith("CompletedProcess(args='kill -9 $$', returncode=-9, reason='signaled', ")
    assert "reason" not in repr(box.run(["true"]))


def test_module_shows_what_is_for_users(store: tare.Store) -> None:
    assert dir(tare) == sorted([*tare.__all__, "aio"])
    assert dir(tare.aio) == sorted(tare.aio.__all__)
    assert all(hasattr(tare, name) for name in dir(tare))


def test_logger_tells_of_sandboxes_and_commands(store: tare.Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "tare")
    with tare.Sandbox("busybox", env={"A": "SECRET"}) as box:
        box.run("exit 3 # SECRET", shell=True, env={"B": "SECRET"})
        box.popen(["true"]).wait()
        box.reset()
    said = [record.getMessage() for record in caplog.records if record.name == "tare"]
    assert said == [
        "<Sandbox 'busybox' open> opened",
        "<Sandbox 'busybox' open>: /bin/sh (2 arguments): exited, 3",
        "<Sandbox 'busybox' open>: true: started",
        "<Sandbox 'busybox' open> reset",
        "<Sandbox 'busybox' closed>",
    ]


def test_logging_is_not_loaded_for_the_library_alone() -> None:
    code = "import sys, tare; print('logging' in sys.modules, 'asyncio' in sys.modules)"
    assert python(code).stdout == "False False\n"


def test_key_that_is_left_out_is_told_without_logging(store: tare.Store) -> None:
    code = """if True:
        import tare

        with tare.Sandbox("busybox", storage="copy", disk="1m", best_effort=["limits.disk"]) as box:
            print(box.effective()["left_out"][0]["key"])
    """
    said = python(code)
    assert said.stdout == "limits.disk\n", said
    assert said.stderr.startswith("<Sandbox 'busybox' open>: left out limits.disk: "), said


FULL = """if True:
    import os, resource, sys, tare, tare.aio, asyncio

    def full():
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
        held = []
        try:
            while True:
                held.append(os.dup(0))
        except OSError:
            return held

    async def awaited():
        return await tare.aio.Sandbox("busybox")

    is_aio = sys.argv[1] == "aio"
    loop = asyncio.new_event_loop()
    box = loop.run_until_complete(awaited()) if is_aio else tare.Sandbox("busybox")
    process = (box._sandbox if is_aio else box).popen(["sleep", "60"])
    held = full()
    try:
        loop.run_until_complete(box.close()) if is_aio else box.close()
    except OSError as error:
        print(error.errno)
    for fd in held:
        os.close(fd)
    print(process.wait(20), process.reason)
"""


@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_close_at_the_limit_of_descriptors_ends_the_sandbox(store: tare.Store, kind: str) -> None:
    said = python(FULL, kind)
    assert said.stdout.splitlines()[-1:] == ["-9 killed"], said
