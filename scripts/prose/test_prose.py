# SPDX-License-Identifier: MIT OR Apache-2.0
"""Shows of each rule that prose can break it, and that other text does not."""

import contextlib
import io
import pathlib
import runpy
import tempfile
import unittest

import rules
import wrap
from comments import prose

BAN = "no" + "body"
WIDE = "word " * 17

# Path, text, and the rules that the text breaks.
CASES: list[tuple[str, str, list[str]]] = [
    ("a.rs", f"// {BAN} waits", ["banned"]),
    ("a.rs", f"/* {BAN}\n waits */", ["banned"]),
    ("a.rs", f"// `{BAN}` is an account", []),
    ("a.rs", f'let s = "{BAN} waits";', ["banned"]),
    ("a.rs", f'let s = r#"a "b" {BAN} waits"#;', ["banned"]),
    ("a.rs", f'let s = "{BAN}"; let p = "root:{BAN}:x";', []),
    ("a.rs", f"fn open_{BAN}_waits() {{}}", ["banned"]),
    ("a.rs", "// what comes\n// back is dropped", ["banned"]),
    ("a.rs", "// a helper of\n// ours, and more", ["banned"]),
    ("a.rs", f"// {BAN} // prose: off", ["banned"]),
    ("a.rs", f"// {WIDE}", ["width"]),
    ("a.rs", f"/// {WIDE}", ["width"]),
    ("a.rs", f"/* a\n   {WIDE} */", ["width"]),
    ("a.rs", f"// https://{'x' * 90}", []),
    ("a.rs", f'let s = "{WIDE}";', []),
    ("a.rs", f'let s = "// {WIDE}";', []),
    ("a.rs", "/// Whether a pid lives.", ["summary"]),
    ("a.rs", "//! What a pid is.", ["summary"]),
    ("a.rs", "/// Returns a pid.\n///\n/// What more?", []),
    ("a.rs", "// What a pid is.", []),
    ("a.rs", "/// `of` names a pid.", []),
    ("a.rs", f"/// ```\n/// let {BAN} = 1;\n/// ```", []),
    ("a.rs", "let life: &'a str = x; // fine", []),
    ("a_test.go", "func TestOf" + BAN.title() + "(t *testing.T) {}", ["banned"]),
    ("a.go", "// Of a pid.\nfunc Pid() {}", ["summary"]),
    ("a.go", "\t// Of a pid.\n\treturn", []),
    ("a.go", f'// {BAN}\n// {WIDE}\nimport "C"\n// {BAN}\n', ["banned"]),
    ("a.go", f"var s = `\n{BAN} waits`", ["banned"]),
    ("a.c", "/* Of a pid. */\nint pid(void);", ["summary"]),
    ("a.c", f"int x; // {BAN}", ["banned"]),
    ("a.py", f'def test_{BAN}_waits():\n    """Waits."""', ["banned"]),
    ("a.py", 'def pid():\n    """Of a pid."""', ["summary"]),
    ("a.py", f'"""Waits.\n\n{WIDE}\n"""', ["width"]),
    ("a.py", f'"""Waits.\n\n>>> {WIDE}\n"""', []),
    ("a.py", f"# {WIDE}", ["width"]),
    ("a.toml", f'a = """\n#error {WIDE}\n"""\n# {WIDE}', ["width"]),
    ("a.py", f"x = '{BAN} waits'", ["banned"]),
    ("a.py", f"x = '{BAN}'", []),
    ("a.sh", f"#!/bin/sh\n# {BAN}", ["banned"]),
    ("a.sh", f"true # {BAN}", ["banned"]),
    ("a.sh", f"echo 'a # {BAN}'", []),
    ("a.sh", f"# {WIDE}", ["width"]),
    ("Makefile", f"all: ## {BAN.title()} waits", ["banned"]),
    ("tests/a.txt", f"# {BAN}\n{BAN} is data", ["banned"]),
    ("docs/a.md", f"{BAN.title()} waits.\n\n    {WIDE}", ["banned"]),
    ("docs/a.md", f"```\n{BAN}\n```\n[page](some{BAN}.md) `{BAN}`", []),
    ("a.svg", BAN, []),
]


