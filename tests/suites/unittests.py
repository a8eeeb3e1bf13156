#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Runs a module of CPython's own tests and writes a line for each case.

    unittests.py MODULE SECONDS SKIPPED [ONLY]

SKIPPED and ONLY are files with the id of a case per line: the cases to leave
out, and the only ones to run. SKIPPED may have names of methods, too, to leave
out in each class. SECONDS bounds a case; a slower one ends the process. Lines
on standard output are `RUN ID`, then `PASS ID`, `FAIL ID` or `SKIP ID REASON`,
with a `\\x16` before them, and a last `\\x16END`. All that a test prints goes
to standard error.
"""

import faulthandler
import fcntl
import importlib
import os
import sys
import tempfile
import traceback
import unittest
from collections.abc import Iterator
from typing import Any

from test import support


def read_ids(path: str) -> set[str]:
    with open(path) as file:
        return set(file.read().splitlines())


def cases(tests: Any) -> Iterator[Any]:
    """Yields the cases of nested suites, in their order."""
    for test in tests:
        if isinstance(test, unittest.TestSuite):
            yield from cases(test)
        else:
            yield test


class Lines(unittest.TestResult):
    """Writes each result as soon as it is known, because a later case may end
    the process."""

    def __init__(self, out: int, seconds: float) -> None:
        super().__init__()
        self.out = out
        self.seconds = seconds
        self.failed = False

    def line(self, word: str, test: Any, text: str = "") -> None:
        words = f"{word} {test.id()} {text}".split()
        os.write(self.out, f"\n\x16{' '.join(words)}\n".encode(errors="replace"))

    def startTest(self, test: Any) -> None:
        super().startTest(test)
        self.failed = False
        self.line("RUN", test)
        # The watchdog is a thread of C: tests use signals and alarms
        # themselves.
        faulthandler.dump_traceback_later(self.seconds, exit=True)

    def stopTest(self, test: Any) -> None:
        super().stopTest(test)
        faulthandler.cancel_dump_traceback_later()

    def addSuccess(self, test: Any) -> None:
        if not self.failed:
            self.line("PASS", test)

    def addExpectedFailure(self, test: Any, err: Any) -> None:
        self.addSuccess(test)

    def addSkip(self, test: Any, reason: str) -> None:
        # A subtest that is skipped does not skip its case.
        if not hasattr(test, "test_case"):
            self.line("SKIP", test, reason)

    def addError(self, test: Any, err: Any) -> None:
        self.failed = True
        traceback.print_exception(*err)
        self.line("FAIL", test)

    def addFailure(self, test: Any, err: Any) -> None:
        self.addError(test, err)

    def addUnexpectedSuccess(self, test: Any) -> None:
        self.line("FAIL", test)

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        if err is not None:
            self.addError(test, err)


def main() -> None:
    module, seconds, skipped, *only = sys.argv[1:]
    leave_out = read_ids(skipped)
    keep = read_ids(only[0]) if only else None
    # What regrtest sets without -u: no network, no work that takes minutes.
    support.use_resources = []
    # The results go where no test can write by accident.
    out = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 100)
    os.dup2(2, 1)
    os.chdir(tempfile.mkdtemp())
    faulthandler.enable()
    loaded = unittest.defaultTestLoader.loadTestsFromModule(importlib.import_module(module))
    wanted = [
        c
        for c in cases(loaded)
        if not leave_out & {c.id(), c.id().rpartition(".")[2]} and (keep is None or c.id() in keep)
    ]
    unittest.TestSuite(wanted).run(Lines(out, float(seconds)))
    os.write(out, b"\n\x16END\n")
    sys.stdout.flush()
    # Threads that a failed test left behind must not hold the process.
    os._exit(0)


if __name__ == "__main__":
    main()
