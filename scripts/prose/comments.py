# SPDX-License-Identifier: MIT OR Apache-2.0
"""Finds the prose of a file: comments, strings, names of functions."""

import ast
import dataclasses
import io
import pathlib
import re
import tokenize
import typing


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of prose, with the markers of its comment taken off."""

    number: int
    # "doc", "inline", "page", "string" or "name".
    kind: str
    text: str
    # Nothing but a comment is on the line.
    alone: bool = False
    # The line begins a documentation comment.
    summary: bool = False


COMMENT = r"//[^\n]*|/\*.*?\*/"
STRING = r'"(?:\\.|[^"\\])*"'
CHARACTER = r"'(?:\\(?:u\{[^}]*\}|x..|[^\n])|[^'\\\n])'"
TOKENS = {
    "rust": rf'(?P<comment>{COMMENT})|(?P<string>\br(?P<fence>#*)".*?"(?P=fence)|{STRING})|{CHARACTER}',
    "go": rf"(?P<comment>{COMMENT})|(?P<string>`[^`]*`|{STRING})|{CHARACTER}",
    "c": rf"(?P<comment>{COMMENT})|(?P<string>{STRING})|{CHARACTER}",
}
FUNCTIONS = {
    "rust": re.compile(r"\bfn (\w+)"),
    "go": re.compile(r"^func (?:\([^)]*\) )?(\w+)", re.M),
    "c": re.compile(r"^\w[\w *]*?(\w+)\(", re.M),
    "shell": re.compile(r"^(\w+)\(\)", re.M),
}
LANGUAGES = {
    ".rs": "rust",
    ".go": "go",
    ".c": "c",
    ".h": "c",
    ".py": "python",
    ".pyi": "python",
    ".sh": "shell",
    ".txt": "shell",
    ".toml": "shell",
    ".md": "page",
}
NAMED = {"Makefile": "shell", "run": "shell"}
LICENSE = "SPDX-License-Identifier"


def language(path: str) -> typing.Optional[str]:
    """Returns the language of a file, or None for a file without prose."""
    name = pathlib.PurePosixPath(path)
    return LANGUAGES.get(name.suffix) or NAMED.get(name.name)


def prose(path: str, text: str) -> list[Line]:
    """Returns each line of prose in `text`, in the order of the file."""
    spoken = language(path)
    if spoken == "page":
        found = page(text)
    elif spoken == "python":
        found = python(text)
    elif spoken == "shell":
        found = shell(text)
    elif spoken is not None:
        found = braces(spoken, text)
    else:
        found = []
    return sorted((line for line in found if LICENSE not in line.text), key=lambda line: line.number)


def page(text: str) -> list[Line]:
    """Returns the lines of a Markdown page outside code blocks."""
    found, code = [], False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            code = not code
        elif not code:
            found.append(Line(number, "page", re.sub(r"\]\([^)]*\)|<!--.*?-->", "]", line)))
    return found


def braces(spoken: str, text: str) -> list[Line]:
    """Returns the prose of Rust, Go or C."""
    found: list[Line] = []
    lines = text.splitlines()
    previous: tuple[int, str] = (0, "")

    def blank(match: re.Match[str]) -> str:
        nonlocal previous
        number = text.count("\n", 0, match.start()) + 1
        if match["comment"]:
            marker, kind = marked(spoken, match["comment"], lines, number)
            begins = kind == "doc" and previous != (number - 1, marker)
            for each, line in enumerate(match["comment"].splitlines()):
                alone = lines[number + each - 1].lstrip().startswith(("//", "/*", "*")) or each > 0
                bare = re.sub(r"^\s*(?://[/!]?|/\*+|\*(?!/))|\*/\s*$", "", line)
                # An example in the documentation of Go.
                bare = "" if bare.startswith("\t") else bare
                found.append(Line(number + each, kind, bare, alone, begins and each == 0))
                previous = (number + each, marker)
        elif match["string"]:
            for each, line in enumerate(match["string"].split("\n")):
                found.append(Line(number + each, "string", line))
        return re.sub(r"[^\n]", " ", match[0])

    code = re.sub(TOKENS[spoken], blank, text, flags=re.S)
    if spoken == "go":
        found = without_preambles(found, lines)
    return [*outside_fences(found), *names(spoken, code)]


def marked(spoken: str, comment: str, lines: list[str], number: int) -> tuple[str, str]:
    """Returns the marker of a comment, and whether it is documentation."""
    if spoken == "rust":
        doc = re.match(r"///(?!/)|//!|/\*[*!]", comment)
        return (doc[0], "doc") if doc else ("//", "inline")
    # A comment at the margin, with a declaration below its last line.
    end = number + comment.count("\n")
    while end < len(lines) and lines[end].startswith("//"):
        end += 1
    below = lines[end] if end < len(lines) else ""
    at_margin = lines[number - 1].startswith(("//", "/*"))
    return "//", "doc" if at_margin and re.match(r"[A-Za-z]", below) else "inline"


def without_preambles(found: list[Line], lines: list[str]) -> list[Line]:
    """Leaves out the C code of cgo in the comments above `import "C"`."""
    preambles = set()
    for number, line in enumerate(lines, 1):
        if line == 'import "C"':
            above = number - 1
            while above and lines[above - 1].startswith("//"):
                preambles.add(above)
                above -= 1
    return [line for line in found if line.number not in preambles]


def outside_fences(lines: list[Line]) -> list[Line]:
    """Empties the lines of code blocks in documentation; their width stays."""
    found, code = [], False
    for line in lines:
        if line.kind != "string":
            fence = line.text.lstrip().startswith("```")
            code ^= fence
            if code or fence:
                line = dataclasses.replace(line, text="")
        found.append(line)
    return found


def names(spoken: str, code: str) -> list[Line]:
    """Returns the names of functions as words."""
    found = []
    for match in FUNCTIONS[spoken].finditer(code):
        found.append(Line(code.count("\n", 0, match.start(1)) + 1, "name", worded(match[1])))
    return found


def worded(name: str) -> str:
    """Splits `a_b` and `aB` into words."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_", " ", name)


