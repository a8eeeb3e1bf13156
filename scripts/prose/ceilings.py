# SPDX-License-Identifier: MIT OR Apache-2.0
"""Keeps the table of faults that are still allowed, which may only shrink."""

import typing

from rules import RATES

# By folder and rule: how many faults, or hits in 1,000 words.
Table = dict[tuple[str, str], int]

HEAD = """\
# Prose that is still to be mended: FOLDER RULE CEILING, the number of faults,
# or of hits in 1,000 words. A folder above its line fails `make lint`, and so
# does a folder below: `make prose` lowers the lines, and raises none.
"""


def read(text: str) -> Table:
    """Reads the table; of two lines for the same folder and rule, the lower."""
    table: Table = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            folder, rule, ceiling = line.split()
            key = (folder, rule)
            table[key] = min(int(ceiling), table.get(key, int(ceiling)))
    return table


def write(table: Table) -> str:
    """Writes the table as `read` reads it."""
    lines = (f"{folder} {rule} {count}\n" for (folder, rule), count in sorted(table.items()))
    return HEAD + "".join(lines)


def compare(now: Table, allowed: Table) -> typing.Iterator[tuple[str, str, int, int]]:
    """Yields folder, rule, count and ceiling where the last two differ."""
    for key in sorted(now.keys() | allowed.keys()):
        if now.get(key, 0) != allowed.get(key, 0):
            yield (*key, now.get(key, 0), allowed.get(key, 0))


def raised(now: Table, allowed: Table) -> list[str]:
    """Returns what forbids to replace the table.

    A file that moves takes its faults along. A count may therefore rise in a
    folder if the sum over all folders does not, and a new folder may have the
    rate of a folder that is gone.
    """
    wrong = []
    for rule in sorted({rule for _, rule in now}):
        before = {folder: count for (folder, r), count in allowed.items() if r == rule}
        after = {folder: count for (folder, r), count in now.items() if r == rule}
        if rule in RATES:
            gone = max((before[f] for f in before.keys() - after.keys()), default=0)
            for folder, count in after.items():
                if count > before.get(folder, gone):
                    wrong.append(f"{folder} {rule}: {count}, {before.get(folder, gone)} allowed")
        elif sum(after.values()) > sum(before.values()):
            wrong.append(f"{rule}: {sum(after.values())} in all, {sum(before.values())} allowed")
    return wrong
