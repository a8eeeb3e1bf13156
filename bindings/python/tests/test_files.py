# SPDX-License-Identifier: MIT OR Apache-2.0
"""Files of a sandbox from outside."""

from __future__ import annotations

import errno
import gzip
import io
import os
import stat
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable

import pytest
import tare
import tare.aio


def test_files_are_what_commands_see(box: tare.Sandbox) -> None:
    box.write_file("/tmp/from outside", b"\0bytes")
    assert box.run(["cat", "/tmp/from outside"]).stdout == b"\0bytes"
    box.run("printf inside >/tmp/in; ln -s in /tmp/link; mkdir -m 1755 /tmp/d", shell=True, check=True)
    assert box.read_file("/tmp/link") == b"inside"
    assert box.readlink("/tmp/link") == "in"
    names = {entry.name: entry for entry in box.list_dir("/tmp")}
    assert list(names) == ["d", "from outside", "in", "link"]
    assert names["d"].is_dir() and names["in"].is_file() and names["link"].is_symlink()
    assert names["in"].inode() == box.stat("/tmp/link").st_ino
    assert stat.S_IMODE(box.stat("/tmp/d").st_mode) == 0o1755
    assert stat.S_ISLNK(box.stat("/tmp/link", follow_symlinks=False).st_mode)


def test_files_text_is_as_with_run(box: tare.Sandbox) -> None:
    box.write_file("/t", "\u00e4\r\nb")
    assert box.read_file("/t") == b"\xc3\xa4\r\nb"
    assert box.read_file("/t", text=True) == "\u00e4\nb"
    box.write_file("/t", "\u00e4", encoding="latin-1", append=True)
    assert box.read_file("/t", errors="replace") == "\u00e4\nb\ufffd"
    assert box.read_file(b"/t", encoding="latin-1").endswith("\u00e4")
    assert box.read_file(Path("/t"), limit=6) == b"\xc3\xa4\r\nb\xe4"
    with pytest.raises(OSError, match="more than 5 bytes"):
        box.read_file("/t", limit=5)


def test_files_new_one_has_exactly_its_mode(box: tare.Sandbox) -> None:
    old = os.umask(0o077)
    try:
        box.write_file("/default", b"")
        box.write_file("/mine", b"", mode=0o1751, exclusive=True)
        box.mkdir("/a/b/c", 0o1777, parents=True)
        box.mkdir("/a/b/c", parents=True)
    finally:
        os.umask(old)
    modes = [stat.S_IMODE(box.stat(name).st_mode) for name in ("/default", "/mine", "/a/b", "/a/b/c")]
    assert modes == [0o644, 0o1751, 0o1777, 0o1777]
    box.chmod("/default", 0o1600)
    box.utime("/default", ns=-1_500_000_000)
    found = box.stat("/default")
    assert (found.st_mode, found.st_mtime_ns) == (stat.S_IFREG | 0o1600, -1_500_000_000)
    assert (found.st_mtime, found.st_uid, found.st_gid, found.st_size) == (-1.5, 0, 0, 0)


@pytest.mark.root
def test_files_owners_are_those_inside(box: tare.Sandbox) -> None:
    box.write_file("/mine", b"", owner=(7, 8))
    box.write_file("/other", b"")
    box.chown("/other", 9, 10)
    assert box.run(["stat", "-c", "%u:%g", "/mine", "/other"]).stdout == b"7:8\n9:10\n"


def test_files_open_gives_an_ordinary_file(store: tare.Store) -> None:
    with tare.Sandbox("busybox") as box:
        with box.open_file("/f", "w") as file:
            file.write("one\n\u00e4\n")
        with box.open_file("/f", "a+b") as file:
            file.write(b"three\n")
            file.seek(0)
            assert file.read() == b"one\n\xc3\xa4\nthree\n"
        with pytest.raises(FileExistsError):
            box.open_file("/f", "x")
        file = box.open_file("/f")
        assert not os.get_inheritable(file.fileno())
    with file:
        assert list(file) == ["one\n", "\u00e4\n", "three\n"]


def test_files_remove_rename_link(box: tare.Sandbox) -> None:
    box.mkdir("/w")
    box.write_file("/w/a", b"a")
    box.link("/w/a", "/w/b")
    assert box.stat("/w/b").st_nlink == 2
    box.rename("/w/a", "/w/c")
    box.symlink("/etc", "/w/l")
    with pytest.raises(OSError, match="Directory not empty"):
        box.remove("/w")
    box.remove("/w/b")
    assert not box.exists("/w/b") and box.exists("/w/l")
    box.remove("/w", recursive=True)
    assert not box.exists("/w") and box.exists("/etc/passwd")
    box.remove("/w", missing_ok=True)
    box.mkdir("/empty")
    box.remove("/empty")
    with pytest.raises(FileNotFoundError):
        box.remove("/empty")


