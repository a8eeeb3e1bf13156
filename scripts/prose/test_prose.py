# SPDX-License-Identifier: MIT OR Apache-2.0
"""Shows of each rule that prose can break it, and that other text does not."""

import unittest

import ceilings
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


class Ceilings(unittest.TestCase):
    """The table only shrinks."""

    def test_both_directions_differ(self) -> None:
        allowed = ceilings.read("# head\nsrc width 3\nsrc it 20\n")
        for now, differs in (
            ({("src", "width"): 3, ("src", "it"): 20}, 0),
            ({("src", "width"): 2, ("src", "it"): 20}, 1),
            ({("src", "width"): 4, ("src", "it"): 20}, 1),
            ({("src", "width"): 3}, 1),
            ({("src", "width"): 3, ("src", "it"): 20, ("docs", "it"): 19}, 1),
        ):
            self.assertEqual(len(list(ceilings.compare(now, allowed))), differs, now)

    def test_only_falls_are_written(self) -> None:
        allowed = ceilings.read("a width 3\nb width 1\na it 30\n")
        for now, refused in (
            ({("a", "width"): 2, ("a", "it"): 29}, 0),
            ({("new", "width"): 4, ("new", "it"): 30}, 0),
            ({("new", "width"): 5}, 1),
            ({("a", "it"): 31}, 1),
            ({("a", "it"): 30, ("new", "it"): 19}, 1),
            ({("a", "who"): 1}, 1),
        ):
            self.assertEqual(len(ceilings.raised(now, allowed)), refused, now)

    def test_merged_table_takes_the_lower_line(self) -> None:
        table = ceilings.read("a width 3\na width 2\n")
        self.assertEqual(ceilings.write(table).splitlines()[-1], "a width 2")


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
