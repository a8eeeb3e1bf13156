# SPDX-License-Identifier: MIT OR Apache-2.0
"""The plugin, in runs of pytest of their own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import tare


@pytest.fixture(autouse=True)
def apart(store: tare.Store, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hides the outer run from inner runs."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    for name in [name for name in os.environ if name.startswith("PYTEST_XDIST")]:
        monkeypatch.delenv(name)


def test_plugin_gives_each_test_a_fresh_sandbox(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import os, pytest
        seen = []

        @pytest.mark.parametrize("n", range(3))
        def test_fresh(sandbox, n):
            assert not sandbox.exists("/mark")
            sandbox.write_file("/mark", b"")
            assert sandbox.run(["ls", "/bin/busybox"], check=True)
            seen.append(sandbox)

        def test_closed():
            for box in seen:
                with pytest.raises(Exception, match="closed"):
                    box.run(["true"])
        """
    )
    result = pytester.runpytest_subprocess("--tare-image=busybox")
    result.assert_outcomes(passed=4)


def test_plugin_host_is_the_default_image(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def test_host(sandbox, sandbox_image):
            assert sandbox_image == "host"
            assert sandbox.read_file("/etc/hostname") == open("/etc/hostname", "rb").read()
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


def test_plugin_options_go_over_the_ini_file_and_marks_over_both(
    pytester: pytest.Pytester, store: tare.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makeini(
        f"""
        [pytest]
        tare_image = busybox
        tare_store = {store.path}
        tare_options =
            hostname=ini
            env={{"A": "ini", "B": "x y"}}
        """
    )
    pytester.makepyfile(
        """
        import pytest

        def name(sandbox):
            return sandbox.run("hostname; echo $A $B", shell=True, text=True).stdout.split("\\n")[:2]

        def test_ini(sandbox):
            assert name(sandbox) == [NAME, "ini x y"]

        @pytest.mark.sandbox(hostname="mark")
        class TestMarks:
            def test_class(self, sandbox):
                assert name(sandbox) == ["mark", "ini x y"]

            @pytest.mark.sandbox(hostname="inner", env={})
            def test_nearest(self, sandbox, sandbox_factory):
                assert name(sandbox) == ["inner", ""]
                assert name(sandbox_factory(hostname="call")) == ["call", "ini x y"]

        @pytest.mark.sandbox("host")
        def test_image(sandbox):
            assert sandbox.read_file("/etc/hostname") == open("/etc/hostname", "rb").read()
        """.replace("NAME", "__import__('os').environ['NAME']")
    )
    monkeypatch.setenv("NAME", "ini")
    pytester.runpytest_subprocess("--strict-markers").assert_outcomes(passed=4)
    monkeypatch.setenv("NAME", "words")
    result = pytester.runpytest_subprocess("-k", "test_ini", "--tare-option=hostname=words")
    result.assert_outcomes(passed=1, deselected=3)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("hostnam=words", 'parse spec: hostnam: unknown key "hostnam"; try: "hostname"'),
        ("memory=lots", 'parse spec: limits.memory: *"lots" is not a size; try: *'),
        ("memory", "it is no KEY=VALUE"),
        ("image=busybox", "it has an option of its own; try: --tare-image"),
        ("store=/tmp", "it has an option of its own; try: --tare-store"),
    ],
)
@pytest.mark.parametrize("words", [(), ("-n2",)], ids=["alone", "xdist"])
def test_plugin_wrong_options_are_told_once_and_before_all_tests(
    pytester: pytest.Pytester, option: str, said: str, words: tuple[str]
) -> None:
    pytester.makepyfile("def test_a(sandbox): pass\ndef test_b(sandbox): pass")
    result = pytester.runpytest_subprocess(f"--tare-option={option}", *words)
    assert result.ret == pytest.ExitCode.USAGE_ERROR and "test_a" not in result.stdout.str()
    result.stderr.fnmatch_lines([f"ERROR: --tare-option {option}: {said}"])
    assert "Traceback" not in result.stderr.str()
    pytester.makeini(f"[pytest]\ntare_options =\n    pids=1\n    {option}")
    result = pytester.runpytest_subprocess(*words)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: tare_options {option}: {said}"])
    pytester.makeini("[pytest]\ntare_options =\n    pids=1")
    result = pytester.runpytest_subprocess('--tare-option=limits={"pids": 2}', *words)
    result.stderr.fnmatch_lines(
        ['ERROR: tare_options and --tare-option: parse spec: pids: it is in "limits", too']
    )


