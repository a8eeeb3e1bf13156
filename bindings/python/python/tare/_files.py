# SPDX-License-Identifier: MIT OR Apache-2.0
"""Files of an open sandbox, without a command inside."""

from __future__ import annotations

import builtins
import os
import stat
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Protocol, Union, overload

from ._call import StrOrBytesPath, Text

if TYPE_CHECKING:
    from typing_extensions import Literal

    from . import _tare


User = Union[str, int]
"""A user of the sandbox, `USER[:GROUP]`, by name or number."""
Owner = Union[str, int, "tuple[int | str, int | str]"]
"""An owner and a group: `USER[:GROUP]`, a number, or one of each."""


class Reads(Protocol):
    """A binary file to read from."""

    def read(self, size: int, /) -> bytes: ...


class Writes(Protocol):
    """A binary file to write to."""

    def write(self, data: bytes, /) -> int: ...


class DirEntry(NamedTuple):
    """An entry of a directory inside, with the methods of `os.DirEntry`; a link
    is not followed."""

    name: str
    """The name in the directory."""
    status: os.stat_result
    """The metadata of the entry."""

    def stat(self) -> os.stat_result:
        """Returns the entry's metadata."""
        return self.status

    def is_file(self) -> bool:
        """Returns whether the entry is a regular file."""
        return stat.S_ISREG(self.status.st_mode)

    def is_dir(self) -> bool:
        """Returns whether the entry is a directory."""
        return stat.S_ISDIR(self.status.st_mode)

    def is_symlink(self) -> bool:
        """Returns whether the entry is a symbolic link."""
        return stat.S_ISLNK(self.status.st_mode)

    def inode(self) -> int:
        """Returns the inode's number."""
        return self.status.st_ino


class Copied(NamedTuple):
    """The numbers of a copy, and the names left out."""

    entries: int
    """Files, directories and links that were copied."""
    left_out: list[str]
    """The names left out, and why; the first 64, then the number of more."""


def _status(found: _tare._Stat) -> os.stat_result:
    *numbers, nanoseconds, rdev, blocks = found
    seconds = [ns // 1_000_000_000 for ns in nanoseconds]
    named: dict[str, Any] = {"st_rdev": rdev, "st_blocks": blocks, "st_blksize": 4096}
    for name, ns in zip(("st_atime", "st_mtime", "st_ctime"), nanoseconds):
        named[name] = ns / 1e9
        named[f"{name}_ns"] = ns
    return os.stat_result((*numbers, *seconds), named)


def _bytes(data: object) -> bytes:
    """Returns the bytes of a buffer. `bytes` itself would take a number for a
    length."""
    try:
        return bytes(memoryview(data))  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"data: bytes or str, not {type(data).__name__}") from None


