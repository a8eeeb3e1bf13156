# SPDX-License-Identifier: MIT OR Apache-2.0
"""Other loops than asyncio's own: anyio, trio, gevent, and eventlet's way of
patching."""

from __future__ import annotations

import select

import pytest
import tare
import tare.aio
from conftest import python

ANYIO = """if True:
    import anyio, tare.aio

    async def main():
        async with tare.aio.Sandbox("busybox") as sandbox:
            seen = []

            async def one(n):
                seen.append((await sandbox.run(["echo", str(n)], text=True)).stdout)

            async with anyio.create_task_group() as tasks:
                for n in range(5):
                    tasks.start_soon(one, n)
            assert sorted(seen) == [f"{n}\\n" for n in range(5)], seen
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(sandbox.run, ["sleep", "60"])
                    await anyio.sleep(0)
                    scope.cancel()
            process = await sandbox.popen(["echo", "x"], stdout=tare.aio.PIPE)
            assert await process.communicate() == (b"x\\n", None)

    anyio.run(main)
    print("done")
"""
TRIO = """if True:
    import tare, tare.aio, trio

    async def main():
        with tare.Sandbox("busybox") as sandbox:
            turns = []

            async def one(n):
                done = await trio.to_thread.run_sync(lambda: sandbox.run(["echo", str(n)], text=True))
                turns.append(done.stdout)

            async with trio.open_nursery() as nursery:
                for n in range(5):
                    nursery.start_soon(one, n)
            assert sorted(turns) == [f"{n}\\n" for n in range(5)], turns
        try:
            await tare.aio.Sandbox("busybox")
        except RuntimeError as error:
            assert "trio.to_thread.run_sync" in str(error), error

    trio.run(main)
    print("done")
"""
GEVENT = """if True:
    from gevent import monkey
    monkey.patch_all()
    import gevent, tare

    with tare.Sandbox("busybox") as sandbox:
        # Each waits for another one: a call that stops all greenlets would never return.
        first = sandbox.popen(["cat"], stdin=tare.PIPE, stdout=tare.PIPE)
        second = sandbox.popen(["cat"], stdin=tare.PIPE)
        waits = [gevent.spawn(first.communicate), gevent.spawn(second.wait)]
        gevent.sleep(0)
        second.stdin.close()
        gevent.joinall(waits, raise_error=True)
        apply = gevent.get_hub().threadpool.apply
        assert apply(sandbox.run, (["echo", "x"],)).stdout == b"x\\n"
    print("done")
"""


@pytest.mark.parametrize(
    ("name", "code"), [("anyio", ANYIO), ("trio", TRIO), ("gevent", GEVENT)], ids=["anyio", "trio", "gevent"]
)
def test_other_loops_have_what_the_docs_say(store: tare.Store, name: str, code: str) -> None:
    pytest.importorskip(name)
    said = python(code)
    assert (said.stdout, said.returncode) == ("done\n", 0), said.stderr


def test_commands_are_waited_for_without_poll(box: tare.Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(select, "poll")
    process = box.popen(["cat"], stdin=tare.PIPE, stdout=tare.PIPE)
    with pytest.raises(tare.TimeoutExpired):
        process.wait(0.01)
    assert process.communicate(b"x" * 200_000) == (b"x" * 200_000, None)
    assert process.wait() == 0


def test_aio_without_its_loop_says_what_to_do(store: tare.Store) -> None:
    for kind in (tare.aio.Sandbox, tare.aio.Pool):
        with pytest.raises(RuntimeError, match=r"under trio, .* trio\.to_thread\.run_sync"):
            kind("busybox").__await__().send(None)