def test_plugin_image_or_store_that_cannot_be_used_is_one_line(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest, tare

        def test_fixture(sandbox): pass
        def test_factory(sandbox_factory): sandbox_factory()

        @pytest.mark.sandbox("nosuch:1")
        def test_mark(sandbox): pass

        def test_expects(sandbox_factory):
            with pytest.raises(tare.Error, match="nosuch"):
                sandbox_factory("nosuch:2")
        """
    )
    result = pytester.runpytest_subprocess("--tare-image=busibox")
    result.assert_outcomes(passed=1, failed=1, errors=2)
    refused = "find image: busibox: not in the store; try: busybox:latest"
    result.stdout.fnmatch_lines([f"sandbox of busibox: {refused}", "sandbox of nosuch:1: find image: *"])
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*_sandbox.py*")
    pytester.path.joinpath("file").touch()
    result = pytester.runpytest_subprocess(f"--tare-store={pytester.path}/file/store", "-k", "fixture")
    result.assert_outcomes(errors=1, deselected=3)
    result.stdout.fnmatch_lines([f"store {pytester.path}/file/store: *Not a directory*"])
    result.stdout.no_fnmatch_line("*_store.py*")


def test_plugin_image_can_be_overridden(pytester: pytest.Pytester, images: Path) -> None:
    pytester.makeconftest(
        f"""
        import pytest, tare

        @pytest.fixture(scope="session")
        def sandbox_image():
            return tare.Store().image("oci:{images}/busybox:latest")
        """
    )
    pytester.makepyfile("def test_it(sandbox): assert sandbox.run(['busybox', 'true']).returncode == 0")
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


FAILING = """
    import pytest, tare

    def test_passes(sandbox):
        sandbox.run(["echo", "not shown"])

    def test_fails(sandbox, sandbox_factory):
        sandbox.run("echo 'to stdout'; echo to stderr >&2; exit 3", shell=True)
        sandbox.run(["seq", "100000"])
        sandbox.popen(["true"]).wait()
        talked = sandbox.popen("echo said; echo wrong >&2; exit 4", shell=True, stdout=tare.PIPE, stderr=tare.PIPE)
        talked.communicate()
        runs = sandbox.popen(["sleep", "60"])
        unseen = sandbox.popen(["false"])
        import select
        select.select([unseen], [], [], 30)
        other = sandbox_factory()
        for n in range(60):
            other.run(["echo", f"turn {n}"])
        with pytest.raises(tare.TimeoutExpired):
            other.run(["sleep", "60"], timeout=0.01)
        assert False
    """
SHOWN = [
    "*- sandbox 1: busybox -*",
    "$ /bin/sh -c 'echo '*to stdout*; echo to stderr >&2; exit 3'  (exited, 3, 0.* s)",
    "  stdout:",
    "    to stdout",
    "  stderr:",
    "    to stderr",
    "$ seq 100000  (exited, 0, * s)",
    "  stdout, last 2000 of 588895 bytes:",
    "    100000",
    "$ true  (exited, 0, * s)",
    "$ /bin/sh -c 'echo said; *'  (exited, 4, * s)",
    "  stdout:",
    "    said",
    "  stderr:",
    "    wrong",
    "$ sleep 60  (started, runs)",
    "$ false  (exited, 1, * s)",
    "*- sandbox 2: busybox -*",
    "(11 more before)",
    "    turn 59",
    "$ sleep 60  (timeout, -9, 0.* s)",
]


@pytest.mark.parametrize("words", [(), ("-n2",)], ids=["alone", "xdist"])
def test_plugin_shows_the_log_of_a_failure(pytester: pytest.Pytester, words: tuple[str]) -> None:
    pytester.makepyfile(FAILING)
    result = pytester.runpytest_subprocess("--tare-image=busybox", *words)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(SHOWN)
    result.stdout.no_fnmatch_line("*not shown*")


def test_plugin_shares_sandboxes_in_a_module_and_a_session(pytester: pytest.Pytester) -> None:
    shared = """
        import pytest

        @pytest.fixture(scope="module")
        def server(module_sandbox_factory):
            box = module_sandbox_factory(hostname="server")
            box.run(["echo", "of the setup"])
            return box

        def test_first(server, base):
            server.write_file("/here", b"")
            if not base.exists("/modules"):
                base.mkdir("/modules")
            base.write_file("/modules/NAME", b"")
            server.run(["echo", "of the first"])

        def test_second(server, base):
            assert server.exists("/here") and base.exists("/modules/NAME")
            server.run(["echo", "of the second"])
            assert len(base.list_dir("/modules")) < 2
        """
    pytester.makeconftest(
        """
        import pytest

        @pytest.fixture(scope="session")
        def base(session_sandbox_factory):
            return session_sandbox_factory()
        """
    )
    pytester.makepyfile(test_one=shared.replace("NAME", "one"), test_two=shared.replace("NAME", "two"))
    result = pytester.runpytest_subprocess("--tare-image=busybox", "-p", "no:randomly")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["*- sandbox 1: busybox -*", "    of the second"])
    result.stdout.no_fnmatch_line("*of the first*")
    result.stdout.no_fnmatch_line("*of the setup*")


def test_plugin_has_sandboxes_for_asyncio(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import asyncio, pytest, tare, tare.aio
        seen = []

        @pytest.mark.sandbox(hostname="marked")
        def test_one(async_sandbox, async_sandbox_factory):
            async def main():
                other = async_sandbox_factory(hostname="made")
                runs = [box.run(["hostname"], text=True) for box in (async_sandbox, other)]
                return [done.stdout for done in await asyncio.gather(*runs)]

            assert asyncio.run(main()) == ["marked\\n", "made\\n"]
            assert isinstance(async_sandbox, tare.aio.Sandbox)
            seen.append(async_sandbox)

        def test_closed():
            with pytest.raises(tare.Error, match="closed"):
                seen[0].read_file("/x")

        def test_fails(async_sandbox):
            async def main():
                await async_sandbox.run(["echo", "awaited"])
                process = await async_sandbox.popen(["echo", "talked"], stdout=tare.PIPE)
                await process.communicate()
                await async_sandbox.popen(["sleep", "60"])
                assert False

            asyncio.run(main())
        """
    )
    result = pytester.runpytest_subprocess("--tare-image=busybox")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        [
            "$ echo awaited  (exited, 0, * s)",
            "    awaited",
            "$ echo talked  (exited, 0, * s)",
            "    talked",
            "$ sleep 60  (started*)",
        ]
    )


def test_plugin_workers_share_one_new_store(pytester: pytest.Pytester, images: Path) -> None:
    pytester.makepyfile(
        """
        import os, pytest

        @pytest.mark.parametrize("n", range(24))
        def test_many(sandbox, n):
            sandbox.write_file("/n", str(n))
            assert sandbox.run(["cat", "/n"], text=True).stdout == str(n)
            print("worker", os.environ["PYTEST_XDIST_WORKER"])
        """
    )
    store = pytester.path / "store"
    image = f"--tare-image=oci:{images}/busybox:latest"
    result = pytester.runpytest_subprocess("-n4", "-rP", image, f"--tare-store={store}")
    result.assert_outcomes(passed=24)
    assert len({line for line in result.outlines if line.startswith("worker ")}) > 1
    assert os.listdir(store / "scratch") == []
    assert len(tare.Store(store).images()) == 1
