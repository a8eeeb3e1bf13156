# SPDX-License-Identifier: MIT OR Apache-2.0
"""Checks the prose of the project: comments, pages, error texts, test names.

    python3 -B scripts/prose [FILE...]   # check; or list each fault of these files or folders
    python3 -B scripts/prose --measure   # print the vocabulary of each folder
    python3 -B scripts/prose --wrap FILE...    # wrap comments at 80 columns

CONTRIBUTING.md explains the rules. No comment in a file switches a rule off.
"""

import argparse
import pathlib
import subprocess
import sys

import rules
import wrap
from comments import language, prose

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
# Generated, or data of others.
APART = ("include/tare.h", "tests/data/", "fuzz/corpus/", "target/")


def files(below: list[str]) -> list[str]:
    """Returns the paths of files with prose, relative to the root."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *below]
    listed = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    return sorted(
        path
        for path in set(listed.split("\0"))
        if language(path) and not path.startswith(APART) and (ROOT / path).is_file()
    )


def folder_of(path: str, paths: set[str]) -> str:
    """Returns the folder of a file; `a/b.rs` is part of a folder `a/b`."""
    stem = path.rpartition(".")[0]
    own = path.endswith(".rs") and any(other.startswith(stem + "/") for other in paths)
    return stem if own else path.rpartition("/")[0] or "."


class Survey:
    """The faults and the vocabulary of some files."""

    def __init__(self, paths: list[str]) -> None:
        self.faults: list[rules.Fault] = []
        self.folders: dict[str, rules.Counts] = {}
        known = set(paths)
        for path in paths:
            text = (ROOT / path).read_text(encoding="utf-8")
            lines = prose(path, text)
            self.folders.setdefault(folder_of(path, known), rules.Counts()).add(text, lines)
            self.faults.extend(rules.faults(path, text, lines))


def check(below: list[str]) -> int:
    """Prints the faults of some files, or of all with the rates of folders."""
    survey = Survey(files(below))
    told = [str(fault) for fault in survey.faults]
    if not below:
        for (folder, rule), rate in rules.vocabulary(survey.folders).items():
            told.append(f"{folder}: {rule}: {rate} of 1,000 words, {rules.RATES[rule][0]} allowed")
        print(f"prose: {sum(c.words for c in survey.folders.values())} words, {len(told)} faults")
    print("".join(f"{line}\n" for line in told), end="")
    return bool(told)


def measure() -> None:
    """Prints the vocabulary of each folder, and of each top folder."""
    folders = Survey(files([])).folders
    tops: dict[str, rules.Counts] = {"all": rules.Counts()}
    for folder, counts in folders.items():
        tops["all"].join(counts)
        tops.setdefault(folder.partition("/")[0] + "/...", rules.Counts()).join(counts)
    print("in 1,000 words:       it/its  what/who  one/none    words   lines  inline")
    for name, counts in [*sorted(folders.items()), *sorted(tops.items())]:
        rates = "  ".join(f"{counts.rate(rule):8}" for rule in rules.RATES)
        share = 100 * counts.inline / max(counts.lines, 1)
        print(f"{name:20}{rates}{counts.words:9}{counts.lines:8}{share:7.1f}%")


def main() -> int:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="prose", description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--measure", action="store_true", help="print the vocabulary of folders")
    what.add_argument("--wrap", action="store_true", help="wrap comments of the files")
    parser.add_argument("files", nargs="*", help="list each fault of these files or folders")
    words = parser.parse_args()
    below = [str(pathlib.Path(name).resolve().relative_to(ROOT)) for name in words.files]
    if words.measure:
        measure()
        return 0
    if words.wrap:
        for path in files(below) if below else []:
            text = (ROOT / path).read_text(encoding="utf-8")
            (ROOT / path).write_text(wrap.wrapped(path, text), encoding="utf-8")
        return 0
    return check(below)


if __name__ == "__main__":
    sys.exit(main())