@pytest.mark.parametrize(
    ("ask", "error", "name"),
    [
        (lambda box: box.read_file("/no/such"), FileNotFoundError, "/no/such"),
        (lambda box: box.read_file("/bin"), IsADirectoryError, "/bin"),
        (lambda box: box.list_dir("/etc/passwd"), NotADirectoryError, "/etc/passwd"),
        (lambda box: box.mkdir("/bin"), FileExistsError, "/bin"),
        (lambda box: box.write_file("/no/such", b""), FileNotFoundError, "/no/such"),
        (lambda box: box.open_file("/no/such"), FileNotFoundError, "/no/such"),
        # The subject says more than the name.
        (lambda box: box.run(["mkfifo", "/pipe"]) and box.read_file("/pipe"), OSError, "/pipe"),
        (lambda box: box.put("/no/such/thing", "/x"), FileNotFoundError, "/no/such/thing"),
    ],
)
def test_files_errors_are_those_of_the_calls(shared: tare.Sandbox, ask: Any, error: Any, name: str) -> None:
    with pytest.raises(error) as raised:
        ask(shared)
    assert raised.value.filename == name and raised.value.step


def test_files_relative_path_is_refused(shared: tare.Sandbox) -> None:
    with pytest.raises(tare.Error, match="not absolute") as raised:
        shared.read_file("etc/passwd")
    assert raised.value.kind == "invalid"


def test_files_trees_go_in_and_out(box: tare.Sandbox, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub/script").write_text("#!/bin/sh\necho ran\n")
    (tree / "sub/script").chmod(0o4755)
    (tree / "link").symlink_to("sub/script")
    os.mkfifo(tree / "pipe")
    copied = box.put(tree, "/w")
    assert copied.entries == 4 and len(copied.left_out) == 1 and "pipe" in copied.left_out[0]
    assert box.run(["/w/link"]).stdout == b"ran\n"
    assert stat.S_IMODE(box.stat("/w/sub/script").st_mode) == 0o755
    box.chmod("/w/sub/script", 0o4755)
    box.get("/w", tmp_path / "out")
    assert os.readlink(tmp_path / "out/link") == "sub/script"
    found = os.stat(tmp_path / "out/sub/script")
    assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o755, os.getuid())
    with pytest.raises(OSError, match="not empty"):
        box.get("/w", tmp_path / "out")


def test_files_archives_go_in_and_out(box: tare.Sandbox, tmp_path: Path) -> None:
    box.mkdir("/w")
    box.write_file("/w/big", os.urandom(3_000_000))
    box.chmod("/w/big", 0o4711)
    box.symlink("big", "/w/link")
    archive = io.BytesIO()
    assert box.get_tar("/w", archive).entries == 3
    with tarfile.open(fileobj=io.BytesIO(archive.getvalue())) as tar:
        assert sorted(tar.getnames()) == [".", "big", "link"]
        assert tar.getmember("big").mode == 0o4711
    for number, given in enumerate((archive.getvalue(), gzip.compress(archive.getvalue(), 1))):
        (tmp_path / "a.tar").write_bytes(given)
        box.mkdir(f"/bytes{number}")
        box.mkdir(f"/file{number}")
        box.put_tar(f"/bytes{number}", given)
        with open(tmp_path / "a.tar", "rb") as file:
            assert box.put_tar(f"/file{number}", file).entries == 3
        for top in (f"/bytes{number}", f"/file{number}"):
            assert box.read_file(f"{top}/link") == box.read_file("/w/big")
            assert stat.S_IMODE(box.stat(f"{top}/big").st_mode) == 0o4711
    with pytest.raises(tare.Error) as raised:
        box.put_tar("/w", b"no archive" * 100)
    assert raised.value.kind == "corrupt"


def test_files_archive_that_raises_is_told(box: tare.Sandbox) -> None:
    class Broken:
        def read(self, size: int) -> bytes:
            raise KeyboardInterrupt

        def write(self, data: bytes) -> int:
            raise ZeroDivisionError

    box.mkdir("/w")
    with pytest.raises(KeyboardInterrupt):
        box.put_tar("/w", Broken())
    with pytest.raises(ZeroDivisionError):
        box.get_tar("/bin", Broken())
    with pytest.raises(TypeError):
        box.put_tar("/w", io.StringIO("text"))  # type: ignore[arg-type]
    assert box.list_dir("/w") == []


