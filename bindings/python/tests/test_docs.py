# SPDX-License-Identifier: MIT OR Apache-2.0
"""The programs in the README's own text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[3] / "README.md"


def test_programs_of_the_readme_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TARE_STORE", str(tmp_path / "store"))
    programs = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert programs
    for program in programs:
        exec(compile(program, README.name, "exec"), {})
