# SPDX-License-Identifier: MIT OR Apache-2.0
"""Holds prose to the rules that CONTRIBUTING.md explains."""

import collections
import dataclasses
import re
import typing

from comments import Line

COLUMNS = 80
# A folder with fewer words of comments is counted with the folder above.
ENOUGH_WORDS = 1000

# In any prose: comments, pages, strings, names of functions.
# Spelled in pieces, or this file would be the first to fail.
BANNED = re.compile(r"\b((?:no|some)body|(?:who|why|what)ever|of\s+ours|comes\s+back)\b", re.I)
# The account, as passwd(5) has it, may be named in a string.
ACCOUNT = re.compile(r"""(?<=["':])no(?:body)(?=["':])""")
# Such a beginning makes a fragment: a summary begins with a verb or a noun.
FRAGMENTS = re.compile(r"[^\w`]*(what|whether|how|of|for|who|whose|which|where|when|why|that|it)\b", re.I)
# Most in 1,000 words of comments.
RATES = {
    "it": (18, re.compile(r"\b(it|its)\b", re.I)),
    "who": (9, re.compile(r"\b(what|who|which)\b", re.I)),
    "none": (10, re.compile(r"\b(one|none|nothing)\b", re.I)),
}
WORD = re.compile(r"[A-Za-z][A-Za-z'-]*")
# Code and addresses are no prose.
CODE = re.compile(r"`[^`]*`|https?://\S+")


@dataclasses.dataclass(frozen=True)
class Fault:
    """One place that breaks a rule."""

    path: str
    number: int
    rule: str
    told: str

    def __str__(self) -> str:
        return f"{self.path}:{self.number}: {self.rule}: {self.told}"


def faults(path: str, text: str, lines: list[Line]) -> list[Fault]:
    """Returns each fault that a single line shows."""
    found = []
    for number, match in phrases(lines):
        found.append(Fault(path, number, "banned", f"{match!r}"))
    shown = text.splitlines()
    for line in lines:
        width = len(shown[line.number - 1].expandtabs(4)) if line.alone else 0
        if width > COLUMNS and " " in line.text.strip():
            found.append(Fault(path, line.number, "width", f"{width} columns"))
        fragment = FRAGMENTS.match(line.text) if line.summary else None
        if fragment:
            told = f"a summary that begins with {fragment[1]!r}"
            found.append(Fault(path, line.number, "summary", told))
    return found


def phrases(lines: list[Line]) -> typing.Iterator[tuple[int, str]]:
    """Yields each banned phrase with its line, also if it spans two lines."""
    for index, line in enumerate(lines):
        text = CODE.sub(" ", line.text) if line.kind != "string" else ACCOUNT.sub(" ", line.text)
        for match in BANNED.finditer(text):
            yield line.number, match[0].lower()
        below = lines[index + 1] if index + 1 < len(lines) else None
        if below and below.kind == line.kind and below.number == line.number + 1:
            last = "".join(text.split()[-1:])
            spanning = BANNED.match(" ".join([last, *below.text.split()[:1]]))
            if spanning and spanning.end() > len(last):
                yield line.number, spanning[0].lower()


@dataclasses.dataclass
class Counts:
    """The vocabulary of a folder, and how much of the folder is comments."""

    words: int = 0
    lines: int = 0
    inline: int = 0
    hits: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    def add(self, text: str, prose: list[Line]) -> None:
        """Adds a file."""
        self.lines += len(text.splitlines())
        for line in prose:
            self.inline += line.kind == "inline"
            if line.kind in ("doc", "inline", "page"):
                bare = CODE.sub(" ", line.text)
                self.words += len(WORD.findall(bare))
                for rule, (_, pattern) in RATES.items():
                    self.hits[rule] += len(pattern.findall(bare))

    def join(self, other: "Counts") -> None:
        """Adds another folder."""
        self.words += other.words
        self.lines += other.lines
        self.inline += other.inline
        self.hits += other.hits

    def rate(self, rule: str) -> int:
        """Returns how often in 1,000 words, rounded up."""
        return -(-self.hits[rule] * 1000 // self.words) if self.words else 0


def folded(folders: dict[str, Counts]) -> dict[str, Counts]:
    """Counts each folder with too few words with the folder above."""
    found: dict[str, Counts] = {}
    for folder, counts in folders.items():
        found.setdefault(folder, Counts()).join(counts)
    for depth in range(max(map(depth_of, folders), default=0), 0, -1):
        for folder in [f for f in found if depth_of(f) == depth]:
            if found[folder].words < ENOUGH_WORDS:
                above = folder.rpartition("/")[0] or "."
                found.setdefault(above, Counts()).join(found.pop(folder))
    return found


def depth_of(folder: str) -> int:
    """Returns how many names the path has; the root has none."""
    return 0 if folder == "." else folder.count("/") + 1


def vocabulary(folders: dict[str, Counts]) -> dict[tuple[str, str], int]:
    """Returns the rates over their limits, by folder and rule."""
    found = {}
    for folder, counts in folded(folders).items():
        for rule, (most, _) in RATES.items():
            if counts.rate(rule) > most and counts.words >= ENOUGH_WORDS:
                found[folder, rule] = counts.rate(rule)
    return found