def counts(text: str) -> rules.Counts:
    """Counts the words of one file."""
    found = rules.Counts()
    found.add(text, prose("a.rs", text))
    return found


class Rules(unittest.TestCase):
    """Each rule refuses, and only where it should."""

    def test_lines(self) -> None:
        for path, text, broken in CASES:
            with self.subTest(path=path, text=text):
                found = rules.faults(path, text, prose(path, text))
                self.assertEqual([fault.rule for fault in found], broken)

    def test_rates(self) -> None:
        filler = "// sandbox\n" * 1000
        for rule, (most, _), word in zip(rules.RATES, rules.RATES.values(), ("its", "who", "One")):
            for above in (0, 2):
                with self.subTest(rule=rule, above=above):
                    text = filler + f"// {word}\n" * (most + above)
                    found = rules.vocabulary({"src/a": counts(text)})
                    self.assertEqual(list(found), [("src/a", rule)] if above else [])

    def test_code_is_not_counted(self) -> None:
        found = counts("// `it` it\nlet it = 'i';\n")
        self.assertEqual((found.words, found.hits["it"], found.inline), (1, 1, 1))

    def test_small_folders_count_with_the_one_above(self) -> None:
        small, large = counts("// it\n" * 600), counts("// it\n" * 1200)
        found = rules.folded({"src/a": small, "src/b": small, "src/c": large, "docs": small})
        self.assertEqual(
            {folder: each.words for folder, each in found.items()},
            {"src": 1200, "src/c": 1200, ".": 600},
        )


class Check(unittest.TestCase):
    """A fault of a file and a rate of a folder fail the check."""

    def test_fault_and_rate_fail(self) -> None:
        path = pathlib.Path(__file__).with_name("__main__.py")
        for text, failed in (
            ("// a word\n" * 600, False),
            (f"// {BAN} waits\n", True),
            ("// it waits\n" * 600, True),
        ):
            with tempfile.TemporaryDirectory() as root:
                pathlib.Path(root, "a.rs").write_text(text, encoding="utf-8")
                check = runpy.run_path(str(path))["check"]
                check.__globals__.update(ROOT=pathlib.Path(root), files=lambda _: ["a.rs"])
                with contextlib.redirect_stdout(io.StringIO()):
                    self.assertEqual(check([]), failed, text[:20])


class Wrapping(unittest.TestCase):
    """Wrapping makes lines short, and keeps what is no paragraph."""

    def test_paragraphs(self) -> None:
        text = f"    /// {WIDE}\n    /// end.\n    ///\n    /// * {WIDE}\n    /// | {WIDE}\nfn f() {{}}\n"
        found = wrap.wrapped("a.rs", text)
        wide = [line for line in found.splitlines() if len(line) > 80]
        self.assertEqual(wide, [f"    /// | {WIDE}"])
        self.assertIn("word end.\n    ///\n    /// * word", found)
        self.assertIn("\n    ///   word", found)
        self.assertEqual(found.split(), wrap.wrapped("a.rs", found).split())

    def test_directives_stay(self) -> None:
        text = "//go:build cgo\n// a word\n//export name\n"
        self.assertEqual(wrap.wrapped("a.go", text), text)
        text = f"# {WIDE}\n# shellcheck disable=SC1\ntrue\n"
        self.assertIn("word\n# shellcheck disable=SC1\n", wrap.wrapped("a.sh", text))

    def test_code_stays(self) -> None:
        text = f'// short\n// lines\nlet s = "// {WIDE}";\n/// ```\n/// {WIDE}\n/// ```\n'
        self.assertEqual(wrap.wrapped("a.rs", text), text)


if __name__ == "__main__":
    unittest.main()