def python(text: str) -> list[Line]:
    """Returns the prose of Python."""
    found = []
    lines = text.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            number = token.start[0]
            alone = lines[number - 1].lstrip().startswith("#")
            found.append(Line(number, "inline", token.string.lstrip("#!"), alone))
    tree = ast.parse(text)
    documented = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found.append(Line(node.lineno, "name", worded(node.name)))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Module)):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and ast.get_docstring(node)
            ):
                documented.add(first.value)
                found += docstring(first.value, lines)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in documented:
            found += [Line(node.lineno, "string", f'"{part}"') for part in node.value.split("\n")]
    return found


def docstring(node: ast.Constant, lines: list[str]) -> list[Line]:
    """Returns the lines of one docstring; an indented line is an example."""
    found = []
    for number in range(node.lineno, (node.end_lineno or node.lineno) + 1):
        bare = lines[number - 1]
        example = number > node.lineno and bare.startswith(" " * (node.col_offset + 4))
        example |= bare.lstrip().startswith((">>>", "..."))
        bare = re.sub(r'^\s*[rRbB]?"""|"""\s*$', "", bare)
        found.append(Line(number, "doc", "" if example else bare, True, number == node.lineno))
    return found


def shell(text: str) -> list[Line]:
    """Returns the comments of a shell script, a Makefile, TOML or a table."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        # A letter follows the marker of a directive of C, as in cbindgen.toml.
        match = re.match(r"\s*#+!?(?![a-z])(.*)", line) or re.search(r"\s##? (.*)", line)
        before = line[: match.start()] if match else ""
        quoted = any(before.count(quote) % 2 for quote in "\"'`")
        if match and not quoted and not (number == 1 and line.startswith("#!")):
            found.append(
                Line(number, "inline", match[1], not before.strip() and line.lstrip().startswith("#"))
            )
    return [*found, *names("shell", text)]
