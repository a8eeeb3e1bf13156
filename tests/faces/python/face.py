# SPDX-License-Identifier: MIT OR Apache-2.0
"""Reads cases, has a face follow them, writes the results: shared by the
runners in Python."""

from __future__ import annotations

import json
import re
import sys
from typing import Any, NamedTuple


class Outcome(NamedTuple):
    """The end of a command."""

    reason: str
    exit_code: int | None
    signal: int | None
    stdout: bytes
    stderr: bytes
    oom_kills: int | None = None
    memory_peak: int | None = None


class Refused(Exception):
    """An error, with its compared fields."""

    def __init__(self, kind: str, errno: int | None, step: str) -> None:
        super().__init__(kind, errno, step)
        self.words = f"error {kind} {errno or 0} {step}"


class Wanted:
    """The next command, from the lines before it."""

    def __init__(self) -> None:
        self.argv: list[bytes] = []
        self.env: dict[bytes, bytes] = {}
        self.cwd: str | None = None
        self.user: str | None = None
        self.timeout: float | None = None
        self.input: bytes | None = None
        self.pipe = False
        self.merged = False
        self.rlimits: dict[str, str] = {}
        self.cap_add: list[str] = []
        self.cap_drop: list[str] = []
        self.umask: int | None = None

    def take(self, word: str, text: bytes) -> bool:
        """Returns whether the line was about the command."""
        if word == "sh":
            self.argv = [b"sh", b"-c", text]
        elif word == "arg":
            self.argv.append(text)
        elif word == "env":
            name, _, value = text.partition(b"=")
            self.env[name] = value
        elif word in ("cwd", "user"):
            setattr(self, word, text.decode())
        elif word == "timeout":
            self.timeout = float(text)
        elif word == "input":
            self.input = text
        elif word == "input_size":
            self.input = b"x" * int(text)
        elif word == "rlimit":
            resource, _, limit = text.decode().partition(" ")
            self.rlimits[resource] = limit
        elif word in ("cap_add", "cap_drop"):
            getattr(self, word).append(text.decode())
        elif word == "umask":
            self.umask = int(text, 8)
        elif word == "stdin":
            self.pipe = True
        elif word == "stderr":
            self.merged = True
        else:
            return False
        return True


_ESCAPE = re.compile(rb"\\(n|\\|x[0-9a-f]{2})")


def unescape(text: bytes) -> bytes:
    """The bytes that a text stands for."""
    known = {b"n": b"\n", b"\\": b"\\"}
    return _ESCAPE.sub(lambda m: known.get(m[1]) or bytes.fromhex(m[1][1:].decode()), text)


def escape(data: bytes) -> str:
    """The text that stands for bytes."""
    known = {10: "\\n", 92: "\\\\"}
    return "".join(known.get(b) or (chr(b) if 32 <= b < 127 else f"\\x{b:02x}") for b in data)


def say(line: str) -> None:
    print(line, flush=True)


def has_begun(face: Any, path: str) -> bool:
    """Returns whether a command runs, and has made the file."""
    try:
        face.stat(path, True)
    except Refused:
        return False
    return bool(face.commands() == 1)


def _say_outcome(face: Any, outcome: Outcome) -> None:
    number = outcome.signal if outcome.reason == "signaled" else outcome.exit_code
    if outcome.reason in ("exited", "signaled"):
        say(f"> {outcome.reason} {number}")
    else:
        say(f"> {outcome.reason}" if number is None else f"> {outcome.reason} with exit code {number}")
    face.ended = outcome
    for name in ("stdout", "stderr"):
        data = getattr(outcome, name)
        if len(data) > 200:
            say(f"> {name} {len(data)} bytes, sum {sum(data)}")
        elif data:
            say(f"> {name} {escape(data)}")
    if outcome.oom_kills:
        say(f"> oom_kills {outcome.oom_kills}")


def _say_memory_peak(peak: int | None, mib: int) -> None:
    if peak is None:
        say("> memory_peak unknown")
    else:
        say(f"> memory_peak {'at least' if peak >> 20 >= mib else 'below'} {mib}")


_WHOLE = {"reset": "reset", "close": "closed", "freeze": "frozen", "thaw": "thawed", "watch": "watching"}


def _say_keys(word: str, keys: list[str]) -> None:
    say(" ".join([">", word, *(keys or ["nothing"])]))


def _step(face: Any, word: str, text: bytes, wanted: Wanted) -> None:
    name, _, rest = text.partition(b" ")
    path, more = name.decode(), unescape(rest)
    if word == "run":
        _say_outcome(face, face.run(wanted))
    elif word == "run_beside":
        outcome = face.run_beside(wanted, path, more.decode())
        say(f"> {_WHOLE[path]}")
        _say_outcome(face, outcome)
    elif word == "memory_peak":
        _say_memory_peak(face.ended.memory_peak, int(text))
    elif word == "spawn":
        face.spawn(path, wanted)
        say("> spawned")
    elif word == "wait":
        _say_outcome(face, face.wait(path))
    elif word == "send":
        face.send(path, more)
    elif word == "signal":
        face.signal(path, int(more))
    elif word in ("eof", "kill"):
        getattr(face, word)(path)
    elif word == "commands":
        say(f"> {face.commands()} run")
    elif word == "kill_found":
        face.kill_found(path)
        say("> found")
    elif word in _WHOLE:
        getattr(face, word)()
        say(f"> {_WHOLE[word]}")
    elif word == "limit":
        face.limit(json.loads(text))
        say("> limited")
    elif word == "event":
        kind, kills = face.event()
        say(f"> event {kind} {kills}" if kills else f"> event {kind}")
    elif word == "usage":
        counted = "not counted" if face.usage()[text.decode()] is None else "counted"
        say(f"> {text.decode()} {counted}")
    elif word == "left_out":
        _say_keys(word, [one["key"] for one in face.effective()["left_out"]])
    elif word == "told":
        _say_keys(word, face.told)
        face.told = []
    elif word == "read":
        say(f"> data {escape(face.read(path))}")
    elif word == "write":
        mode, _, data = rest.partition(b" ")
        face.write(path, int(mode, 8), unescape(data))
        say("> wrote")
    elif word == "mkdir":
        face.mkdir(path, int(more, 8))
        say("> made")
    elif word == "list":
        say(" ".join(["> list", *sorted(face.list(path))]))
    elif word in ("stat", "lstat"):
        kind, mode, size = face.stat(path, word == "stat")
        say(f"> stat {kind} {mode:o}" + (f" {size}" if kind == "file" else ""))
    elif word in ("remove", "remove_all"):
        face.remove(path, word == "remove_all")
        say("> removed")
    else:
        raise SystemExit(f"no such word: {word}")


def main(face: Any) -> None:
    """Follows standard input."""
    wanted = Wanted()
    for line in sys.stdin.buffer:
        word, _, text = line.rstrip(b"\n").partition(b" ")
        name = word.decode()
        if name == "case":
            wanted = Wanted()
            say(f"case {text.decode()}")
        elif not name or name[0] in "#>" or wanted.take(name, unescape(text)):
            continue
        else:
            try:
                if name in ("open", "take"):
                    getattr(face, name)(text.decode())
                else:
                    _step(face, name, text, wanted)
            except Refused as refused:
                say(f"> {refused.words}")
            if name in ("run", "spawn", "run_beside"):
                wanted = Wanted()
    face.end()
