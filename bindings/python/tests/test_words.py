# SPDX-License-Identifier: MIT OR Apache-2.0
"""Wrong keywords and wrong values: the class that Python has for them, a
sentence, and no secret."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import pickle
import signal
import types
from pathlib import Path
from typing import Any, Callable

import pytest
import tare
import tare.aio

SCHEMA = Path(__file__).parents[3] / "docs/schema/spec.json"


def calls_with(keys: dict[str, Any]) -> list[Callable[[], Any]]:
    """All calls that have the keywords of a sandbox."""
    return [
        lambda: tare.Sandbox("busybox", **keys),
        lambda: tare.Sandbox.open_in("/nonexistent", **keys),
        lambda: tare.Pool("busybox", **keys),
        lambda: tare.run("busybox", ["true"], **keys),
        lambda: tare.aio.Sandbox("busybox", **keys),
        lambda: tare.aio.Pool("busybox", **keys),
        lambda: asyncio.run(tare.aio.run("busybox", ["true"], **keys)),
    ]


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("memroy", '"memory"'),
        ("host_name", '"hostname"'),
        ("cap_ad", '"cap_add"'),
        ("volumes", 'mounts=["/host/dir:/inside:rw"]'),
        ("mem_limit", '"memory"'),
        ("detach", "popen(), which returns while the command runs"),
        ("environment", '"env"'),
        ("working_dir", '"workdir"'),
        ("shm_size", '"shm"'),
    ],
)
def test_keyword_unknown_is_a_type_error_with_a_hint(store: tare.Store, name: str, cure: str) -> None:
    for call in calls_with({name: 1}):
        with pytest.raises(TypeError) as caught:
            call()
        error = caught.value
        assert isinstance(error, tare.UnknownKeywordError) and isinstance(error, tare.Error)
        assert (error.kind, error.cure) == ("invalid", cure)
        assert (
            error.step == f"parse spec: {name}"
            and f"() got an unexpected keyword argument {name!r}" in str(error)
        )
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), again.cure) == (type(error), str(error), cure)


def test_keyword_of_one_run_is_told_from_a_sandboxes(store: tare.Store) -> None:
    with pytest.raises(TypeError, match=r"^tare\.run\(\) got .* 'timout'; try: timeout$"):
        tare.run("busybox", ["true"], timout=1)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"^run\(\) got .* 'start_new_session'; try: "):
        tare.run("busybox", ["true"], start_new_session=True)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("keys", "part"),
    [
        ({"pids": "10"}, "limits.pids"),
        ({"write": "memroy"}, 'try: "memory"'),
        ({"limits": {"memori": 1}}, 'try: "memory"'),
        ({"network": True}, 'network: neither a word nor a table; try: "none" or "host"'),
        ({"env": 5}, "env: a mapping of names to values is needed, not int"),
        ({"env": {"A": 5}}, "env.A: the value is int, not a text"),
        ({"env": {"A": None}}, "env.A: the value is NoneType"),
        ({"env": {"A=B": "1"}}, "env"),
        ({"env": {"A": "\udcff"}}, "env.A: the value is not UTF-8; try: env of run()"),
        ({"memory": "1x"}, "not a size"),
        ({"best_effort": ["limits.memroy"]}, "limits.memroy"),
        ({"image": "x\ny"}, "is not a reference"),
    ],
)
def test_value_that_is_wrong_is_a_value_error(store: tare.Store, keys: dict[str, Any], part: str) -> None:
    with pytest.raises(ValueError) as caught:
        tare.Sandbox(keys.pop("image", "busybox"), **keys)
    error = caught.value
    assert isinstance(error, tare.InvalidError) and isinstance(error, tare.Error)
    assert error.kind == "invalid" and error.step and part in str(error)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.step) == (type(error), str(error), error.step)


def test_env_may_be_any_mapping(store: tare.Store) -> None:
    some: list[Any] = [
        os.environ,
        os.environb,
        types.MappingProxyType({"PATH": "/bin", "A": "b"}),
        {b"A": b"b"},
        {"A": Path("b")},
    ]
    for env in some:
        with tare.Sandbox("busybox", env=env) as box:
            said = box.run(["env"], text=True).stdout
            assert os.environ["PATH"] in said if len(env) > 2 else "A=b" in said.splitlines()
    with tare.Sandbox("busybox", limits=types.MappingProxyType({"shm": "1m"})) as box:  # type: ignore[arg-type]
        assert box.run(["true"]).returncode == 0


def test_errors_print_no_value_of_an_environment(store: tare.Store) -> None:
    wrong: list[Any] = [
        {"env": "SECRET"},
        {"env": ["A=SECRET"]},
        {"env": {"A": ["SECRET"]}},
        {"env": {"A=SECRET": "x"}},
        {"env": {"A": "SECRET\udcff"}},
        {"env": {"A": "SECRET\0"}},
        {"env": {"A": "SECRET"}, "memory": "1x"},
        {"env": {"A": "SECRET"}, "memroy": "1x"},
        {"env": {"A": "SECRET"}, "hostname": object()},
        {"labels": {"A": object()}, "env": {"A": "SECRET"}},
    ]
    for keys in wrong:
        for call in (tare.Sandbox, tare.Pool):
            with pytest.raises((ValueError, TypeError)) as caught:
                call("busybox", **keys)
            assert "SECRET" not in str(caught.value) + repr(caught.value)
    of_commands: list[Any] = [{"A": "SECRET\0"}, {"A=SECRET": "x"}, {"A": ["SECRET"]}, {"A": 5}]
    with tare.Sandbox("busybox") as box:
        for env in of_commands:
            for run in (box.run, box.popen):
                with pytest.raises((ValueError, TypeError)) as caught:
                    run(["true"], env=env)
                assert "SECRET" not in str(caught.value) + repr(caught.value)


def test_user_may_be_a_number_and_store_a_path(store: tare.Store) -> None:
    with tare.Sandbox("busybox", store=store.path, user=0) as box:
        assert box.run(["id", "-u"]).stdout == b"0\n"
    with tare.Pool("busybox", min=1, max=1, store=Path(store.path)) as pool, pool.take() as box:
        assert box.run(["true"]).returncode == 0
    wrong: Any = 5
    with pytest.raises(TypeError, match=r"^store: a tare\.Store, or its directory, not int"):
        tare.Sandbox("busybox", store=wrong)


def test_file_takes_bytes_and_text_alone(box: tare.Sandbox) -> None:
    for data in (b"x", bytearray(b"x"), memoryview(b"x"), "x"):
        box.write_file("/tmp/x", data)
        assert box.read_file("/tmp/x") == b"x"
    wrong: Any
    for wrong in (5, None, 1.5, ["x"]):
        with pytest.raises(TypeError, match=f"^data: bytes or str, not {type(wrong).__name__}"):
            box.write_file("/tmp/x", wrong)
        assert box.read_file("/tmp/x") == b"x"


def test_signal_is_a_number(box: tare.Sandbox) -> None:
    wrong: Any = "TERM"
    with box.popen(["sleep", "60"]) as process:
        with pytest.raises(TypeError, match=r"^signal: a number such as signal\.SIGTERM, not 'TERM'"):
            process.send_signal(wrong)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -9


def test_cwd_that_is_missing_is_a_missing_file(store: tare.Store, tmp_path: Path) -> None:
    with tare.Sandbox("busybox", mounts=[f"{tmp_path}:/w:rw"]) as box:
        for cwd in ("/no/such", "/w/typo/deep"):
            for start in (box.run, box.popen):
                with pytest.raises(FileNotFoundError) as caught:
                    start(["true"], cwd=cwd)
                error: Any = caught.value
                assert (error.errno, error.filename) == (errno.ENOENT, cwd)
                assert (error.kind, error.step) == ("not_found", "change directory") and error.cure
    assert list(tmp_path.iterdir()) == []


def test_aio_sandbox_that_is_not_open_says_so(store: tare.Store) -> None:
    sandbox = tare.aio.Sandbox("busybox")
    calls: list[Callable[[], Any]] = [
        lambda: sandbox.read_file("/x"),
        lambda: sandbox.list_dir("/"),
        lambda: sandbox.put("/etc/passwd", "/x"),
        lambda: sandbox.effective(),
        lambda: asyncio.run(sandbox.run(["true"])),
    ]
    for call in calls:
        with pytest.raises(RuntimeError, match="not open yet: use `async with`, or await it"):
            call()
    assert repr(sandbox) == "<tare.aio.Sandbox 'busybox' not open yet>"
    with pytest.raises(AttributeError, match="'Sandbox' object has no attribute 'nonsense'"):
        sandbox.nonsense  # noqa: B018


def test_keywords_are_those_of_the_schema() -> None:
    schema = json.loads(SCHEMA.read_text())
    keys = set(schema["properties"]) - {"image"}
    for table in ("Limits", "Security"):
        keys |= set(schema["$defs"][table]["properties"])
    assert keys == tare._types.KEYS