class Files:
    """The files of an open sandbox: read, written, copied from outside, also in
    images without a shell.

    Paths are absolute; `os.PathLike` and bytes are accepted. Links stay inside,
    ids are the sandbox's. Only regular files on file systems that store files
    are opened; a command inside can read `/proc` and the like. Failing system
    calls inside raise `OSError`. A sandbox may change its files at any time, so
    two calls may see different files.

    `user`, in all of these, is the user of the sandbox whose rights count,
    `USER[:GROUP]` by name or number. A forbidden access is a PermissionError,
    and new files belong to the user. Without `user` every file can be read and
    written, and a new file belongs to 0:0. `owner` may be a name, too; the
    default group is the user's own.
    """

    _files: _tare.Files

    def _as(self, user: User | None) -> _tare.Files:
        """The files with the rights of a user."""
        return self._files if user is None else self._files.as_user(str(user))

    @overload
    def _ids(self, owner: Owner) -> tuple[int, int]: ...
    @overload
    def _ids(self, owner: Owner | None) -> tuple[int, int] | None: ...

    def _ids(self, owner: Owner | None) -> tuple[int, int] | None:
        """An owner's numbers; a name is looked up in the sandbox."""
        if owner is None:
            return None
        if isinstance(owner, tuple):
            uid, gid = owner
            if isinstance(uid, int) and isinstance(gid, int):
                return uid, gid
            return self._files.user_ids(f"{uid}:{gid}")
        return self._files.user_ids(str(owner))

    @overload
    def read_file(
        self,
        path: StrOrBytesPath,
        *,
        text: Literal[False] | None = ...,
        encoding: None = ...,
        errors: None = ...,
        limit: int | None = ...,
        user: User | None = ...,
    ) -> bytes: ...
    @overload
    def read_file(
        self,
        path: StrOrBytesPath,
        *,
        text: bool | None = ...,
        encoding: str | None = ...,
        errors: str | None = ...,
        limit: int | None = ...,
        user: User | None = ...,
    ) -> str: ...

    def read_file(
        self,
        path: StrOrBytesPath,
        *,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        limit: int | None = None,
        user: User | None = None,
    ) -> Any:
        """Reads a whole regular file, as bytes unless `text`, `encoding` or
        `errors` is given.

        A file of more than `limit` bytes (default: 64 MiB) is an OSError,
        EFBIG.
        """
        how = Text.of(text, encoding, errors)
        return how.read(self._as(user).read(os.fsencode(path), limit))

    def write_file(
        self,
        path: StrOrBytesPath,
        data: bytes | bytearray | memoryview | str,
        *,
        encoding: str = "utf-8",
        mode: int = 0o644,
        owner: Owner | None = None,
        append: bool = False,
        exclusive: bool = False,
        follow_symlinks: bool = True,
        user: User | None = None,
    ) -> None:
        """Makes or empties a regular file and writes `data`.

        A new file has exactly these permission bits and this owner and group,
        0:0 by default. Set setuid and setgid with `chmod` afterwards, because
        an ordinary user's writing clears them. `append` keeps the contents;
        with `exclusive` an existing file is an error; without `follow_symlinks`
        a link is ELOOP.
        """
        flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if append else os.O_TRUNC)
        if exclusive:
            flags = flags & ~os.O_TRUNC | os.O_EXCL
        content = data.encode(encoding) if isinstance(data, str) else _bytes(data)
        self._as(user).write(os.fsencode(path), content, (flags, mode, self._ids(owner), follow_symlinks))

    def open_file(
        self,
        path: StrOrBytesPath,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        *,
        permissions: int = 0o644,
        owner: Owner | None = None,
        follow_symlinks: bool = True,
        user: User | None = None,
    ) -> IO[Any]:
        """Opens a regular file as the built-in `open` does; text is UTF-8
        unless `encoding` says otherwise.

        The result is an ordinary file of this process, which stays valid when
        the sandbox is gone.
        """

        files, ids = self._as(user), self._ids(owner)

        def opener(name: str, flags: int) -> int:
            return files.open(os.fsencode(name), (flags, permissions, ids, follow_symlinks))

        if "b" not in mode:
            encoding = encoding or "utf-8"
        name = os.fsdecode(path)
        return builtins.open(name, mode, buffering, encoding, errors, newline, opener=opener)

    def list_dir(self, path: StrOrBytesPath, *, user: User | None = None) -> list[DirEntry]:
        """The entries of a directory without `.` and `..`, by name."""
        found = self._as(user).list(os.fsencode(path))
        return sorted(DirEntry(os.fsdecode(name), _status(status)) for name, status in found)

    def stat(
        self, path: StrOrBytesPath, *, follow_symlinks: bool = True, user: User | None = None
    ) -> os.stat_result:
        """Returns the metadata of a file of any kind, on any file system."""
        return _status(self._as(user).stat(os.fsencode(path), follow_symlinks))

    def exists(self, path: StrOrBytesPath, *, user: User | None = None) -> bool:
        """Returns whether a file exists; false for a dangling symbolic link."""
        try:
            self.stat(path, user=user)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def readlink(self, path: StrOrBytesPath, *, user: User | None = None) -> str:
        """Returns the target of a symbolic link."""
        return os.fsdecode(self._as(user).readlink(os.fsencode(path)))

    def mkdir(
        self,
        path: StrOrBytesPath,
        mode: int = 0o755,
        *,
        parents: bool = False,
        user: User | None = None,
    ) -> None:
        """Makes a directory with exactly these permission bits; setuid and
        setgid take `chmod`, as everywhere.

        With `parents` also makes missing parents, and leaves an existing
        directory unchanged.
        """
        self._as(user).mkdir(os.fsencode(path), mode, parents)

    def remove(
        self,
        path: StrOrBytesPath,
        *,
        recursive: bool = False,
        missing_ok: bool = False,
        user: User | None = None,
    ) -> None:
        """Removes a file, a link or an empty directory; with `recursive` a
        directory with all entries below.

        Links are removed, not followed. A mount below a directory is an error
        (EBUSY).
        """
        name = os.fsencode(path)
        try:
            try:
                self._as(user).unlink(name)
            except IsADirectoryError:
                self._as(user).rmdir(name, recursive)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def rename(self, path: StrOrBytesPath, to: StrOrBytesPath, *, user: User | None = None) -> None:
        """Renames a file or directory; `to` is replaced."""
        self._as(user).rename(os.fsencode(path), os.fsencode(to))

    def link(self, original: StrOrBytesPath, path: StrOrBytesPath, *, user: User | None = None) -> None:
        """Gives a file a second name; a link is not followed."""
        self._as(user).link(os.fsencode(original), os.fsencode(path))

    def symlink(self, target: StrOrBytesPath, path: StrOrBytesPath, *, user: User | None = None) -> None:
        """Makes a symbolic link to any text."""
        self._as(user).symlink(os.fsencode(target), os.fsencode(path))

    def chmod(self, path: StrOrBytesPath, mode: int, *, user: User | None = None) -> None:
        """Changes the permission bits, setuid, setgid and sticky among them; a
        link is followed."""
        self._as(user).chmod(os.fsencode(path), mode)

    def chown(
        self,
        path: StrOrBytesPath,
        uid: int | str,
        gid: int | str | None = None,
        *,
        user: User | None = None,
    ) -> None:
        """Changes owner and group, as the sandbox sees them, by name or number;
        a link is followed.

        Without `gid` the group is that of `uid`: the user's own, or that of
        `USER:GROUP`.
        """
        owner, group = self._ids(uid if gid is None else (uid, gid))
        self._as(user).chown(os.fsencode(path), owner, group)

    def utime(self, path: StrOrBytesPath, *, ns: int, user: User | None = None) -> None:
        """Sets the time of the last change of the contents, nanoseconds since
        1970; a link is followed."""
        self._as(user).utime(os.fsencode(path), ns)

    def put(self, local: str | os.PathLike[str], path: StrOrBytesPath, *, user: User | None = None) -> Copied:
        """Copies a file or directory of the caller's to `path` inside, with an
        existing parent.

        Contents, permissions without setuid and setgid, times and symbolic
        links are copied; the owner is 0:0; devices, pipes and sockets are left
        out. A directory that is there is added to.
        """
        return Copied(*self._as(user).put(local, os.fsencode(path)))

    def get(self, path: StrOrBytesPath, local: str | os.PathLike[str], *, user: User | None = None) -> Copied:
        """Copies a file or directory from inside to `local`; a link at `path`
        is followed.

        The sandbox is not trusted: all copies are the caller's, without setuid
        and setgid bits, devices, pipes and sockets. Symbolic links are copied
        unchanged, so follow none of them. A file replaces `local`; a directory
        needs a new or empty target. `get_tar` keeps more.
        """
        return Copied(*self._as(user).get(os.fsencode(path), local))

    def put_tar(self, dir: StrOrBytesPath, archive: bytes | Reads, *, user: User | None = None) -> Copied:
        """Extracts a tar archive below the directory `dir`, with owners, times,
        links and attributes.

        The archive is bytes or a binary file; gzip or zstd may compress it. No
        file is made outside of `dir`. A broken archive, or an archive that two
        programs would read differently, is an `Error`; a part is made then.
        """
        return Copied(*self._as(user).put_tar(os.fsencode(dir), archive))

    def get_tar(self, path: StrOrBytesPath, archive: Writes, *, user: User | None = None) -> Copied:
        """Writes a tar archive of `path` to a binary file: a directory with all
        entries below, under relative names; a regular file under its own name.
        The archive has everything that `put_tar` makes.
        """
        return Copied(*self._as(user).get_tar(os.fsencode(path), archive))
