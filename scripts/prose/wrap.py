# SPDX-License-Identifier: MIT OR Apache-2.0
"""Wraps comments at 80 columns, paragraph by paragraph."""

import re
import textwrap

from comments import language, prose
from rules import COLUMNS

MARKERS = {
    "rust": re.compile(r"(\s*)(//[/!]?)(?: (.*)|$)"),
    "go": re.compile(r"(\s*)(//)(?: (.*)|$)"),
    "c": re.compile(r"(\s*)(//)(?: (.*)|$)"),
    "python": re.compile(r"(\s*)(#)(?: (.*)|$)"),
    "shell": re.compile(r"(\s*)(#)(?: (.*)|$)"),
}
# A list item, a table row, a heading, an example: begins a line in any case.
ITEM = re.compile(r"(?:[*+-]|\d+\.) +")
FIXED = re.compile(r"\s*$|[|#>]| {2,}|\t|```|\[[^]]*\]: |SPDX|shellcheck |!|-*- | *-\w")


# The indentation, the marker and the words of a comment line.
Parts = tuple[str, str, str]


def wrapped(path: str, text: str) -> str:
    """Returns the text with each comment line of at most 80 columns."""
    spoken = language(path)
    if spoken not in MARKERS:
        return text
    alone = {line.number for line in prose(path, text) if line.alone}
    found: list[str] = []
    paragraph: list[Parts] = []
    code = False
    for number, line in enumerate(text.splitlines(), 1):
        match = MARKERS[spoken].fullmatch(line) if number in alone else None
        words = match[3] or "" if match else ""
        fence = words.lstrip().startswith("```")
        code ^= fence
        if match is None or fence or code or FIXED.match(words):
            found += filled(paragraph)
            found.append(line)
            paragraph = []
            continue
        parts = (match[1], match[2], words)
        if paragraph and (ITEM.match(words) or paragraph[0][:2] != parts[:2]):
            found += filled(paragraph)
            paragraph = []
        paragraph.append(parts)
    return "\n".join([*found, *filled(paragraph)]) + "\n"


def filled(paragraph: list[Parts]) -> list[str]:
    """Returns a paragraph as it was if it is narrow enough, else wrapped."""
    as_is = [f"{space}{marker} {words}" for space, marker, words in paragraph]
    if all(len(line.expandtabs(4)) <= COLUMNS for line in as_is):
        return as_is
    space, marker, _ = paragraph[0]
    words = " ".join(part[2].strip() for part in paragraph)
    item = ITEM.match(words)
    prefix = f"{space}{marker} "
    # A tab counts as four columns, and as a character for textwrap.
    width = COLUMNS - (len(prefix.expandtabs(4)) - len(prefix))
    return textwrap.wrap(
        words,
        width,
        initial_indent=prefix,
        subsequent_indent=prefix + " " * (len(item[0]) if item else 0),
        break_long_words=False,
        break_on_hyphens=False,
        expand_tabs=False,
        replace_whitespace=False,
    )
