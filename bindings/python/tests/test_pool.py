# SPDX-License-Identifier: MIT OR Apache-2.0
"""Sandboxes made ahead, each used once."""

from __future__ import annotations

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import tare
import tare.aio

CLEAN = "ls /tmp | wc -l; touch /tmp/used"


def test_pool_gives_each_taker_an_unused_sandbox(store: tare.Store) -> None:
    names = set()
    with tare.Pool("busybox", min=2, max=4, shm="8m") as pool:
        for _ in range(8):
            with pool.take() as sandbox:
                assert sandbox.run(CLEAN, shell=True).stdout == b"0\n"
                names.add(sandbox.effective()["name"])
        kept = pool.take()
    assert len(names) == 8
    # The sandbox outlives the pool.
    assert kept.run(CLEAN, shell=True).stdout == b"0\n"
    kept.close()
    with pytest.raises(tare.Error, match="it was closed"):
        pool.take()
    pool.close()


def test_pool_has_them_ready(store: tare.Store) -> None:
    with tare.Pool(store.image("busybox"), min=3, max=3) as pool:
        deadline = time.monotonic() + 30
        while pool.ready != 3:
            assert time.monotonic() < deadline, pool.ready
            time.sleep(0.001)


def test_pool_serves_eight_threads_and_adds_none(store: tare.Store) -> None:
    def taker(_: int) -> None:
        for _ in range(3):
            with pool.take() as sandbox:
                said.append(sandbox.run(CLEAN, shell=True).stdout)

    said: list[bytes] = []
    with tare.Pool("busybox", min=1, max=8) as pool:
        before = set(os.listdir("/proc/self/task"))
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(taker, range(8)))
        deadline = time.monotonic() + 30
        # A thread that was joined may take a moment to go.
        while not set(os.listdir("/proc/self/task")) <= before:
            assert time.monotonic() < deadline
            time.sleep(0.001)
    assert said == [b"0\n"] * 24


def test_pool_refuses_what_cannot_be(store: tare.Store) -> None:
    with pytest.raises(tare.Error, match="open pool"):
        tare.Pool("busybox", min=3, max=2)
    with pytest.raises(tare.Error, match="not in the store"):
        tare.Pool("no-such-image")
    with pytest.raises(TypeError, match=r"^Pool\(\) got .* 'memroy'; try: \"memory\""):
        tare.Pool("busybox", memroy="8m")  # type: ignore[call-arg]


def test_pool_in_an_event_loop(store: tare.Store) -> None:
    async def main() -> None:
        async def use() -> bytes:
            async with pool.take() as sandbox:
                return (await sandbox.run(CLEAN, shell=True)).stdout

        async with tare.aio.Pool("busybox", min=2, max=8) as pool:
            assert await asyncio.gather(*(use() for _ in range(12))) == [b"0\n"] * 12
            assert pool.ready >= 0
        with pytest.raises(tare.Error, match="it was closed"):
            pool.take()
        with pytest.raises(RuntimeError, match="not open yet"):
            tare.aio.Pool("busybox").take()

    asyncio.run(main())
