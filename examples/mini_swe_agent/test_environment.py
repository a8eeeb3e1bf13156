# SPDX-License-Identifier: MIT OR Apache-2.0
"""mini-swe-agent's agent in a sandbox, and its own local environment as the
judge of each action."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from minisweagent import Environment
from minisweagent.agents.default import DefaultAgent
from minisweagent.environments import get_environment
from minisweagent.environments.local import LocalEnvironment
from minisweagent.models.test_models import DeterministicModel, make_output
from tare_environment import TareEnvironment

IMAGES = os.environ.get("TARE_IMAGES", Path(__file__).parents[2] / "target/images")
SUBMIT = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"


@pytest.fixture
def environment() -> Iterator[Environment]:
    config = {
        "environment_class": "tare_environment.TareEnvironment",
        "image": f"oci:{IMAGES}/debian:latest",
        "cwd": "/tmp",
        "env": {"WHO": "you"},
    }
    made = get_environment(config)
    yield made
    made.cleanup()  # type: ignore[attr-defined]


def test_agent_does_a_task_and_submits(environment: Environment) -> None:
    commands = ["rm -rf /usr/share && echo $WHO >made", "cd / && pwd", "cat made", f"{SUBMIT}; pwd; cat made"]
    outputs = [make_output("", [{"command": command}]) for command in commands]
    model = DeterministicModel(outputs=outputs, cost_per_call=0)
    agent = DefaultAgent(
        model, environment, system_template="", instance_template="{{task}} on {{system}}", cost_limit=0
    )
    assert agent.run("Do all that") == {"exit_status": "Submitted", "submission": "/tmp\nyou\n"}
    said = [str(message["content"]) for message in agent.messages if message["role"] == "user"]
    assert said[0] == "Do all that on Linux"
    assert "<output>\n/\n</output>" in said[2] and "<output>\nyou\n</output>" in said[3]
    told = agent.save(None)["info"]["config"]
    assert told["environment_type"] == "tare_environment.TareEnvironment"
    assert told["environment"]["cwd"] == "/tmp"


@pytest.mark.parametrize(
    ("command", "how"),
    [
        ("echo out; echo err >&2; exit 3", {}),
        ("printf '\\303\\050 \\r\\n'", {}),
        ("kill -9 $$", {}),
        ("echo part; sleep 60", {"timeout": 1}),
        ("pwd", {"cwd": "/usr"}),
        ("pwd", {"cwd": "/no/such"}),
        ("no-such-program", {}),
        ("cat; echo $WHO", {}),
        ("", {}),
    ],
)
def test_action_comes_to_what_it_does_without_a_sandbox(command: str, how: dict[str, Any]) -> None:
    common: dict[str, Any] = {"cwd": "/", "env": {"WHO": "you"}}
    seen = []
    for environment in (
        TareEnvironment(image="host", interpreter=["/bin/sh", "-c"], **common),
        LocalEnvironment(**common),
    ):
        output = environment.execute({"command": command}, **how)
        # The sentences of exceptions differ; that there is one, and its class,
        # does not.
        output["exception_info"] = bool(output["exception_info"])
        output.get("extra", {}).pop("exception", None)
        seen.append(output)
    assert seen[0] == seen[1]
