# SPDX-License-Identifier: MIT OR Apache-2.0
"""inspect_ai's own checks of a sandbox provider, all of them."""

import pytest
from inspect_ai.util._sandbox import self_check
from inspect_ai.util._sandbox.self_check import *  # noqa: F403

pytestmark = pytest.mark.anyio


def test_all_of_the_checks_are_here() -> None:
    assert len(self_check.__all__) == 44
