# SPDX-License-Identifier: MIT OR Apache-2.0
"""The programs in the documentation's own text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


PAGES = ["README.md", "docs/python.md", "docs/spec.md", "bindings/python/README.md"]


@pytest.mark.parametrize("page", PAGES)
def test_programs_of_the_documentation_run(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TARE_STORE", str(tmp_path / "store"))
    programs = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert programs
    for program in programs:
        exec(compile(program, page, "exec"), {"__name__": page})
