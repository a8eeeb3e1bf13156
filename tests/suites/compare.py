#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Runs suites of tests as ordinary processes and inside `tare run host`, and
compares them case by case.

    compare.py BUILT SCOPE [WORD...]

BUILT is the directory of the command, `tare`, and of Go's test programs, `go/`;
logs are written to `logs/`. SCOPE is `ci` or `all`. WORDs choose suites and
users (`os`, `go:net`, `root`); none chooses what SCOPE says. A case that passes
outside and not inside must be in expected.txt. Needs root, and nothing but
Python.
"""

import concurrent.futures
import contextlib
import os
import pathlib
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Optional

HERE = pathlib.Path(__file__).resolve().parent
PYTHON = "/usr/bin/python3"
PATH = "/usr/local/go/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
# Kinds of users, each with its account. `user` is an ordinary user inside a
# sandbox of root's, `userns` is uid 0 of a user namespace of the caller's.
USERS = {
    "root": "root",
    "user": "tare-t-plain",
    "plain": "tare-t-plain",
    "subids": "tare-t-subids",
    "userns": "tare-t-plain",
}
TRIES = 3
# Seconds for a case, and for a whole suite.
CASE, WHOLE = 45, 900
# Methods of tests that collect garbage for a minute without a system call. CI
# leaves them out.
SLOW = {"test_future_del_collect", "test_task_del_collect"}

# How a case ended, and what is known of it.
Results = dict[str, str]


class Suite(NamedTuple):
    name: str
    # Suites that take long run for some users only, where CI waits for them.
    in_ci: tuple[str, ...]

    @property
    def is_go(self) -> bool:
        return self.name.startswith("go:")


EVERYBODY = ("root", "user", "plain", "subids")
SUITES = [
    Suite("asyncio", ("plain",)),
    Suite("socket", ("root",)),
    Suite("signal", ("subids",)),
    Suite("subprocess", ("user", "plain")),
    Suite("os", EVERYBODY),
    Suite("posix", EVERYBODY),
    Suite("pty", EVERYBODY),
    Suite("tempfile", EVERYBODY),
    Suite("shutil", EVERYBODY),
    Suite("go:os", EVERYBODY),
    Suite("go:os/exec", EVERYBODY),
    Suite("go:net", ("root", "plain")),
    Suite("go:syscall", EVERYBODY),
]


class Ground(NamedTuple):
    """The directories of one run of a suite, which belong to its user."""

    top: pathlib.Path

    @property
    def home(self) -> pathlib.Path:
        return self.top / "home"

    def environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.home),
            "TMPDIR": str(self.top / "tmp"),
            "GOCACHE": str(self.home / "gocache"),
            "PATH": PATH,
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            "GOTOOLCHAIN": "local",
            "GOFLAGS": "-mod=mod",
            "GOPROXY": "off",
        }


class Side:
    """Runs commands as one user, outside or inside."""

    def __init__(self, user: str, tare: Optional[pathlib.Path]) -> None:
        self.user = user
        self.tare = tare

    def words(self, ground: Ground, cwd: str, argv: list[str]) -> list[str]:
        account = pwd.getpwnam(USERS[self.user])
        environment = [f"{name}={value}" for name, value in ground.environment().items()]
        words = ["env", "-i", *environment]
        if self.user != "user" or self.tare is None:
            ids = [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}"]
            words = ["setpriv", *ids, "--init-groups", *words]
        if self.user == "userns":
            words += ["unshare", "-r"]
        if self.tare is None:
            return [*words, "env", "-C", cwd, *argv]
        words += [str(self.tare), "run", "--store", str(ground.top / "store"), "-w", cwd]
        for variable in environment:
            words += ["-e", variable]
        if self.user == "user":
            words += ["-u", account.pw_name]
        return [*words, "host", "--", *argv]

    def run(self, ground: Ground, cwd: str, argv: list[str], log: pathlib.Path) -> str:
        """Returns the output. Leaves nothing running: the suite's session is
        killed at its end."""
        with tempfile.TemporaryFile() as out, open(log, "ab") as err:
            child = subprocess.Popen(
                self.words(ground, cwd, argv),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd="/",
                start_new_session=True,
            )
            try:
                child.wait(WHOLE)
            except subprocess.TimeoutExpired:
                err.write(b"compare.py: the suite takes too long\n")
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
            out.seek(0)
            return out.read().decode(errors="replace")


class Runner:
    """Runs the cases of one suite on one side, again and again until each has a
    result."""

    def __init__(self, suite: Suite, side: Side, scope: str, place: pathlib.Path) -> None:
        self.suite, self.side = suite, side
        # Go's tests of net use other networks if they are not short.
        self.short = scope != "all" or suite.name == "go:net"
        self.left_out = SLOW if scope != "all" else set()
        self.go_tests = place / "go"
        where = "outside" if side.tare is None else "inside"
        name = suite.name.translate(str.maketrans("/:", ".."))
        self.log = place / "logs" / f"{name}.{side.user}.{where}.log"
        self.log.write_text("")

    def run(self, only: Optional[set[str]] = None) -> Results:
        results: Results = {}
        # A case that ends its process is followed by a new process for the
        # rest.
        for _ in range(8):
            more, ended = self.process(only, set(results))
            results.update(more)
            if ended or not more:
                break
        return results

    def process(self, only: Optional[set[str]], done: set[str]) -> tuple[Results, bool]:
        account = pwd.getpwnam(USERS[self.side.user])
        # Tests may leave directories without any mode: only root removes what
        # is left.
        with tempfile.TemporaryDirectory(prefix="tare-suites.", dir="/tmp") as top:
            ground = Ground(pathlib.Path(top))
            for name in ("home", "tmp", "store"):
                (ground.top / name).mkdir()
            (ground.top / "skip").write_text("\n".join(sorted(done | self.left_out)))
            (ground.top / "only").write_text("\n".join(sorted(only or ())))
            # A store may lie below directories of its owner's and of root's
            # only. And an ordinary user can copy up no directory whose owner is
            # not mapped, so all is the user's there.
            ground.top.chmod(0o755)
            mine = [ground.top] if self.side.user != "user" else []
            for path in (*mine, *ground.top.iterdir()):
                if self.side.user != "user" or path.name != "store":
                    os.chown(path, account.pw_uid, account.pw_gid)
            command = self.go if self.suite.is_go else self.python
            cwd, argv = command(ground, only, done)
            text = self.side.run(ground, cwd, argv, self.log)
        with open(self.log, "a") as log:
            log.write(text)
        return read_go(self.suite, text) if self.suite.is_go else read_python(text)

    def python(self, ground: Ground, only: Optional[set[str]], done: set[str]) -> tuple[str, list[str]]:
        shutil.copy(HERE / "unittests.py", ground.top)
        os.chmod(ground.top / "unittests.py", 0o644)
        module = f"test.test_{self.suite.name}"
        argv = [PYTHON, str(ground.top / "unittests.py"), module, str(CASE), str(ground.top / "skip")]
        return str(ground.home), argv + ([str(ground.top / "only")] if only is not None else [])

    def go(self, ground: Ground, only: Optional[set[str]], done: set[str]) -> tuple[str, list[str]]:
        package = self.suite.name[len("go:") :]
        root = (self.go_tests / "goroot").read_text().strip()
        program = ground.top / (package.replace("/", ".") + ".test")
        shutil.copy(self.go_tests / program.name, program)
        os.chmod(program, 0o755)
        argv = [str(program), "-test.v", f"-test.short={self.short}", f"-test.timeout={WHOLE // 3}s"]
        if only is not None:
            argv.append(f"-test.run=^({'|'.join(top_level(self.suite, only))})$")
        if done:
            argv.append(f"-test.skip=^({'|'.join(top_level(self.suite, done))})$")
        return f"{root}/src/{package}", argv


def top_level(suite: Suite, cases: set[str]) -> list[str]:
    """Returns the names of tests of Go without the suite, and without
    subtests."""
    return sorted({case[len(suite.name) + 1 :].split("/")[0] for case in cases})


def read_python(text: str) -> tuple[Results, bool]:
    """Returns the results of unittests.py, and whether it came to its end.

    >>> read_python("a\\n\\x16RUN t.a\\n\\x16PASS t.a\\n\\x16RUN t.b\\n\\x16SKIP t.b why\\n\\x16RUN t.c\\n")
    ({'t.a': 'PASS', 't.b': 'SKIP', 't.c': 'DIED'}, False)
    >>> read_python("\\x16RUN t.a\\n\\x16FAIL t.a\\n\\x16PASS t.a\\n\\x16END\\n")
    ({'t.a': 'FAIL'}, True)
    """
    results: Results = {}
    ended = False
    for line in re.findall(r"\x16(.*)", text):
        word, _, rest = line.partition(" ")
        case = rest.split(" ")[0]
        if word == "END":
            ended = True
        elif word == "RUN":
            results[case] = "DIED"
        # A tearDown that fails follows a test that passed.
        elif results.get(case) != "FAIL":
            results[case] = word
    return results, ended


def read_go(suite: Suite, text: str) -> tuple[Results, bool]:
    """Returns the results of a test program of Go, and whether it came to its
    end.

    >>> text = "=== RUN   TestA\\n=== RUN   TestA/b\\nx    --- FAIL: TestA/b (0.00s)\\n--- FAIL: TestA (0.00s)\\n"
    >>> read_go(Suite("go:os", ()), text + "FAIL\\n")
    ({'go:os:TestA': 'FAIL', 'go:os:TestA/b': 'FAIL'}, True)
    >>> read_go(Suite("go:os", ()), "=== RUN   TestA\\npanic: x\\n")
    ({'go:os:TestA': 'DIED'}, False)
    """
    results: Results = {}
    for kind, case in re.findall(r"(=== RUN|--- PASS:|--- FAIL:|--- SKIP:) +(\S+)", text):
        word = kind.strip("=-: ")
        results[f"{suite.name}:{case}"] = "DIED" if word == "RUN" else word
    return results, re.search(r"^(PASS|FAIL)$", text, re.M) is not None


class Line(NamedTuple):
    users: list[str]
    case: str
    reason: str
    # Whether the machine decides if the case passes inside.
    varies: bool


def expected() -> list[Line]:
    lines = []
    for text in (HERE / "expected.txt").read_text().splitlines():
        if text.strip() and not text.startswith("#"):
            users, case, reason, *varies = text.split()
            lines.append(Line(users.split(","), case, reason, varies == ["varies"]))
    return lines


def undocumented(lines: list[Line]) -> Iterator[str]:
    """Yields an error for each reason without a row in docs/inside.md."""
    page = (HERE / "../../docs/inside.md").read_text()
    for reason in sorted({line.reason for line in lines}):
        if f"| `{reason}` |" not in page:
            yield f"reason `{reason}` of expected.txt has no row in docs/inside.md"


def matches(line: Line, cases: Iterable[str]) -> set[str]:
    """Returns the cases that a line names: one, or all that begin so."""
    if line.case.endswith("*"):
        return {case for case in cases if case.startswith(line.case[:-1])}
    return {line.case}.intersection(cases)


def differing(out: Results, within: Results) -> set[str]:
    """Returns the cases that pass outside only."""
    return {case for case in out if out[case] == "PASS" and within.get(case) != "PASS"}


def judge(lines: list[Line], out: Results, within: Results) -> Iterator[str]:
    """Yields what is not as the lines of expected.txt say.

    >>> out = {"a": "PASS", "b": "PASS", "c": "FAIL", "d/1": "PASS", "d/2": "PASS"}
    >>> list(judge([], out, {**out, "b": "SKIP"}))
    ['b: PASS outside, SKIP inside']
    >>> lines = [Line(["all"], case, "why", False) for case in ("b", "c", "d/*", "e")]
    >>> list(judge(lines, out, {"a": "PASS", "d/1": "PASS"}))
    []
    >>> for text in judge(lines, out, out):
    ...     print(text)
    b: passes inside, expected.txt says `why`
    d/*: passes inside, expected.txt says `why`
    >>> list(judge([Line(["all"], "b", "why", True)], out, out))
    []
    """
    differ = differing(out, within)
    named = {case for line in lines for case in matches(line, out)}
    for case in sorted(differ - named):
        yield f"{case}: PASS outside, {within.get(case, 'MISSING')} inside"
    passing = {case for case in out if out[case] == "PASS"}
    for line in lines:
        compared = matches(line, passing)
        if compared and not line.varies and not compared & differ:
            yield f"{line.case}: passes inside, expected.txt says `{line.reason}`"


def compare(suite: Suite, user: str, outside: Runner, inside: Runner) -> tuple[int, list[str]]:
    """Returns how many cases pass on both sides, and a line for each that is
    not as expected."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=1) as beside:
        other = beside.submit(outside.run)
        within, out = inside.run(), other.result()
    for runner, results in ((outside, out), (inside, within)):
        if "PASS" not in results.values():
            return 0, [f"{suite.name}: no case passes, see {runner.log}"]
    lines = [line for line in expected() if user in line.users or "all" in line.users]
    named = {case for line in lines for case in matches(line, out)}
    for _ in range(TRIES - 1):
        again = differing(out, within) - named
        if not again:
            break
        # Both sides alike: a case that fails outside at one of its tries is not
        # compared.
        within.update({case: word for case, word in inside.run(again).items() if word == "PASS"})
        out.update({case: word for case, word in outside.run(again).items() if word != "PASS"})
    same = {case for case in out if out[case] == within.get(case) == "PASS"}
    return len(same), list(judge(lines, out, within))


def chosen(scope: str, words: list[str]) -> Iterator[tuple[Suite, str]]:
    suites = [word for word in words if word not in USERS]
    users = [word for word in words if word in USERS]
    for suite in SUITES:
        for user in USERS:
            if suites or users:
                wanted = (not suites or suite.name in suites) and (not users or user in users)
            else:
                wanted = scope == "all" or user in suite.in_ci
            if wanted:
                yield suite, user


def main() -> int:
    built, scope, *words = sys.argv[1:]
    began = time.monotonic()
    place = pathlib.Path(built)
    (place / "logs").mkdir(exist_ok=True)
    passed, wrong = 0, list(undocumented(expected()))
    # Most of the time of these suites is spent asleep.
    with concurrent.futures.ThreadPoolExecutor(max_workers=2 * (os.cpu_count() or 1)) as pool:
        work = {}
        for suite, user in chosen(scope, words):
            sides = (Side(user, None), Side(user, place / "tare"))
            runners = [Runner(suite, side, scope, place) for side in sides]
            work[pool.submit(compare, suite, user, *runners)] = f"{suite.name} as {user}"
        for done in concurrent.futures.as_completed(work):
            same, lines = done.result()
            passed += same
            wrong += lines
            word = "FAILED" if lines else "ok"
            print(f"test {work[done]}: {same} cases ... {word}", flush=True)
            for line in lines:
                print(f"    {line}", flush=True)
    word = "FAILED" if wrong else "ok"
    seconds = time.monotonic() - began
    print(
        f"\ntest result: {word}. {passed} passed; {len(wrong)} failed; 0 ignored; 0 measured; 0 filtered out; "
        f"finished in {seconds:.2f}s"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
