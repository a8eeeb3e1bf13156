# SPDX-License-Identifier: MIT OR Apache-2.0
"""A whole evaluation: the samples' files, a tool and a scorer meet in the
sandbox of each sample."""

from __future__ import annotations

from pathlib import Path

import pytest
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.scorer import Score, Scorer, Target, accuracy, scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.tool import bash
from inspect_ai.util import SandboxEnvironmentSpec, sandbox
from tare_sandbox import TareConfig


@solver
def counts() -> Solver:
    """Uses the tool as a model would."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        state.output.completion = str(await bash(timeout=60)("wc -l <given >>answer; pwd"))
        return state

    return solve


@scorer(metrics=[accuracy()])
def answer() -> Scorer:
    async def score(state: TaskState, target: Target) -> Score:
        said = await sandbox().read_file("answer")
        return Score(value=said == target.text, explanation=f"{said!r} {state.output.completion!r}")

    return score


def test_eval_gives_each_sample_a_sandbox_of_its_own(
    config: TareConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    samples = [Sample("How many?", target=f"{n}\n", files={"given": "x\n" * n}) for n in (1, 2, 3)]
    task = Task(samples, solver=counts(), scorer=answer(), sandbox=SandboxEnvironmentSpec("tare", config))
    [log] = eval(task, model="mockllm/model", display="none", log_dir=str(tmp_path / "logs"))
    assert log.status == "success", log.error
    scores = [sample.scores["answer"] for sample in log.samples or [] if sample.scores]
    assert [score.value for score in scores] == [True] * 3, scores
