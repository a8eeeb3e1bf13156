# SPDX-License-Identifier: MIT OR Apache-2.0
"""The store and its images; unpacking and mounting without a sandbox."""

from __future__ import annotations

import json
import os
from functools import cached_property
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, Optional, Union, cast

from . import _tare

if TYPE_CHECKING:
    from ._types import ImageConfig, Layer, StoredImage, StoreReport

Progress = Callable[[int, int, str, int, int], object]
"""Told how far an import is: layer, of how many, its digest, bytes done, of how many."""


class Collected(NamedTuple):
    """The result of a removal from a store."""

    blobs: int
    """Blobs that were removed."""
    bytes: int
    """The size of removed blobs."""
    layers: int
    """Unpacked layers that were removed."""
    in_use: int
    """Unneeded unpacked layers that a process uses: they stay for a later `gc`."""


class Recovered(NamedTuple):
    """The removed leftovers of killed processes."""

    scratch: int
    """Directories of work in progress that were removed."""
    cgroups: int
    """Cgroups that were removed."""
    left: int
    """Leftovers that could not be removed."""


class Image:
    """An image ready for use. While it is held, no process removes its layers
    from the store."""

    def __init__(self, store: Store, core: _tare.Image) -> None:
        self.store = store
        """Where it is."""
        self._core = core

    @cached_property
    def _said(self) -> Any:
        return json.loads(self._core.describe())

    @property
    def reference(self) -> str:
        """The reference that opened the image."""
        return cast(str, self._said["reference"])

    @property
    def digest(self) -> str | None:
        """The digest of the manifest; None for a directory and the host."""
        return cast(Optional[str], self._said["digest"])

    @property
    def created(self) -> str | None:
        """The creation time, RFC 3339, from the image's configuration."""
        return cast(Optional[str], self._said["created"])

    @property
    def size(self) -> int:
        """Bytes of the layers, as kept; 0 for a directory and the host."""
        return cast(int, self._said["size"])

    @property
    def architecture(self) -> str:
        """In Go's words, for example `amd64`; empty if the image does not
        say."""
        return cast(str, self._said["architecture"])

    @property
    def os(self) -> str:
        """`linux`, or empty if the image does not say."""
        return cast(str, self._said["os"])

    @property
    def config(self) -> ImageConfig:
        """The image's configuration for running."""
        return cast("ImageConfig", self._said["config"])

    @property
    def notes(self) -> list[str]:
        """Dropped or changed words and files of the image, and why; a sentence
        each."""
        return cast("list[str]", self._said["notes"])

    @property
    def layers(self) -> list[Layer]:
        """The layers, bottom first; none for a directory and the host."""
        return cast("list[Layer]", self._said["layers"])

    @property
    def root(self) -> str | list[str]:
        """The directory, or that of each layer, bottom first."""
        return cast("str | list[str]", self._said["root"])

    def __repr__(self) -> str:
        return f"<tare.Image {self.reference} {self.digest or ''}>"


