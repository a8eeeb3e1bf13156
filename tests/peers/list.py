#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Lists archives with tarfile or libarchive, for the comparison of tar readers
in src/image/tar/tests/.

Standard input holds archives, each behind its length as 8 big-endian bytes. For
each, standard output gets a line per entry:

    TYPE NAME LINK SIZE MODE UID GID MTIME MAJOR:MINOR CONTENT

and a last line: "." or "!" and an error. NAME and LINK are "x" and hexadecimal
digits; LINK is empty but for links, SIZE is 0 but for files, MAJOR:MINOR is 0:0
but for devices; MODE is octal and without the type, MTIME in seconds, CONTENT
the beginning of the SHA-256 of at most 64 KiB.
"""

import ctypes
import hashlib
import io
import locale
import math
import struct
import sys
import tarfile

CONTENT_MAX = 64 << 10


def line(kind, name, link, size, mode, owner, mtime, device, content):
    text = [b"x" + part.hex().encode() for part in (name, link)]
    digest = hashlib.sha256(content).hexdigest()[:16]
    rest = "%d %o %d %d %d %d:%d %s" % (size, mode & 0o7777, *owner, mtime, *device, digest)
    return "%s %s %s %s" % (kind, text[0].decode(), text[1].decode(), rest)


class Tarfile:
    KINDS = {
        tarfile.LNKTYPE: "link",
        tarfile.SYMTYPE: "symlink",
        tarfile.CHRTYPE: "char",
        tarfile.BLKTYPE: "block",
        tarfile.DIRTYPE: "dir",
        tarfile.FIFOTYPE: "fifo",
    }

    def entries(self, archive):
        file = io.BytesIO(archive)
        with tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape") as tar:
            for info in tar:
                yield self.entry(tar, info)
            # A header that it does not understand is the archive's end to it,
            # without an error.
            if any(archive[tar.offset : tar.offset + tarfile.BLOCKSIZE]):
                raise ValueError("stopped at byte %d" % tar.offset)

    def entry(self, tar, info):
        kind = self.KINDS.get(info.type, "file" if info.isfile() else "type-%s" % info.type.hex())
        content = tar.extractfile(info).read(CONTENT_MAX) if kind == "file" else b""
        return line(
            kind,
            info.name.encode("utf-8", "surrogateescape"),
            info.linkname.encode("utf-8", "surrogateescape") if "link" in kind else b"",
            info.size if kind == "file" else 0,
            info.mode,
            (info.uid, info.gid),
            math.floor(info.mtime),
            (info.devmajor, info.devminor) if kind in ("char", "block") else (0, 0),
            content,
        )


class Libarchive:
    KINDS = {
        0o100000: "file",
        0o120000: "symlink",
        0o020000: "char",
        0o060000: "block",
        0o040000: "dir",
        0o010000: "fifo",
    }
    EOF, OK = 1, 0

    def __init__(self):
        # Names that are not ASCII come out only in a locale that has them.
        locale.setlocale(locale.LC_ALL, "C.UTF-8")
        library = ctypes.CDLL("libarchive.so.13")
        pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int64
        for name, result, arguments in (
            ("read_new", pointer, ()),
            ("read_free", ctypes.c_int, (pointer,)),
            ("read_support_format_tar", ctypes.c_int, (pointer,)),
            ("read_open_memory", ctypes.c_int, (pointer, text, ctypes.c_size_t)),
            ("read_next_header", ctypes.c_int, (pointer, ctypes.POINTER(pointer))),
            ("read_data", ctypes.c_ssize_t, (pointer, pointer, ctypes.c_size_t)),
            ("error_string", text, (pointer,)),
            ("entry_pathname", text, (pointer,)),
            ("entry_hardlink", text, (pointer,)),
            ("entry_symlink", text, (pointer,)),
            ("entry_filetype", ctypes.c_uint, (pointer,)),
            ("entry_perm", ctypes.c_uint, (pointer,)),
            ("entry_size", number, (pointer,)),
            ("entry_uid", number, (pointer,)),
            ("entry_gid", number, (pointer,)),
            ("entry_mtime", number, (pointer,)),
            ("entry_rdevmajor", number, (pointer,)),
            ("entry_rdevminor", number, (pointer,)),
        ):
            function = getattr(library, "archive_" + name)
            function.restype, function.argtypes = result, arguments
            setattr(self, name, function)

    def entries(self, archive):
        reader = self.read_new()
        try:
            self.check(reader, self.read_support_format_tar(reader))
            self.check(reader, self.read_open_memory(reader, archive, len(archive)))
            entry = ctypes.c_void_p()
            while True:
                status = self.read_next_header(reader, ctypes.byref(entry))
                if status == self.EOF:
                    return
                self.check(reader, status)
                yield self.entry(reader, entry)
        finally:
            self.read_free(reader)

    def check(self, reader, status):
        # Warnings are errors: bsdtar says them and exits with 1.
        if status != self.OK:
            raise ValueError((self.error_string(reader) or b"?").decode("utf-8", "replace"))

    def entry(self, reader, entry):
        hard, soft = self.entry_hardlink(entry), self.entry_symlink(entry)
        kind = self.KINDS.get(self.entry_filetype(entry), "?")
        kind = "link" if hard is not None else kind
        if kind == "?":
            raise ValueError("an entry of no type")
        content = b""
        if kind == "file":
            buffer = ctypes.create_string_buffer(CONTENT_MAX)
            count = self.read_data(reader, buffer, CONTENT_MAX)
            if count < 0:
                self.check(reader, count)
            # A hole at the end is not read; the writer of the file makes the
            # hole by the size.
            content = buffer.raw[:count].ljust(min(self.entry_size(entry), CONTENT_MAX), b"\0")
        return line(
            kind,
            self.entry_pathname(entry) or b"",
            {"link": hard, "symlink": soft}.get(kind) or b"",
            self.entry_size(entry) if kind == "file" else 0,
            self.entry_perm(entry),
            (self.entry_uid(entry), self.entry_gid(entry)),
            self.entry_mtime(entry),
            (self.entry_rdevmajor(entry), self.entry_rdevminor(entry)) if kind in ("char", "block") else (0, 0),
            content,
        )


def main():
    reader = {"tarfile": Tarfile, "libarchive": Libarchive}[sys.argv[1]]()
    while head := sys.stdin.buffer.read(8):
        archive = sys.stdin.buffer.read(struct.unpack(">Q", head)[0])
        try:
            for entry in reader.entries(archive):
                print(entry)
            print(".")
        except Exception as error:  # after any error, this archive is not accepted
            print("!", ascii(str(error)))


main()
