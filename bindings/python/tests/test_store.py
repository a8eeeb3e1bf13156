# SPDX-License-Identifier: MIT OR Apache-2.0
"""The store and its images."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import time
from pathlib import Path

import pytest
import tare


@pytest.fixture
def empty(tmp_path: Path) -> tare.Store:
    return tare.Store(tmp_path / "store")


def test_store_imports_lists_names_and_removes(empty: tare.Store, images: Path) -> None:
    assert empty.images() == []
    image = empty.import_image(f"oci:{images}/busybox:user", "bb", "other:1")
    assert image.digest and image.digest.startswith("sha256:") and image.size > 500_000
    assert image.config["user"] == "app" and "HOME=/home/app" in image.config["env"]
    assert image.config["labels"] == {"org.example.a": "b"}
    assert image.os in ("linux", "") and len(image.layers) == len(image.root) == 1
    assert image.layers[0]["diff_id"].startswith("sha256:") and image.notes == []
    assert "busybox" in repr(image)
    named = empty.image("bb")
    assert (named.reference, named.digest) == ("bb:latest", image.digest) or named.digest
    with tare.Sandbox(named) as box:
        if box.effective()["ids"] == "single":
            with pytest.raises(OSError, match=r"try: .*subuid"):
                box.run(["id", "-un"])
        else:
            assert box.run(["id", "-un"]).stdout == b"app\n"
    empty.tag("bb", "third")
    assert sorted(i["name"] or "" for i in empty.images()) == ["bb:latest", "other:1", "third:latest"]
    del image, named, box
    for name in ("bb", "other:1"):
        assert empty.remove(name).blobs == 0
    last = empty.remove("third")
    assert last.blobs == 3 and last.layers == 1 and last.bytes > 500_000
    assert empty.gc() == (0, 0, 0, 0)
    with pytest.raises(tare.Error) as caught:
        empty.image("third")
    assert caught.value.kind == "not_found"


def test_store_loads_every_image_under_its_own_names(empty: tare.Store, images: Path) -> None:
    loaded = empty.load(f"oci:{images}/busybox")
    assert len(loaded) > 1 and len({image.digest for image in loaded}) == len(loaded)
    assert all("is a tag and no name" in " ".join(image.notes) for image in loaded)
    assert all(entry["name"] is None for entry in empty.images())
    archive = images / "busybox.docker.tar"
    with subprocess.Popen(["cat", archive], stdout=subprocess.PIPE) as cat:
        assert cat.stdout
        (image,) = empty.load(f"archive:/dev/fd/{cat.stdout.fileno()}")
    assert empty.image("busybox").digest == image.digest and image.notes == []
    assert empty.image("docker.io/busybox").digest == image.digest
    with pytest.raises(tare.Error, match="not a tar archive"):
        empty.load("archive:/etc/passwd")


def test_store_takes_one_of_an_archive_or_an_index(empty: tare.Store, images: Path) -> None:
    archive = f"archive:{images}/busybox.docker.tar"
    empty.import_image(archive, source_names=True, select="docker.io/library/busybox:latest")
    assert [i["name"] for i in empty.images()] == ["docker.io/library/busybox:latest"]
    with pytest.raises(tare.Error):
        empty.import_image(archive, select="nonsense")
    with pytest.raises(tare.Error):
        empty.import_image("host", "name")
    foreign = empty.import_image(f"oci:{images}/multi", platform="linux/s390x")
    assert foreign.architecture == "s390x"
    with pytest.raises(tare.Error):
        empty.import_image(f"oci:{images}/multi", platform="linux/nonsense")


def test_store_finds_what_is_damaged_and_repairs_it(empty: tare.Store, images: Path) -> None:
    layer = empty.import_image(f"oci:{images}/busybox:latest", "bb").layers[0]["digest"]
    sound = empty.check()
    assert sound["images"] == 1 and sound["blobs"] == 3 and sound["problems"] == []
    blob = Path(empty.path, "blobs/sha256", layer.split(":")[1])
    data = bytearray(blob.read_bytes())
    data[1000] ^= 1
    blob.write_bytes(data)
    report = empty.check(repair=True)
    assert report["problems"][0]["subject"].endswith(blob.name) and report["removed"] == 1
    assert not blob.exists() and empty.recover() == (0, 0, 0)


def test_store_unpacks_into_new_directories(empty: tare.Store, images: Path, tmp_path: Path) -> None:
    assert empty.unpack(f"oci:{images}/busybox:latest", tmp_path / "out") == []
    assert (tmp_path / "out/bin/busybox").stat().st_mode & 0o111
    with pytest.raises(tare.Error, match="not empty"):
        empty.unpack(f"oci:{images}/busybox:latest", tmp_path / "out")


def test_store_tells_progress_which_may_stop_it(empty: tare.Store, images: Path) -> None:
    told: list[tuple[int, int, str, int, int]] = []
    empty.import_image(f"oci:{images}/busybox:latest", progress=lambda *words: told.append(words))
    assert told and told[-1][:2] == (0, 1) and told[-1][2].startswith("sha256:")
    assert told[-1][3] == told[-1][4]

    def stop(*words: object) -> None:
        raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        empty.import_image(f"oci:{images}/debian:latest", "debian", progress=stop)
    assert len(empty.images()) == 1
    assert os.listdir(os.path.join(empty.path, "scratch")) == []


def test_store_default_follows_the_environment(
    store: tare.Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TARE_STORE", str(tmp_path / "other"))
    assert tare.Store().path == str(tmp_path / "other")
    with pytest.raises(tare.Error, match="not in the store"):
        tare.Sandbox("busybox")


def unmounted(store: tare.Store, path: Path) -> None:
    """Repeats while the mount is busy: a process that copies all mounts of the
    machine keeps each busy for a moment."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            return store.umount(path)
    store.umount(path)


@pytest.mark.root
def test_tree_is_there_as_long_as_the_block(store: tare.Store, tmp_path: Path) -> None:
    tree = tare.Tree("busybox", tmp_path, store=store)
    assert tree.path == str(tmp_path)
    (tmp_path / "etc/new").write_text("written")
    with open(tmp_path / "etc/new"), pytest.raises(OSError) as busy:
        tree.unmount()
    assert busy.value.errno == errno.EBUSY
    # The block's own end meets, now and then, a program that copies all mounts
    # of the machine.
    with contextlib.suppress(OSError), tree:
        pass
    if any(tmp_path.iterdir()):
        unmounted(store, tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        tare.Tree("busybox", tmp_path / "missing", store=store)


@pytest.mark.root
def test_mount_shows_an_image_on_a_directory(store: tare.Store, tmp_path: Path) -> None:
    store.mount("busybox", tmp_path, size="1m")
    try:
        (tmp_path / "etc/new").write_text("written")
        assert (tmp_path / "bin/busybox").exists()
    finally:
        unmounted(store, tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(tare.Error, match='try: "size"'):
        store.mount("busybox", tmp_path, sice="1m")
