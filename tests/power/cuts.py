#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Cuts the power of a disk with a store on it, and compares what is there with
what was acknowledged.

Each write and flush of a file system is recorded while `tare` imports, tags,
loads, removes, collects and unpacks. A cut is a prefix of that record: what was
flushed is there, of the rest all, nothing, a random part, or one write torn in
the middle. The file system is mounted, the store opened and checked: what was
acknowledged before the cut is there and whole, what was under way is there or
absent.

Runs in a mount namespace of its own (test.sh makes it) with its files in a
tmpfs there: it leaves no mount, no loop device and no file, even if it is
killed.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path

SECTOR = 512
# Disks write a physical sector whole, and ext4 and btrfs rely on it: nothing
# else protects their superblocks.
PHYSICAL = 4096
FLUSH, FUA, DISCARD = 1, 2, 4

# Sizes are the smallest that the mkfs of Debian 12 take.
FILE_SYSTEMS = {
    "ext4": (64, ["mkfs.ext4", "-q", "-F"]),
    "xfs": (300, ["mkfs.xfs", "-q", "-f"]),
    "btrfs": (128, ["mkfs.btrfs", "-q", "-f"]),
}


def run(*words: str | Path) -> str:
    """Returns a program's output; an error with all output if the program
    fails."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, words))}: exit {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


# --- Images ---


def layer(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            entry.mode = 0o644
            tar.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def archive(path: Path, name: str, layers: list[bytes]) -> None:
    """An archive as docker-save(1) writes it."""
    diff_ids = ["sha256:" + hashlib.sha256(each).hexdigest() for each in layers]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": [f"NAME={name}"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
    members = {"config.json": json.dumps(config).encode()}
    for number, each in enumerate(layers):
        members[f"{number}/layer.tar"] = each
    manifest = {
        "Config": "config.json",
        "RepoTags": [f"{name}:latest"],
        "Layers": [f"{number}/layer.tar" for number in range(len(layers))],
    }
    members["manifest.json"] = json.dumps([manifest]).encode()
    path.write_bytes(layer(members))


def archives(into: Path, chance: random.Random) -> None:
    """Three images: b shares a layer with a."""
    shared = layer({f"shared/{n}": chance.randbytes(chance.randrange(1, 30_000)) for n in range(40)})
    for name in "abc":
        own = layer({f"{name}/{n}": chance.randbytes(chance.randrange(1, 90_000)) for n in range(20)})
        layers = [own] if name == "c" else [shared, own]
        archive(into / name, name, layers)


def digest_of_tree(top: Path, leave_out: str | None = None) -> str:
    """Returns names, modes and bytes of all entries below, except the given
    names in the directory itself."""
    told = hashlib.sha256()
    for path in sorted(top.rglob("*")):
        if leave_out and path.relative_to(top).parts[0].startswith(leave_out):
            continue
        told.update(f"{path.relative_to(top)} {path.lstat().st_mode:o}\n".encode())
        if path.is_file() and not path.is_symlink():
            told.update(path.read_bytes())
    return told.hexdigest()


def digests_of_layers(store: Path) -> dict[str, str]:
    """Each layer by the name of its directory, and apart each tree of
    directories that was made from several layers when an image was opened: it
    comes later than the layer, and again if it is lost."""
    found = {}
    for layer in (store / "layers").iterdir():
        for made in layer.glob("implied.*"):
            found[f"{layer.name}/{made.name}"] = digest_of_tree(made)
        found[layer.name] = digest_of_tree(layer, leave_out="implied.")
    return found


# --- The record ---


@dataclass(frozen=True)
class Write:
    at: int
    data: bytes
    flags: int


@dataclass(frozen=True)
class Acknowledged:
    """A returned command: its words, the number of entries in the record, and
    the promises since."""

    what: str
    entries: int
    names: frozenset[str]
    unpacked: bool


@dataclass(frozen=True)
class Truth:
    """The trees as they were made: the unpacked ones, and those of
    digests_of_layers()."""

    unpacked: str
    layers: dict[str, str]


class Recorder:
    """A file that is the disk, behind which qemu-storage-daemon logs the
    writes."""

    def __init__(self, place: Path, disk: Path) -> None:
        self.log = place / "log"
        self.file = place / "recorded"
        self.file.touch()
        self.log.touch()
        log = f"driver=blklogwrites,node-name=l,file=f,log=o,log-sector-size={SECTOR},log-super-update-interval=1"
        self.daemon = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL", "qemu-storage-daemon"),
                *("--blockdev", f"driver=file,node-name=f,filename={disk},discard=unmap"),
                *("--blockdev", f"driver=file,node-name=o,filename={self.log}"),
                *("--blockdev", log),
                *("--export", f"type=fuse,id=e,node-name=l,writable=on,mountpoint={self.file}"),
            ]
        )
        size = disk.stat().st_size
        until = time.monotonic() + 30
        while self.file.stat().st_size != size:
            if self.daemon.poll() is not None or time.monotonic() > until:
                raise RuntimeError("qemu-storage-daemon exports nothing")
            time.sleep(0.01)

    def entries(self) -> int:
        with self.log.open("rb") as log:
            return int(struct.unpack("<QQQ", log.read(24))[2])

    def close(self) -> None:
        self.daemon.terminate()
        self.daemon.wait()

    def read(self) -> list[Write]:
        """Everything that was written, in order."""
        writes: list[Write] = []
        count = self.entries()
        with self.log.open("rb") as log:
            log.seek(SECTOR)
            while len(writes) < count:
                sector, sectors, flags, _ = struct.unpack("<QQQQ", log.read(SECTOR)[:32])
                size = sectors * SECTOR
                data = bytes(size) if flags & DISCARD else log.read(size)
                writes.append(Write(sector * SECTOR, data, flags))
        return writes


def record(kind: str, tare: str, place: Path, images: Path) -> tuple[list[Write], list[Acknowledged], Truth]:
    """Works on a store on `place / "base"`; returns the writes, the promises,
    the trees."""
    size, mkfs = FILE_SYSTEMS[kind]
    base, disk, at = place / "base", place / "disk", place / "mounted"
    layers: dict[str, str] = {}
    with base.open("wb") as file:
        file.truncate(size << 20)
    run(*mkfs, base)
    run("cp", "--sparse=always", base, disk)
    at.mkdir(exist_ok=True)
    recorder = Recorder(place, disk)
    done = [Acknowledged("nothing", 0, frozenset(), False)]
    try:
        run("mount", "-t", kind, "-o", "loop,noatime", recorder.file, at)
        store = at / "store"

        def command(names: str, *words: str | Path, unpacked: bool = False) -> None:
            run(tare, *words[:2], "--store", store, *words[2:])
            named = frozenset(f"{name}:latest" for name in names.split())
            done.append(Acknowledged(" ".join(map(str, words[:2])), recorder.entries(), named, unpacked))
            layers.update(digests_of_layers(store))

        command("a", "image", "import", f"archive:{images / 'a'}", "a")
        command("a t", "image", "tag", "a", "t")
        command("a t b", "image", "load", images / "b")
        command("t b", "image", "rm", "a")
        command("t b c", "image", "import", f"archive:{images / 'c'}", "c")
        command("t c", "image", "rm", "b")
        command("t c", "store", "gc")
        command("t c", "image", "unpack", "t", at / "unpacked", unpacked=True)
        truth = Truth(digest_of_tree(at / "unpacked"), layers)
        run("umount", at)
    finally:
        recorder.close()
    return recorder.read(), done, truth


# --- Cuts ---


@dataclass(frozen=True)
class Cut:
    entries: int
    # Of what was not flushed: all, none, half, torn.
    rest: str

    def __str__(self) -> str:
        return f"after entry {self.entries}, of what was not flushed {self.rest}"


def choose(writes: list[Write], done: list[Acknowledged], count: int, chance: random.Random) -> list[Cut]:
    """The moments of acknowledgement first, with nothing that was not flushed;
    then moments at random."""
    cuts = [Cut(each.entries, "none") for each in done[1:]]
    flushes = [n for n, write in enumerate(writes) if write.flags & FLUSH]
    while len(cuts) < count:
        # Half of them at a flush, where the most is open.
        at = chance.choice(flushes) if chance.random() < 0.5 else chance.randrange(len(writes))
        cuts.append(Cut(at, chance.choice(["none", "all", "half", "half", "torn"])))
    return cuts[:count]


def survivors(writes: list[Write], cut: Cut, chance: random.Random) -> tuple[int, list[Write]]:
    """Returns the number of first writes that are on the disk for sure, and the
    other writes, in their order."""
    before = writes[: cut.entries]
    flushed = max((n for n, write in enumerate(before) if write.flags & FLUSH), default=0)
    rest = before[flushed:]
    if cut.rest == "torn" and rest:
        at = chance.randrange(len(rest))
        torn = rest[at]
        end = torn.at + len(torn.data)
        middles = [torn.at, *range(torn.at // PHYSICAL * PHYSICAL + PHYSICAL, end, PHYSICAL)]
        return flushed, [
            *rest[:at],
            Write(torn.at, torn.data[: chance.choice(middles) - torn.at], torn.flags),
        ]
    survives = {"all": 1.0, "torn": 1.0, "none": 0.0, "half": 0.5}[cut.rest]
    return flushed, [write for write in rest if write.flags & FUA or chance.random() < survives]


def write_all(to: Path, writes: list[Write]) -> None:
    with to.open("r+b", buffering=0) as file:
        for write in writes:
            os.pwrite(file.fileno(), write.data, write.at)


class Disk:
    """The base with a growing prefix of the record on it, from which the disk
    of each cut is copied."""

    def __init__(self, base: Path, place: Path, writes: list[Write]) -> None:
        self.prefix, self.cut, self.writes = place / "prefix", place / "cut", writes
        run("cp", "--sparse=always", base, self.prefix)
        self.written = 0

    def after(self, flushed: int, rest: list[Write]) -> Path:
        """The disk with the first writes of the record and others. Cuts come in
        their order."""
        write_all(self.prefix, self.writes[self.written : flushed])
        self.written = flushed
        run("cp", "--sparse=always", self.prefix, self.cut)
        write_all(self.cut, rest)
        return self.cut


def problems(
    kind: str, tare: str, disk: Path, at: Path, cut: Cut, done: list[Acknowledged], truth: Truth
) -> list[str]:
    """Returns the faults after the cut."""
    last = max(n for n, each in enumerate(done) if each.entries <= cut.entries)
    old, new = done[last], done[min(last + 1, len(done) - 1)]
    wrong = []
    mounted = subprocess.run(
        ["mount", "-t", kind, "-o", "loop,noatime", disk, at], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        kernel = subprocess.run(["dmesg"], capture_output=True, text=True).stdout.splitlines()[-12:]
        said = "\n    ".join([mounted.stderr.strip(), *kernel])
        return [f"{kind}, {cut}, {old.what} acknowledged: {said}"]
    try:
        store = at / "store"
        checked = subprocess.run([tare, "store", "check", "--store", store], capture_output=True, text=True)
        if checked.returncode != 0 or " 0 problems" not in checked.stdout:
            wrong.append(f"the check says: {checked.stdout}{checked.stderr}".strip())
        listed = subprocess.run(
            [tare, "image", "list", "--json", "--store", store], capture_output=True, text=True
        )
        if listed.returncode != 0:
            return [*wrong, f"the list says: {listed.stderr}".strip()]
        images = json.loads(listed.stdout)
        wrong += [f"{image['name']}: {image['damage']}" for image in images if image["damage"]]
        names = {image["name"] for image in images if image["name"]}
        if names not in (old.names, new.names):
            wrong.append(f"there is {sorted(names)}, not {sorted(old.names)} or {sorted(new.names)}")
        if names == new.names != old.names:
            old = new
        for name, digest in digests_of_layers(store).items():
            made_later = "/" in name and name not in truth.layers
            if not made_later and truth.layers.get(name) != digest:
                wrong.append(f"layer {name} differs")
        if any((store / "scratch").iterdir()):
            wrong.append("scratch is not empty after the store was opened")
        if old.unpacked and digest_of_tree(at / "unpacked") != truth.unpacked:
            wrong.append("what was unpacked differs")
    finally:
        run("umount", at)
    return [f"{kind}, {cut}, {old.what} acknowledged: {each}" for each in wrong]


def test(kind: str, tare: str, place: Path, images: Path, count: int, seed: int) -> tuple[int, int]:
    """Returns the numbers of passed and failed cuts."""
    began = time.monotonic()
    writes, done, truth = record(kind, tare, place, images)
    chance = random.Random(f"{seed} {kind}")
    cuts = sorted(choose(writes, done, count, chance), key=lambda cut: cut.entries)
    disk, failed = Disk(place / "base", place, writes), 0
    for cut in cuts:
        after = disk.after(*survivors(writes, cut, chance))
        wrong = problems(kind, tare, after, place / "mounted", cut, done, truth)
        failed += bool(wrong)
        for each in wrong:
            print(f"test power {each} ... FAILED")
    flushes = sum(bool(write.flags & FLUSH) for write in writes)
    word = "ok" if not failed else "FAILED"
    print(
        f"test power {kind}: {len(cuts)} cuts of {len(writes)} writes with {flushes} flushes, "
        f"{time.monotonic() - began:.0f} s ... {word}",
        flush=True,
    )
    return len(cuts) - failed, failed


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--cuts", type=int, default=50, help="how many in all")
    words.add_argument("--seed", type=int, default=1, help="of what is cut by chance")
    words.add_argument("--tare", required=True, help="the command")
    words.add_argument("--place", required=True, help="an empty directory")
    words.add_argument("kinds", nargs="*", default=list(FILE_SYSTEMS), help="file systems")
    given = words.parse_args()
    passed = failed = 0
    place = Path(given.place)
    images = place / "images"
    images.mkdir()
    archives(images, random.Random(given.seed))
    for number, kind in enumerate(given.kinds):
        mine = place / kind
        mine.mkdir()
        count = given.cuts // len(given.kinds) + (number < given.cuts % len(given.kinds))
        each = test(kind, given.tare, mine, images, count, given.seed)
        passed, failed = passed + each[0], failed + each[1]
        shutil.rmtree(mine)
    print(f"{passed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
