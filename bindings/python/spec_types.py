# SPDX-License-Identifier: MIT OR Apache-2.0
"""Writes python/tare/spec.py, the types of the spec's keywords, from the
schema; `--check` compares alone.

The schema is made from the types of Rust, so a key has one definition for every
face. Type checkers are tried with tests/types/spec_keywords.py, which has each
keyword and is written as well.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SCHEMA = HERE / "../../docs/schema/spec.json"
WRITTEN = HERE / "python/tare/spec.py"
SAMPLE = HERE / "tests/types/spec_keywords.py"
# Tables whose keys stand beside the spec's own, too.
TABLES = ("limits", "security")
# Keywords that a command has as well; there, the command's type holds.
OF_A_COMMAND = ("env", "user")
# What Python takes beyond JSON's types: paths anywhere, the others as keywords.
PATHS = {
    "source": "StrPath",
    "workdir": "StrPath",
    "masked_paths": "Sequence[StrPath]",
    "readonly_paths": "Sequence[StrPath]",
}
WIDER = {
    "env": "Mapping[str, str] | Mapping[bytes, bytes]",
    "user": "str | int",
}
# Tables that the schema does not describe.
ABOUT = {
    "BindMount": "A file or directory of the host, an entry of `mounts`.",
    "TmpfsMount": "A file system in memory, an entry of `mounts`.",
    "MappedUsers": "A user namespace with maps of one's own.",
    "Maps": "The maps of user and group ids, user_namespaces(7).",
}
HEAD = '''# SPDX-License-Identifier: MIT OR Apache-2.0
"""The keywords of `Sandbox` and `Pool`, for type checkers. Written by
spec_types.py from the schema."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict, Union

StrPath = Union[str, "os.PathLike[str]"]
"""A path."""
'''

# Values of types that the schema does not have.
GIVEN = {
    "source": 'Path("/x")',
    "workdir": 'Path("/x")',
    "masked_paths": '["/x", Path("/x")]',
    "readonly_paths": '["/x", Path("/x")]',
    "env": "os.environ",
    "user": "1000",
}
SAMPLE_HEAD = '''# SPDX-License-Identifier: MIT OR Apache-2.0
"""Every keyword of the spec, with a value. Written by spec_types.py."""

from __future__ import annotations

import os
from pathlib import Path

import tare


