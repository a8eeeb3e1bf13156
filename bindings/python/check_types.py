# SPDX-License-Identifier: MIT OR Apache-2.0
"""Checks that mypy --strict and pyright find each misspelt keyword.

Both must accept a program with every keyword. Keys of tables, and words of a
fixed set, count as keywords. The programs are those of tests/types:
every_keyword.py, and spec_keywords.py with those of the spec. This script
writes the misspelt calls, a line each. basedpyright is the engine of pyright in
a wheel: pyright's own wheel fetches the engine from npm at its first run.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
PACKAGE = HERE / "python"
SAMPLES = [HERE / "tests/types/every_keyword.py", HERE / "tests/types/spec_keywords.py"]
BIN = Path(sys.executable).parent
# Where a table of each kind stands in a call, and keys that it must have beside
# the one in question.
TABLES = {
    "Limits": ("limits={{{}}}", {}),
    "Security": ("security={{{}}}", {}),
    "Namespaces": ("namespaces={{{}}}", {}),
    "JoinNetwork": ("network={{{}}}", {}),
    "BindMount": ("mounts=[{{{}}}]", {"type": '"bind"', "source": '"/s"', "target": '"/t"'}),
    "TmpfsMount": ("mounts=[{{{}}}]", {"type": '"tmpfs"', "target": '"/t"'}),
    "MappedUsers": ('namespaces={{"user": {{{}}}}}', {}),
    "Maps": ('namespaces={{"user": {{"maps": {{{}}}}}}}', {"uids": "[]", "gids": "[]"}),
    "IdMap": (
        'namespaces={{"user": {{"maps": {{"uids": [{{{}}}], "gids": []}}}}}}',
        {"inside": "0", "outside": "0", "count": "1"},
    ),
}


def classes() -> dict[str, dict[str, ast.expr]]:
    """The keys of each table with their types, from the package's own text."""
    tables: dict[str, dict[str, ast.expr]] = {}
    for module in ("spec", "_types"):
        for node in ast.parse((PACKAGE / f"tare/{module}.py").read_text()).body:
            if isinstance(node, ast.ClassDef):
                own = {
                    n.target.id: n.annotation
                    for n in node.body
                    if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)
                }
                for base in node.bases:
                    if isinstance(base, ast.Name):
                        own.update(tables.get(base.id, {}))
                tables[node.name] = own
    return tables


def keywords() -> dict[str, set[str]]:
    """The keywords of each call."""
    names = {name: set(keys) for name, keys in classes().items()}
    return {
        'tare.Sandbox("x", ': names["SandboxOptions"],
        'tare.Pool("x", ': names["SandboxOptions"],
        'tare.aio.Sandbox("x", ': names["SandboxOptions"],
        'tare.aio.Pool("x", ': names["SandboxOptions"],
        'tare.Sandbox.open_in("/x", ': names["SandboxOptions"],
        'tare.run("x", ': names["OneRunOptions"],
        'tare.aio.run("x", ': names["OneRunOptions"],
        'tare.Sandbox("x").run("x", ': names["RunOptions"],
        'tare.Sandbox("x").popen("x", ': names["PopenOptions"],
        'tare.aio.Sandbox("x").run("x", ': names["RunOptions"],
        'tare.aio.Sandbox("x").popen("x", ': names["CommandOptions"],
    }


def words(kind: ast.expr) -> set[str]:
    """The words that a type allows; none if any text is allowed."""
    literals = [
        node.slice
        for node in ast.walk(kind)
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "Literal"
    ]
    inner = [part for one in literals for part in ast.walk(one)]
    return {part.value for part in inner if isinstance(part, ast.Constant) and isinstance(part.value, str)}


def misspelt() -> list[str]:
    """A call for each keyword, key of a table and word, last letter doubled."""
    calls = [f"{call}{name}{name[-1]}=None)" for call, names in keywords().items() for name in sorted(names)]
    tables = classes()
    for name, (place, needed) in TABLES.items():
        for key in sorted(tables[name]):
            wrong = {**needed, f"{key}{key[-1]}": "[]"}
            calls.append(f'tare.Sandbox("x", {place.format(_items(wrong))})')
    for key, kind in tables["SandboxOptions"].items():
        listed = "Sequence[Literal" in ast.unparse(kind)
        for word in sorted(words(kind)):
            value = f'"{word}{word[-1]}"'
            calls.append(f'tare.Sandbox("x", {key}={f"[{value}]" if listed else value})')
    return calls


def _items(keys: dict[str, str]) -> str:
    return ", ".join(f'"{key}": {value}' for key, value in keys.items())


def mypy(file: Path, cache: str) -> set[int]:
    """The lines that mypy complains of."""
    command: list[str | Path] = [
        BIN / "mypy",
        "--strict",
        "--cache-dir",
        cache,
        "--no-error-summary",
        "--hide-error-context",
        file.name,
    ]
    # Followed, but not checked again: lint does that.
    environment = {**os.environ, "MYPYPATH": str(PACKAGE)}
    said = subprocess.run(command, env=environment, cwd=cache, text=True, stdout=subprocess.PIPE).stdout
    return {int(line) for line in re.findall(rf"^{re.escape(file.name)}:(\d+): error", said, re.MULTILINE)}


def pyright(file: Path, cache: str) -> set[int]:
    """The lines that pyright complains of."""
    settings = Path(cache) / "pyrightconfig.json"
    words = {"include": [file.name], "extraPaths": [str(PACKAGE)], "typeCheckingMode": "strict"}
    # A misspelt call is a line of its own, whose value is dropped.
    settings.write_text(
        json.dumps({**words, "reportUnusedExpression": False, "reportUnusedCoroutine": False})
    )
    command: list[str | Path] = [BIN / "basedpyright", "--project", settings, "--outputjson"]
    said = json.loads(subprocess.run(command, text=True, stdout=subprocess.PIPE).stdout)
    found = [one for one in said["generalDiagnostics"] if one["severity"] == "error"]
    return {one["range"]["start"]["line"] + 1 for one in found}


def unused() -> list[str]:
    """The keywords that no program has."""
    nodes = [node for sample in SAMPLES for node in ast.walk(ast.parse(sample.read_text()))]
    used = {word.arg for node in nodes if isinstance(node, ast.Call) for word in node.keywords}
    keys = [key for node in nodes if isinstance(node, ast.Dict) for key in node.keys]
    given = {key.value for key in keys if isinstance(key, ast.Constant)}
    tables = classes()
    missing = {f"{table}.{key}" for table in TABLES for key in tables[table] if key not in given}
    return sorted((set().union(*keywords().values()) - used) | missing)


def main() -> int:
    wrong = [f"{HERE}/tests/types: no {name}" for name in unused()]
    calls = misspelt()
    head = ["import tare", "import tare.aio", ""]
    with tempfile.TemporaryDirectory() as cache:
        # pyright takes paths below its settings alone.
        samples = [Path(shutil.copy(sample, cache)) for sample in SAMPLES]
        wrongly = Path(cache) / "misspelt.py"
        wrongly.write_text("\n".join([*head, *calls, ""]))
        for check in (mypy, pyright):
            wrong += [
                f"{sample.name}:{line}: {check.__name__} refuses it"
                for sample in samples
                for line in sorted(check(sample, cache))
            ]
            seen = check(wrongly, cache)
            missed = [call for line, call in enumerate(calls, len(head) + 1) if line not in seen]
            wrong += [f"{check.__name__} takes {call}" for call in missed]
    print(
        "\n".join(wrong)
        or f"types: {len(calls)} misspelt keywords, keys and words are found by mypy and pyright"
    )
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
