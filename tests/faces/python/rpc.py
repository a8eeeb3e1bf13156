# SPDX-License-Identifier: MIT OR Apache-2.0
"""The cases through the protocol of `tare rpc`: rpc.py STORE TARE."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from typing import Any

import face
from face import Outcome, Refused, Wanted


def said(data: bytes) -> str | dict[str, str]:
    """Bytes as the protocol has them."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def heard(data: str | dict[str, str]) -> bytes:
    """Bytes that came."""
    return data.encode() if isinstance(data, str) else base64.b64decode(data["base64"])


class Command:
    """The state of a `run`."""

    def __init__(self, id: int) -> None:
        self.id = id
        self.out = {"stdout": b"", "stderr": b""}


class Rpc:
    """A client that waits for each answer, but for those of commands that were
    only started."""

    def __init__(self, store: str, tare: str) -> None:
        self.tare = subprocess.Popen(
            [tare, "--store", store, "rpc"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.id = 0
        self.running: dict[int, Command] = {}
        self.answers: dict[int, dict[str, Any]] = {}
        self.started: set[int] = set()
        self.processes: dict[str, Command] = {}
        self.is_open = False
        self.watched = 0
        self.kills: list[int] = []
        self.told: list[str] = []

    def ask(self, method: str, **params: Any) -> int:
        assert self.tare.stdin
        self.id += 1
        request = {"id": self.id, "method": method, "params": params}
        self.tare.stdin.write(json.dumps(request).encode() + b"\n")
        self.tare.stdin.flush()
        return self.id

    def hear(self) -> None:
        """Takes a line in."""
        assert self.tare.stdout
        line = json.loads(self.tare.stdout.readline())
        id = line["id"]
        if line.get("event") in ("started", "watching"):
            self.started.add(id)
        elif line.get("event") == "oom":
            self.kills.append(line["oom_kills"])
        elif "event" in line:
            self.running[id].out[line["event"]] += heard(line["data"])
        else:
            self.answers[id] = line

    def answer(self, id: int) -> Any:
        while id not in self.answers:
            self.hear()
        line = self.answers.pop(id)
        if "error" in line:
            error = line["error"]
            raise Refused(error["kind"], error["errno"], error["step"])
        return line["result"]

    def call(self, method: str, **params: Any) -> Any:
        return self.answer(self.ask(method, sandbox="it", **params))

    def open(self, text: str) -> None:
        self.end()
        self.hear_left_out(self.call("open", spec=json.loads(text)))
        self.is_open = True

    def take(self, text: str) -> None:
        self.end()
        self.answer(self.ask("open_pool", pool="p", spec=json.loads(text), min=1, max=2))
        self.hear_left_out(self.call("open", pool="p"))
        self.is_open = True
        self.answer(self.ask("close_pool", pool="p"))

    def hear_left_out(self, answer: Any) -> None:
        """Takes the keys that an answer says were left out."""
        self.told += [one["key"] for one in answer.get("left_out", ())]

    def start(self, wanted: Wanted) -> Command:
        params: dict[str, Any] = {
            "argv": [said(word) for word in wanted.argv],
            "env": {name.decode(): said(value) for name, value in wanted.env.items()},
            "cwd": wanted.cwd,
            "user": wanted.user,
            "timeout": wanted.timeout,
            "input": None if wanted.input is None else said(wanted.input),
            "stdin": "pipe" if wanted.pipe else None,
            "stderr": "stdout" if wanted.merged else None,
            "rlimits": wanted.rlimits or None,
            "cap_add": wanted.cap_add or None,
            "cap_drop": wanted.cap_drop or None,
            "umask": None if wanted.umask is None else f"{wanted.umask:o}",
        }
        given = {name: value for name, value in params.items() if value is not None}
        command = Command(self.ask("run", sandbox="it", **given))
        self.running[command.id] = command
        return command

    def end_of(self, command: Command) -> Outcome:
        result = self.answer(command.id)
        usage, out = result["usage"], command.out
        return Outcome(
            result["reason"],
            result["exit_code"],
            result["signal"],
            out["stdout"],
            out["stderr"],
            usage["oom_kills"],
            usage["memory_peak"],
        )

    def run(self, wanted: Wanted) -> Outcome:
        return self.end_of(self.start(wanted))

    def run_beside(self, wanted: Wanted, end: str, path: str) -> Outcome:
        command = self.start(wanted)
        while command.id not in self.answers and not face.has_begun(self, path):
            time.sleep(0.01)
        getattr(self, end)()
        return self.end_of(command)

    def spawn(self, name: str, wanted: Wanted) -> None:
        command = self.start(wanted)
        while command.id not in self.started and command.id not in self.answers:
            self.hear()
        if "error" in self.answers.get(command.id, ()):
            self.answer(command.id)
        self.processes[name] = command

    def order(self, method: str, name: str, **params: Any) -> None:
        self.answer(self.ask(method, command=self.processes[name].id, **params))

    def send(self, name: str, data: bytes) -> None:
        self.order("stdin", name, data=said(data))

    def eof(self, name: str) -> None:
        self.order("stdin", name, eof=True)

    def signal(self, name: str, number: int) -> None:
        self.order("signal", name, signal=number)

    def kill(self, name: str) -> None:
        self.order("kill", name)

    def commands(self) -> int:
        return len(self.call("commands")["commands"])

    def kill_found(self, name: str) -> None:
        running = [command["command"] for command in self.call("commands")["commands"]]
        assert self.processes[name].id in running, running
        self.kill(name)

    def wait(self, name: str) -> Outcome:
        return self.end_of(self.processes.pop(name))

    def reset(self) -> None:
        self.hear_left_out(self.call("reset"))

    def effective(self) -> Any:
        return self.call("effective")

    def freeze(self) -> None:
        self.call("freeze")

    def thaw(self) -> None:
        self.call("thaw")

    def limit(self, limits: dict[str, Any]) -> None:
        self.call("set_limits", limits=limits)

    def usage(self) -> dict[str, Any]:
        return self.call("usage")

    def watch(self) -> None:
        self.watched = self.ask("watch", sandbox="it")
        while self.watched not in self.started:
            if self.watched in self.answers:
                self.answer(self.watched)
            self.hear()

    def event(self) -> tuple[str, int]:
        while not self.kills and self.watched not in self.answers:
            self.hear()
        return ("oom", self.kills.pop(0)) if self.kills else ("gone", 0)

    def close(self) -> None:
        self.is_open = False
        self.call("close")

    def read(self, path: str) -> bytes:
        return heard(self.call("read_file", path=path)["data"])

    def write(self, path: str, mode: int, data: bytes) -> None:
        self.call("write_file", path=path, mode=f"{mode:o}", data=said(data))

    def mkdir(self, path: str, mode: int) -> None:
        self.call("mkdir", path=path, mode=f"{mode:o}")

    def list(self, path: str) -> list[str]:
        return [heard(entry["name"]).decode() for entry in self.call("list_dir", path=path)["entries"]]

    def stat(self, path: str, follow: bool) -> tuple[str, int, int]:
        found = self.call("stat", path=path, follow_symlinks=follow)
        return found["type"], int(found["mode"], 8), found["size"]

    def remove(self, path: str, recursive: bool) -> None:
        self.call("remove", path=path, recursive=recursive)

    def end(self) -> None:
        if self.is_open:
            self.close()

    def finish(self) -> int:
        assert self.tare.stdin
        self.tare.stdin.close()
        return self.tare.wait()


if __name__ == "__main__":
    os.environ.pop("TARE_STORE", None)
    runner = Rpc(*sys.argv[1:])
    face.main(runner)
    sys.exit(runner.finish())
