# SPDX-License-Identifier: MIT OR Apache-2.0
"""The cases through `tare.Sandbox`: sync.py STORE."""

from __future__ import annotations

import select
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import face
import tare
from face import Outcome, Wanted
from of_tare import FaceOf, refusals, spec


class Sync(FaceOf):
    def open(self, text: str) -> None:
        self.end()
        self.sandbox = self.do(tare.Sandbox, store=self.store, **spec(text))

    def take(self, text: str) -> None:
        self.end()
        with refusals(), tare.Pool(store=self.store, min=1, max=2, **spec(text)) as pool:
            self.sandbox = pool.take()

    def run_beside(self, wanted: Wanted, end: str, path: str) -> Outcome:
        with ThreadPoolExecutor(1) as threads:
            running = threads.submit(self.run, wanted)
            while not running.done() and not face.has_begun(self, path):
                time.sleep(0.01)
            getattr(self, end)()
            return running.result()

    def send(self, name: str, data: bytes) -> None:
        pipe = self.processes[name].stdin
        pipe.write(data)
        pipe.flush()

    def event(self) -> tuple[str, int]:
        while not (event := self.events.next()):
            select.select([self.events], [], [])
        return event.kind, event.oom_kills


if __name__ == "__main__":
    face.main(Sync(sys.argv[1]))
