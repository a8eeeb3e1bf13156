# SPDX-License-Identifier: MIT OR Apache-2.0
"""The wheel's own papers, as pip installed them: description, licences,
addresses."""

from __future__ import annotations

import re
from importlib.metadata import PackageMetadata, distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LICENSES = ["LICENSE-APACHE", "LICENSE-MIT"]


@pytest.fixture
def metadata() -> PackageMetadata:
    return distribution("libtare").metadata


def description(metadata: PackageMetadata) -> str:
    """The long description: a header in old metadata, the body in new."""
    return str(metadata["Description"])


def test_wheel_is_described_by_its_readme(metadata: PackageMetadata) -> None:
    assert metadata["Description-Content-Type"].startswith("text/markdown")
    readme = (ROOT / "bindings/python/README.md").read_text()
    assert description(metadata).strip() == readme.strip()
    assert metadata["Summary"] and metadata["Keywords"]


def test_wheel_description_has_links_that_work_anywhere(metadata: PackageMetadata) -> None:
    links = re.findall(r"\]\(([^)]*)\)", description(metadata))
    assert links
    begin = "https://github.com/libtare/libtare/blob/main/"
    for link in links:
        assert link.startswith(begin) and (ROOT / link[len(begin) :]).is_file(), link


@pytest.mark.parametrize("name", LICENSES)
def test_wheel_carries_the_text_of_each_license(metadata: PackageMetadata, name: str) -> None:
    assert metadata["License-Expression"] == "MIT OR Apache-2.0"
    assert sorted(metadata.get_all("License-File") or []) == LICENSES
    carried = distribution("libtare").read_text(f"licenses/{name}")
    assert carried == (ROOT / name).read_text()


def test_wheel_names_addresses(metadata: PackageMetadata) -> None:
    addresses = dict(line.split(", ") for line in metadata.get_all("Project-URL") or [])
    assert addresses.keys() == {"Repository", "Documentation", "Changelog"}
    assert all(address.startswith("https://") for address in addresses.values())
