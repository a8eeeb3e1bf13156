# SPDX-License-Identifier: MIT OR Apache-2.0
"""The cases through `tare.Sandbox`: sync.py STORE."""

from __future__ import annotations

import select
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import face
import tare
from face import Outcome, Wanted
from of_tare import FilesOf, options, outcome, raised, refusals, spec


class Sync(FilesOf):
    sandbox: tare.Sandbox

    def __init__(self, store: str) -> None:
        super().__init__()
        self.store = tare.Store(store)
        self.processes: dict[str, tare.Popen[bytes]] = {}

    def open(self, text: str) -> None:
        self.end()
        with refusals():
            self.sandbox = tare.Sandbox(store=self.store, **spec(text))

    def take(self, text: str) -> None:
        self.end()
        with refusals(), tare.Pool(store=self.store, min=1, max=2, **spec(text)) as pool:
            self.sandbox = pool.take()

    def run(self, wanted: Wanted) -> Outcome:
        try:
            with refusals():
                done = self.sandbox.run(wanted.argv, input=wanted.input, **options(wanted))
        except (tare.TimeoutExpired, tare.OutputLimitExceeded) as error:
            return raised(error)
        return outcome(done.reason, done.returncode, done.stdout, done.stderr, done.usage)

    def run_beside(self, wanted: Wanted, end: str, path: str) -> Outcome:
        with ThreadPoolExecutor(1) as threads:
            running = threads.submit(self.run, wanted)
            while not running.done() and not face.has_begun(self, path):
                time.sleep(0.01)
            getattr(self, end)()
            return running.result()

    def spawn(self, name: str, wanted: Wanted) -> None:
        stdin = tare.PIPE if wanted.pipe else tare.DEVNULL
        with refusals():
            self.processes[name] = self.sandbox.popen(wanted.argv, stdin=stdin, **options(wanted))

    def send(self, name: str, data: bytes) -> None:
        pipe = self.processes[name].stdin
        assert pipe
        pipe.write(data)
        pipe.flush()

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
        with refusals():
            self.sandbox.process(self.processes[name].id).kill()

    def wait(self, name: str) -> Outcome:
        process = self.processes.pop(name)
        try:
            with refusals():
                out, err = process.communicate()
        except tare.OutputLimitExceeded as error:
            return raised(error, process.returncode)
        assert process.reason is not None and process.returncode is not None
        return outcome(process.reason, process.returncode, out, err, process.usage)

    def reset(self) -> None:
        with refusals():
            self.sandbox.reset()

    def freeze(self) -> None:
        with refusals():
            self.sandbox.freeze()

    def thaw(self) -> None:
        with refusals():
            self.sandbox.thaw()

    def limit(self, limits: dict[str, Any]) -> None:
        with refusals():
            self.sandbox.set_limits(**limits)

    def usage(self) -> dict[str, Any]:
        return dict(self.sandbox.usage())

    def watch(self) -> None:
        with refusals():
            self.events = self.sandbox.events()

    def event(self) -> tuple[str, int]:
        while not (event := self.events.next()):
            select.select([self.events], [], [])
        return event.kind, event.oom_kills

    def close(self) -> None:
        with refusals():
            self.sandbox.close()

    def end(self) -> None:
        if hasattr(self, "sandbox"):
            self.close()
            del self.sandbox


if __name__ == "__main__":
    face.main(Sync(sys.argv[1]))