def of_a_sandbox(image: tare.Image, store: tare.Store) -> tare.Sandbox:
    return tare.Sandbox(image, store=store, '''

Schema = dict[str, Any]


class Types:
    """The types of a schema, as Python's."""

    def __init__(self, schema: Schema) -> None:
        self.defs: Schema = schema["$defs"]
        # Classes, in the order in which they were needed.
        self.classes: dict[str, str] = {}

    def of(self, part: Schema, name: str) -> str:
        """The type of a value; a table without an own name is called `name`."""
        if "$ref" in part:
            own = part["$ref"].rsplit("/", 1)[1]
            return self.of(self.defs[own], own)
        for choice in ("anyOf", "oneOf"):
            if choice in part:
                return self._union(part[choice], name)
        if "enum" in part:
            return f"Literal[{', '.join(map(_quoted, part['enum']))}]"
        if "const" in part:
            return f"Literal[{_quoted(part['const'])}]"
        kinds = part["type"] if isinstance(part["type"], list) else [part["type"]]
        return " | ".join(self._kind(kind, part, name) for kind in kinds if kind != "null")

    def _union(self, choices: list[Schema], name: str) -> str:
        words = [part["const"] for part in choices if "const" in part]
        words += [word for part in choices for word in part.get("enum", [])]
        types = [f"Literal[{', '.join(map(_quoted, words))}]"] if words else []
        for part in choices:
            if "const" in part or "enum" in part or part.get("type") == "null":
                continue
            types.append(self.of(part, _table_name(part, name)))
        return " | ".join(dict.fromkeys(types))

    def _kind(self, kind: str, part: Schema, name: str) -> str:
        if kind == "array":
            return f"Sequence[{self.of(part['items'], name)}]"
        if kind == "object":
            if "properties" in part:
                return self._table(part, name)
            values = part.get("additionalProperties")
            return f"Mapping[str, {self.of(values, name) if values else 'Any'}]"
        return {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}[kind]

    def _table(self, part: Schema, name: str) -> str:
        if name not in self.classes:
            self.classes[name] = ""
            required = part.get("required", [])
            keys = part["properties"]
            must = {key: keys[key] for key in keys if key in required}
            may = {key: keys[key] for key in keys if key not in required}
            about = part.get("description") or ABOUT[name]
            text = ""
            bases = "TypedDict"
            if must and may:
                text = self.table(f"_{name}", bases, about, must, True) + "\n\n"
                bases = f"_{name}"
            text += self.table(name, bases, about, may or must, not may)
            self.classes[name] = self.classes.pop(name) or text
        return name

    def table(self, name: str, bases: str, about: str, keys: Schema, total: bool, top: bool = False) -> str:
        """One class; keywords, at the `top`, may each be None, the default."""
        lines = [f"class {name}({bases}{'' if total else ', total=False'}):", *_doc(about, 73), ""]
        for key, part in keys.items():
            wider = {**PATHS, **WIDER} if top else PATHS
            kind = wider.get(key) or self.of(part, key.title().replace("_", ""))
            lines.append(f"    {key}: {kind}{' | None' if top or _may_be_null(part, self.defs) else ''}")
            lines += _doc(part["description"]) if "description" in part else []
        return "\n".join(lines) + "\n"


def _may_be_null(part: Schema, defs: Schema) -> bool:
    if "$ref" in part:
        return _may_be_null(defs[part["$ref"].rsplit("/", 1)[1]], defs)
    choices = part.get("anyOf", []) + part.get("oneOf", [])
    return "null" in part.get("type", "") or any(_may_be_null(choice, defs) for choice in choices)


def _table_name(part: Schema, name: str) -> str:
    """A choice among tables is named by what tells them apart."""
    kinds = part.get("properties", {}).get("type", {})
    if kinds:
        return "TmpfsMount" if kinds.get("const") == "tmpfs" else "BindMount"
    keys = list(part.get("properties", {}))
    return {"join": "JoinNetwork", "maps": "MappedUsers"}.get(keys[0], name) if keys else name


def _quoted(word: str) -> str:
    return json.dumps(word)


def _doc(text: str, width: int = 96) -> list[str]:
    # Rust's examples say nothing here.
    text = " ".join(re.sub(r"```.*", "", text, flags=re.DOTALL).split()).replace("\\", "\\\\")
    lines = textwrap.wrap(text, width)
    first, *rest = lines
    if not rest:
        return [f'    """{first}"""' if not first.endswith('"') else f'    """{first} """']
    return [f'    """{first}', *(f"    {line}" for line in rest), '    """']


def _example(part: Schema, key: str, defs: Schema, top: bool) -> str:
    """A value of a key's type; keywords, at the `top`, take more."""
    if key in GIVEN and (top or key not in WIDER):
        return GIVEN[key]
    if "$ref" in part:
        return _example(defs[part["$ref"].rsplit("/", 1)[1]], key, defs, top)
    # The last is a table where there is one.
    for choice in part.get("anyOf", []) + part.get("oneOf", [])[::-1]:
        if choice.get("type") != "null":
            return _example(choice, key, defs, top)
    if "enum" in part or "const" in part:
        return _quoted(part.get("const") or part["enum"][0])
    kinds = part["type"] if isinstance(part["type"], list) else [part["type"]]
    return _example_of(kinds[0], part, key, defs)


def _example_of(kind: str, part: Schema, key: str, defs: Schema) -> str:
    if kind == "array":
        items = part["items"]
        whole = defs[items["$ref"].rsplit("/", 1)[1]] if "$ref" in items else items
        return f"[{', '.join(_example(one, '', defs, False) for one in whole.get('anyOf', [items]))}]"
    if kind == "object":
        keys = {name: _example(one, name, defs, False) for name, one in part.get("properties", {}).items()}
        if part.get("additionalProperties"):
            keys["x"] = _example(part["additionalProperties"], "", defs, False)
        return f"{{{', '.join(f'{_quoted(name)}: {value}' for name, value in keys.items())}}}"
    return {"string": '"x"', "integer": "1", "number": "1.5", "boolean": "True"}[kind]


def _own(schema: Schema) -> Schema:
    """The keywords of a sandbox: keys of the spec, and those of tables."""
    own: Schema = {key: part for key, part in schema["properties"].items() if key != "image"}
    for table in TABLES:
        own.update(schema["$defs"][table.title()]["properties"])
    return own


def sample() -> str:
    """The program for type checkers."""
    schema = json.loads(SCHEMA.read_text())
    keys = _own(schema).items()
    given = [f"{key}={_example(part, key, schema['$defs'], True)}" for key, part in keys]
    return f"{SAMPLE_HEAD}{', '.join(given)})\n"


def written() -> str:
    """The module."""
    schema = json.loads(SCHEMA.read_text())
    types = Types(schema)
    own = _own(schema)
    shared = {key: own.pop(key) for key in OF_A_COMMAND}
    most = types.table(
        "CommonOptions",
        "TypedDict",
        "The keywords of a sandbox that no command has. None means the default.",
        own,
        False,
        True,
    )
    all_of_them = types.table(
        "SandboxOptions",
        "CommonOptions",
        "The keywords of `Sandbox` and `Pool`: the keys of the spec, those of its `limits` and `security` too. "
        "None means the default.",
        shared,
        False,
        True,
    )
    return "\n\n".join([HEAD, *types.classes.values(), most, all_of_them])


def _formatted(text: str) -> str:
    import subprocess

    return subprocess.run(
        [Path(sys.executable).parent / "ruff", "format", "--config", HERE / "pyproject.toml", "-"],
        input=text,
        text=True,
        stdout=subprocess.PIPE,
        check=True,
    ).stdout


def main() -> int:
    stale = 0
    for path, text in ((WRITTEN, _formatted(written())), (SAMPLE, _formatted(sample()))):
        if sys.argv[1:] != ["--check"]:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            print(f"{path} is not what the schema says; try: make schema", file=sys.stderr)
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main())
