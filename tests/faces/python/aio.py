# SPDX-License-Identifier: MIT OR Apache-2.0
"""The cases through `tare.aio.Sandbox`, on one event loop: aio.py STORE."""

from __future__ import annotations

import asyncio
import inspect
import sys
from typing import Any

import face
import tare.aio
from face import Outcome, Wanted
from of_tare import FaceOf, spec


class Aio(FaceOf):
    def __init__(self, store: str) -> None:
        super().__init__(store)
        self.loop = asyncio.new_event_loop()

    def settled(self, what: Any) -> Any:
        return self.loop.run_until_complete(what) if inspect.isawaitable(what) else what

    def open(self, text: str) -> None:
        self.end()

        async def opened() -> tare.aio.Sandbox:
            return await tare.aio.Sandbox(store=self.store, **spec(text))

        self.sandbox = self.do(opened)

    def take(self, text: str) -> None:
        self.end()

        async def taken() -> tare.aio.Sandbox:
            async with tare.aio.Pool(store=self.store, min=1, max=2, **spec(text)) as pool:
                return pool.take()

        self.sandbox = self.do(taken)

    def run_beside(self, wanted: Wanted, end: str, path: str) -> Outcome:
        async def both() -> Any:
            running = asyncio.ensure_future(self.start(wanted))
            while not running.done() and not face.has_begun(self, path):
                await asyncio.sleep(0.01)
            await getattr(self.sandbox, end)()
            return await running

        return self.outcome_of(both)

    def send(self, name: str, data: bytes) -> None:
        pipe = self.processes[name].stdin
        pipe.write(data)
        self.do(pipe.drain)

    def event(self) -> tuple[str, int]:
        event = self.do(self.events.__anext__)
        return event.kind, event.oom_kills


if __name__ == "__main__":
    face.main(Aio(sys.argv[1]))
