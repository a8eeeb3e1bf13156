# SPDX-License-Identifier: MIT OR Apache-2.0
"""The cases through `tare.aio.Sandbox`, on one event loop: aio.py STORE."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable
from typing import Any, TypeVar

import face
import tare
import tare.aio
from face import Outcome, Wanted
from of_tare import FilesOf, options, outcome, raised, refusals, spec

T = TypeVar("T")


class Aio(FilesOf):
    sandbox: tare.aio.Sandbox

    def __init__(self, store: str) -> None:
        super().__init__()
        self.store = tare.Store(store)
        self.loop = asyncio.new_event_loop()
        self.processes: dict[str, tare.aio.Process] = {}

    def do(self, what: Awaitable[T]) -> T:
        with refusals():
            return self.loop.run_until_complete(what)

    def open(self, text: str) -> None:
        self.end()

        async def opened() -> tare.aio.Sandbox:
            return await tare.aio.Sandbox(store=self.store, **spec(text))

        self.sandbox = self.do(opened())

    def take(self, text: str) -> None:
        self.end()

        async def taken() -> tare.aio.Sandbox:
            async with tare.aio.Pool(store=self.store, min=1, max=2, **spec(text)) as pool:
                return pool.take()

        self.sandbox = self.do(taken())

    async def finished(self, wanted: Wanted) -> Outcome:
        try:
            done = await self.sandbox.run(wanted.argv, input=wanted.input, **options(wanted))
        except (tare.TimeoutExpired, tare.OutputLimitExceeded) as error:
            return raised(error)
        return outcome(done.reason, done.returncode, done.stdout, done.stderr, done.usage)

    def run(self, wanted: Wanted) -> Outcome:
        return self.do(self.finished(wanted))

    def run_beside(self, wanted: Wanted, end: str, path: str) -> Outcome:
        async def both() -> Outcome:
            running = asyncio.ensure_future(self.finished(wanted))
            while not running.done() and not face.has_begun(self, path):
                await asyncio.sleep(0.01)
            await getattr(self.sandbox, end)()
            return await running

        return self.do(both())

    def spawn(self, name: str, wanted: Wanted) -> None:
        stdin = tare.PIPE if wanted.pipe else tare.DEVNULL
        self.processes[name] = self.do(self.sandbox.popen(wanted.argv, stdin=stdin, **options(wanted)))

    def send(self, name: str, data: bytes) -> None:
        pipe = self.processes[name].stdin
        assert pipe
        pipe.write(data)
        self.do(pipe.drain())

    def eof(self, name: str) -> None:
        pipe = self.processes[name].stdin
        assert pipe
        pipe.close()

    def signal(self, name: str, number: int) -> None:
        with refusals():
            self.processes[name].send_signal(number)

    def kill(self, name: str) -> None:
        with refusals():
            self.processes[name].kill()

    def commands(self) -> int:
        return len(self.sandbox.commands())

    def kill_found(self, name: str) -> None:
        found = self.do(self.sandbox.process(self.processes[name].id))
        found.kill()

    def wait(self, name: str) -> Outcome:
        process = self.processes.pop(name)
        try:
            out, err = self.do(process.communicate())
        except tare.OutputLimitExceeded as error:
            return raised(error, process.returncode)
        assert process.reason is not None and process.returncode is not None
        return outcome(process.reason, process.returncode, out, err, process.usage)

    def reset(self) -> None:
        self.do(self.sandbox.reset())

    def freeze(self) -> None:
        self.do(self.sandbox.freeze())

    def thaw(self) -> None:
        self.do(self.sandbox.thaw())

    def limit(self, limits: dict[str, Any]) -> None:
        with refusals():
            self.sandbox.set_limits(**limits)

    def usage(self) -> dict[str, Any]:
        return dict(self.sandbox.usage())

    def watch(self) -> None:
        with refusals():
            self.events = self.sandbox.events()

    def event(self) -> tuple[str, int]:
        event = self.do(self.events.__anext__())
        return event.kind, event.oom_kills

    def close(self) -> None:
        self.do(self.sandbox.close())

    def end(self) -> None:
        if hasattr(self, "sandbox"):
            self.close()
            del self.sandbox


if __name__ == "__main__":
    face.main(Aio(sys.argv[1]))
