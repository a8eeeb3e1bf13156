# SPDX-License-Identifier: MIT OR Apache-2.0
"""Whether mypy --strict and pyright take a program with every keyword, and refuse each that is misspelt.

The program is tests/types/every_keyword.py; the misspelt calls are made here, one a line. basedpyright is the
engine of pyright in one wheel: pyright's own wheel fetches the engine from npm when it is first run.
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
SAMPLE = HERE / "tests/types/every_keyword.py"
BIN = Path(sys.executable).parent


def keywords() -> dict[str, set[str]]:
    """The keywords of each call, from the package's own tables: its compiled half is not needed."""
    names: dict[str, set[str]] = {}
    for module in ("spec", "_types"):
        for node in ast.parse((PACKAGE / f"tare/{module}.py").read_text()).body:
            if isinstance(node, ast.ClassDef):
                own = {
                    n.target.id
                    for n in node.body
                    if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)
                }
                bases = [names.get(base.id, set()) for base in node.bases if isinstance(base, ast.Name)]
                names[node.name] = own.union(*bases)
    return {
        'tare.Sandbox("x", ': names["SandboxOptions"],
        'tare.Pool("x", ': names["SandboxOptions"],
        'tare.aio.Sandbox("x", ': names["SandboxOptions"],
        'tare.aio.Pool("x", ': names["SandboxOptions"],
        'tare.run("x", ': names["OneRunOptions"],
        'tare.aio.run("x", ': names["OneRunOptions"],
        'tare.Sandbox("x").run("x", ': names["RunOptions"],
        'tare.Sandbox("x").popen("x", ': names["PopenOptions"],
        'tare.aio.Sandbox("x").run("x", ': names["RunOptions"],
        'tare.aio.Sandbox("x").popen("x", ': names["CommandOptions"],
    }


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
    """The keywords that the program does not have."""
    nodes = ast.walk(ast.parse(SAMPLE.read_text()))
    used = {word.arg for node in nodes if isinstance(node, ast.Call) for word in node.keywords}
    return sorted(set().union(*keywords().values()) - used)


def main() -> int:
    wrong = [f"{SAMPLE}: has no {name}" for name in unused()]
    calls = [f"{call}{name}{name[-1]}=None)" for call, names in keywords().items() for name in sorted(names)]
    head = ["import tare", "import tare.aio", ""]
    with tempfile.TemporaryDirectory() as cache:
        # pyright takes paths below its settings alone.
        sample = Path(shutil.copy(SAMPLE, cache))
        misspelt = Path(cache) / "misspelt.py"
        misspelt.write_text("\n".join([*head, *calls, ""]))
        for check in (mypy, pyright):
            wrong += [
                f"{SAMPLE}:{line}: {check.__name__} refuses it" for line in sorted(check(sample, cache))
            ]
            seen = check(misspelt, cache)
            missed = [call for line, call in enumerate(calls, len(head) + 1) if line not in seen]
            wrong += [f"{check.__name__} takes {call}" for call in missed]
    print("\n".join(wrong) or f"types: {len(calls)} misspelt keywords are found by mypy and pyright")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