def test_files_may_be_used_from_many_threads(box: tare.Sandbox) -> None:
    def work(number: int) -> None:
        for turn in range(30):
            box.write_file(f"/{number}", b"x" * turn)
            assert box.read_file(f"/{number}") == b"x" * turn

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))


def one_id(box: tare.Sandbox) -> bool:
    """Returns whether only user 0 can own files."""
    try:
        box.read_file("/etc/passwd", user=12)
    except OSError as error:
        assert error.errno == errno.EINVAL and "subuid" in getattr(error, "cure", "")
        return True
    return False


def test_user_has_the_rights_of_a_user(box: tare.Sandbox, tmp_path: Path) -> None:
    box.write_file("/etc/passwd", "root:x:0:0::/:/bin/sh\nalice:x:1000:100::/:/bin/sh\n")
    box.write_file("/etc/group", "root:x:0:\nusers:x:100:\nstaff:x:50:alice\n")
    if one_id(box):
        return
    box.mkdir("/d", 0o711)
    box.write_file("/d/roots", "secret", mode=0o600)
    box.write_file("/d/shared", "some", mode=0o640, owner=(0, "staff"))
    denied: list[Callable[[], object]] = [
        lambda: box.read_file("/d/roots", user="alice"),
        lambda: box.write_file("/d/roots", "x", user=1000),
        lambda: box.write_file("/d/shared", "x", user="alice"),
        lambda: box.open_file("/d/roots", user="alice"),
        lambda: box.list_dir("/d", user="alice"),
        lambda: box.mkdir("/d/new", user="alice"),
        lambda: box.remove("/d/shared", user="alice"),
        lambda: box.rename("/d/shared", "/d/x", user="alice"),
        lambda: box.symlink("x", "/d/link", user="alice"),
        lambda: box.link("/d/shared", "/d/second", user="alice"),
        lambda: box.chmod("/d/shared", 0o666, user="alice"),
        lambda: box.chown("/d/shared", "alice", user="alice"),
        lambda: box.utime("/d/shared", ns=1, user="alice"),
        lambda: box.get("/d/roots", tmp_path / "stolen", user="alice"),
        lambda: box.get_tar("/d/roots", io.BytesIO(), user="alice"),
        lambda: box.put("/etc/hostname", "/d/put", user="alice"),
    ]
    for call in denied:
        with pytest.raises(PermissionError):
            call()
    assert box.read_file("/d/shared", user="alice") == b"some"
    assert (
        box.exists("/d/roots", user="alice") and box.stat("/d/roots", user="alice").st_mode & 0o777 == 0o600
    )
    box.write_file("/tmp/mine", "x", user="alice")
    box.mkdir("/tmp/below/deep", parents=True, user="alice:staff")
    assert [(box.stat(p).st_uid, box.stat(p).st_gid) for p in ("/tmp/mine", "/tmp/below/deep")] == [
        (1000, 100),
        (1000, 50),
    ]
    with pytest.raises(tare.Error, match=r"nosuch.* is not in /etc/passwd"):
        box.read_file("/tmp/mine", user="nosuch")


def test_owner_may_be_a_name(box: tare.Sandbox) -> None:
    box.write_file("/etc/passwd", "root:x:0:0::/:/bin/sh\nalice:x:1000:100::/:/bin/sh\n")
    box.write_file("/etc/group", "root:x:0:\nstaff:x:50:alice\n")
    box.write_file("/tmp/new", "x", owner="root")
    box.chown("/tmp/new", "root", "root")
    with pytest.raises(tare.Error, match="nosuch"):
        box.chown("/tmp/new", "nosuch")
    if one_id(box):
        return

    def owner(path: str) -> tuple[int, int]:
        status = box.stat(path)
        return status.st_uid, status.st_gid

    named: list[tuple[Any, tuple[int, int]]] = [
        ("alice", (1000, 100)),
        ("alice:staff", (1000, 50)),
        (("alice", "staff"), (1000, 50)),
        ((1000, "staff"), (1000, 50)),
        ((5, 6), (5, 6)),
        (1000, (1000, 100)),
    ]
    for n, (name, ids) in enumerate(named):
        box.write_file(f"/tmp/{n}", "x", owner=name)
        with box.open_file(f"/tmp/opened{n}", "w", owner=name):
            pass
        box.chown("/tmp/new", *(name if isinstance(name, tuple) else (name,)))
        assert owner(f"/tmp/{n}") == owner(f"/tmp/opened{n}") == owner("/tmp/new") == ids
