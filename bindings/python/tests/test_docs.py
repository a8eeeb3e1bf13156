# SPDX-License-Identifier: MIT OR Apache-2.0
"""The programs in the documentation's own text."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


PAGES = ["README.md", "docs/python.md", "docs/spec.md", "bindings/python/README.md"]


@pytest.mark.parametrize("page", PAGES)
def test_programs_of_the_documentation_run(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pytester: pytest.Pytester
) -> None:
    monkeypatch.setenv("TARE_STORE", str(tmp_path / "store"))
    programs = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert programs
    for program in programs:
        if "def test_" in program:
            passes_as_tests(program, monkeypatch, pytester)
        else:
            exec(compile(program, page, "exec"), {"__name__": page})


def passes_as_tests(program: str, monkeypatch: pytest.MonkeyPatch, pytester: pytest.Pytester) -> None:
    """Runs tests of the documentation as a user does, apart from the run that
    this is part of."""
    for name in [name for name in os.environ if name.startswith(("PYTEST_XDIST", "PYTEST_ADDOPTS"))]:
        monkeypatch.delenv(name)
    outcomes = pytester.runpytest_subprocess(pytester.makepyfile(program)).parseoutcomes()
    assert outcomes.keys() == {"passed"} and outcomes["passed"] >= program.count("def test_")


def test_lines_about_an_image_of_ones_own_work(images: Path, tmp_path: Path) -> None:
    text = (ROOT / "docs/python.md").read_text()
    block = re.search(r"```sh\n(docker save.*?)```", text, re.DOTALL)
    assert block
    (tmp_path / "tree/bin").mkdir(parents=True)
    busybox = shutil.which("busybox")
    assert busybox
    shutil.copy(busybox, tmp_path / "tree/bin/id")
    # Local substitutes for sources that need a network.
    stand_ins = {
        "docker save debian:12": f"cat {images}/debian.docker.tar",
        "docker://debian:12": f"oci:{images}/debian:latest",
        "debootstrap --variant=minbase bookworm root": f"ln -s {images}/oldest root",
    }
    lines = [line.partition("#")[0] for line in block[1].splitlines()]
    for number, line in enumerate(lines):
        place = tmp_path / str(number)
        place.mkdir()
        with tarfile.open(place / "root.tar", "w") as archive:
            archive.add(tmp_path / "tree", ".")
        for said, here in stand_ins.items():
            line = line.replace(said, here)
        env = {**os.environ, "TARE_STORE": str(tmp_path / "store"), "HOME": str(place)}
        done = subprocess.run(line, shell=True, cwd=place, env=env, text=True, capture_output=True)
        assert done.returncode == 0, f"{line}: {done.stderr}"
        if " -- id" in line:
            assert done.stdout.startswith("uid=0"), f"{line}: {done.stdout}"
    for said in stand_ins:
        assert said in block[1]
    listed = ["tare", "image", "list", "--store", str(tmp_path / "store")]
    assert "debian" in subprocess.run(listed, text=True, capture_output=True, check=True).stdout