class Store:
    """A directory of images and unpacked layers, shared by many processes at
    once.

    Without a path: `$TARE_STORE`, else `/var/lib/tare` for root, else
    `$XDG_DATA_HOME/tare`. A missing store is made; leftovers of killed
    processes are removed.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self._core = _tare.Store(_tare.default_store_path() if path is None else path)

    @property
    def path(self) -> str:
        """The directory, absolute."""
        return os.fspath(self._core.path())

    def image(
        self,
        reference: str,
        *,
        select: str | None = None,
        platform: str | None = None,
        progress: Progress | None = None,
    ) -> Image:
        """An image by reference: a name or digest in the store; `oci:` and
        `archive:`, imported if they are not there yet; `dir:` and `host` in
        place.

        `select` names the image of an archive with several, `platform`
        (`linux/amd64`) that of an index. `progress` receives layer, number of
        layers, digest, bytes done, bytes in all; raising stops the work.
        """
        which = _which((), False, select, platform)
        return Image(self, self._core.image(reference, which, progress))

    def import_image(
        self,
        reference: str,
        *names: str,
        source_names: bool = False,
        select: str | None = None,
        platform: str | None = None,
        progress: Progress | None = None,
    ) -> Image:
        """Brings an image from `oci:PATH[:TAG]` or `archive:FILE` into the
        store, under `names`, and with `source_names` under its names in an
        archive. Both digests of every layer are verified first."""
        which = _which(names, source_names, select, platform)
        return Image(self, self._core.import_image(reference, which, progress))

    def load(
        self,
        reference: str,
        *,
        select: str | None = None,
        platform: str | None = None,
        progress: Progress | None = None,
    ) -> list[Image]:
        """Brings every image of `archive:FILE` or `oci:PATH` into the store,
        each under its names there, as `docker load` does; with `select` only
        the image of that name. FILE may be a pipe: `archive:/dev/fd/3`."""
        which = _which((), True, select, platform)
        return [Image(self, core) for core in self._core.load(reference, which, progress)]

    def images(self) -> list[StoredImage]:
        """Lists the images of the store, an entry for each name."""
        return cast("list[StoredImage]", json.loads(self._core.list()))

    def tag(self, reference: str, name: str) -> None:
        """Files an image of the store under an additional name; another image
        with this name loses it."""
        self._core.tag(reference, name)

    def remove(self, reference: str) -> Collected:
        """Takes a name out, or by a digest the whole image, with unneeded blobs
        and layers."""
        return Collected(*self._core.remove(reference))

    def gc(self) -> Collected:
        """Removes blobs and layers that no image of the store needs and no
        process uses."""
        return Collected(*self._core.gc())

    def check(self, *, repair: bool = False) -> StoreReport:
        """Compares every blob with its digest and looks for missing parts;
        `repair` removes damaged parts.

        An index that is lost, or cannot be read, is made from the manifests
        among the blobs. Names are lost then, and the old file is kept as
        `index.json.damaged`.
        """
        report, removed = self._core.check(repair)
        return cast("StoreReport", {**json.loads(report), "removed": removed})

    def recover(self) -> Recovered:
        """Removes leftovers of killed processes, as opening a store does; ends
        a prestarted sandbox."""
        return Recovered(*self._core.recover())

    def unpack(
        self,
        reference: str,
        dir: str | os.PathLike[str],
        *,
        select: str | None = None,
        platform: str | None = None,
        progress: Progress | None = None,
    ) -> list[str]:
        """Unpacks an image into a directory that is new or empty. Returns the
        dropped or changed parts, and why; a sentence each."""
        which = _which((), False, select, platform)
        return self._core.unpack(reference, dir, which, progress)

    def mount(self, image: str, dir: str | os.PathLike[str], **options: int | str | None) -> None:
        """Mounts a copy-on-write view of an image on a directory; for root. The
        mount outlives this process.

        Options: `write` (`memory`, `disk` or `none`), `storage`, `size` of the
        writable layer in memory.
        """
        given = {name: value for name, value in options.items() if value is not None}
        _tare.mount(self._core, image, dir, json.dumps(given))

    def umount(self, dir: str | os.PathLike[str], *, lazy: bool = False) -> None:
        """Undoes `mount`; with `lazy` the view is out of sight at once, and
        gone when its last user has ended."""
        _tare.umount(self._core, dir, lazy)

    def __repr__(self) -> str:
        return f"tare.Store({self.path!r})"


def _which(
    names: tuple[str, ...], source_names: bool, select: str | None, platform: str | None
) -> dict[str, object]:
    return {
        "names": list(names),
        "source_names": source_names,
        "select": select,
        "platform": platform,
    }


AnyStore = Union[Store, str, "os.PathLike[str]"]
"""A store, or its directory."""

_stores: dict[tuple[int, str], Store] = {}


def default_store() -> Store:
    """Returns the default store; one for each process, and for each value of
    TARE_STORE."""
    return store_at(os.fspath(_tare.default_store_path()))


def store_at(path: str) -> Store:
    """Returns the store in a directory; one for each process."""
    # A forked process begins with a new lock, because another thread's lock
    # stays held there for ever.
    key = (os.getpid(), path)
    found = _stores.get(key)
    # Two threads may both make a store; both are used then, and one is kept.
    return found or _stores.setdefault(key, Store(key[1]))


def opened(store: AnyStore | None) -> Store:
    """The store that a keyword `store` means."""
    if store is None:
        return default_store()
    if isinstance(store, Store):
        return store
    if isinstance(store, (str, os.PathLike)):
        return store_at(os.fspath(store))
    raise TypeError(f"store: a tare.Store, or its directory, not {type(store).__name__}")


class Tree:
    """A copy-on-write view of an image on a directory, without a sandbox; for
    root.

    ```python
    with tare.Tree("debian", "/mnt") as tree:
        print(os.listdir(tree.path))
    ```

    The view is mounted when this object is made, and outlives this process:
    `unmount`, or the end of the `with`, removes mount and writes. Keywords:
    `write` (`memory`, `disk` or `none`), `storage`, `size` of the writable
    layer in memory, each with the spec's default.
    """

    def __init__(
        self,
        image: str | Image,
        dir: str | os.PathLike[str],
        *,
        store: AnyStore | None = None,
        **options: int | str | None,
    ) -> None:
        if isinstance(image, Image):
            store = store or image.store
            image = image.reference
        self.path = os.path.abspath(os.fspath(dir))
        """The directory, absolute."""
        self.store = opened(store)
        """Where the image is."""
        self.store.mount(image, self.path, **options)
        self._mounted = True

    def unmount(self, *, lazy: bool = False) -> None:
        """Unmounts the view; may be repeated. With `lazy` the view is out of
        sight at once, and gone when its last user has ended; without, a view in
        use is an OSError, EBUSY."""
        if self._mounted:
            self.store.umount(self.path, lazy=lazy)
            self._mounted = False

    def __enter__(self) -> Tree:
        return self

    def __exit__(self, *raised: object) -> None:
        self.unmount()

    def __repr__(self) -> str:
        return f"<tare.Tree {self.path!r}>"
