// SPDX-License-Identifier: MIT OR Apache-2.0

package tare

// #include <tare.h>
import "C"

import (
	"io/fs"
	"os"
	"path"
	"sort"
	"syscall"
	"unsafe"
)

// asUser gives a handle for files alone, to be freed.
func (h sandboxHandle) asUser(user string) (of sandboxHandle, err error) {
	err = call(func(a *arena) *C.tare_error { return C.tare_sandbox_as_user(h.c, a.text(user), &of.c) })
	return of, err
}

func (h sandboxHandle) userIDs(user string) ([2]uint32, error) {
	var a arena
	defer a.free()
	var uid, gid C.uint32_t
	err := wrong(C.tare_sandbox_user_ids(h.c, a.text(user), &uid, &gid))
	return [2]uint32{uint32(uid), uint32(gid)}, err
}

// openFile opens the file at a path, and gives the file this name.
func (h sandboxHandle) openFile(at, name string, flags int, mode uint32) (*os.File, error) {
	var fd C.int32_t
	err := call(func(a *arena) *C.tare_error {
		return C.tare_file_open(h.c, a.text(at), C.int32_t(flags), C.uint32_t(mode), &fd)
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

func (h sandboxHandle) writeFile(path string, data []byte, mode uint32) error {
	return call(func(a *arena) *C.tare_error {
		return C.tare_file_write(h.c, a.text(path), at(data), C.size_t(len(data)), C.uint32_t(mode))
	})
}

// at points to bytes, NULL for no bytes.
func at(data []byte) unsafe.Pointer {
	if len(data) == 0 {
		return nil
	}
	return unsafe.Pointer(&data[0])
}

func (h sandboxHandle) readFile(path string) ([]byte, error) {
	return answer(func(a *arena, out **C.tare_bytes) *C.tare_error {
		return C.tare_file_read(h.c, a.text(path), 0, out)
	})
}

// statOf converts the result of stat(2) inside to Go's form.
func statOf(s C.tare_stat) syscall.Stat_t {
	return syscall.Stat_t{
		Dev: uint64(s.dev), Ino: uint64(s.ino), Nlink: uint64(s.nlink), Mode: uint32(s.mode),
		Uid: uint32(s.uid), Gid: uint32(s.gid), Rdev: uint64(s.rdev), Size: int64(s.bytes), Blocks: int64(s.blocks),
		Atim: syscall.Timespec{Sec: int64(s.atime), Nsec: int64(s.atime_ns)},
		Mtim: syscall.Timespec{Sec: int64(s.mtime), Nsec: int64(s.mtime_ns)},
		Ctim: syscall.Timespec{Sec: int64(s.ctime), Nsec: int64(s.ctime_ns)},
	}
}

// stat returns the metadata of the file at a path, under the name's last part.
func (h sandboxHandle) stat(at, name string, follow bool) (fs.FileInfo, error) {
	s := C.tare_stat{size: C.sizeof_tare_stat}
	flags := C.uint64_t(C.TARE_FILE_NO_FOLLOW)
	if follow {
		flags = 0
	}
	err := call(func(a *arena) *C.tare_error { return C.tare_file_stat(h.c, a.text(at), flags, &s) })
	if err != nil {
		return nil, err
	}
	return info{path.Base(name), statOf(s)}, nil
}

func (h sandboxHandle) readlink(path string) (string, error) {
	target, err := answer(func(a *arena, out **C.tare_bytes) *C.tare_error {
		return C.tare_file_readlink(h.c, a.text(path), out)
	})
	return string(target), err
}

// list returns the contents of a directory, sorted.
func (h sandboxHandle) list(path string) ([]fs.DirEntry, error) {
	var dir *C.tare_dir
	err := call(func(a *arena) *C.tare_error { return C.tare_dir_open(h.c, a.text(path), &dir) })
	if err != nil {
		return nil, err
	}
	defer C.tare_dir_free(dir)
	all := []fs.DirEntry{}
	for {
		s := C.tare_stat{size: C.sizeof_tare_stat}
		var name *C.char
		if err := wrong(C.tare_dir_next(dir, &s, &name)); err != nil {
			return nil, err
		}
		if name == nil {
			sort.Slice(all, func(i, j int) bool { return all[i].Name() < all[j].Name() })
			return all, nil
		}
		all = append(all, fs.FileInfoToDirEntry(info{C.GoString(name), statOf(s)}))
	}
}

func (h sandboxHandle) mkdir(path string, mode uint32, parents bool) error {
	var a arena
	defer a.free()
	flags := C.uint64_t(0)
	if parents {
		flags = C.TARE_FILE_PARENTS
	}
	return wrong(C.tare_file_mkdir(h.c, a.text(path), C.uint32_t(mode), flags))
}

// Kinds of files that a removal accepts.
const (
	removeFile      = 0
	removeDirectory = C.TARE_FILE_DIRECTORY
	removeTree      = C.TARE_FILE_TREE
)

func (h sandboxHandle) remove(path string, flags uint64) error {
	return call(func(a *arena) *C.tare_error { return C.tare_file_remove(h.c, a.text(path), C.uint64_t(flags)) })
}

func (h sandboxHandle) rename(path, to string) error {
	return call(func(a *arena) *C.tare_error { return C.tare_file_rename(h.c, a.text(path), a.text(to)) })
}

func (h sandboxHandle) link(path, to string) error {
	return call(func(a *arena) *C.tare_error { return C.tare_file_link(h.c, a.text(path), a.text(to)) })
}

func (h sandboxHandle) symlink(target, path string) error {
	return call(func(a *arena) *C.tare_error { return C.tare_file_symlink(h.c, a.text(target), a.text(path)) })
}

func (h sandboxHandle) chmod(path string, mode uint32) error {
	return call(func(a *arena) *C.tare_error { return C.tare_file_chmod(h.c, a.text(path), C.uint32_t(mode)) })
}

func (h sandboxHandle) chown(path string, uid, gid uint32) error {
	return call(func(a *arena) *C.tare_error {
		return C.tare_file_chown(h.c, a.text(path), C.uint32_t(uid), C.uint32_t(gid))
	})
}

func (h sandboxHandle) setModTime(path string, seconds int64, nanoseconds uint32) error {
	return call(func(a *arena) *C.tare_error {
		return C.tare_file_set_mtime(h.c, a.text(path), C.int64_t(seconds), C.uint32_t(nanoseconds))
	})
}

func (h sandboxHandle) put(local, path string) (*CopyReport, error) {
	return parsed[CopyReport](answer(func(a *arena, out **C.tare_bytes) *C.tare_error {
		return C.tare_file_put(h.c, a.text(local), a.text(path), out)
	}))
}

func (h sandboxHandle) get(path, local string) (*CopyReport, error) {
	return parsed[CopyReport](answer(func(a *arena, out **C.tare_bytes) *C.tare_error {
		return C.tare_file_get(h.c, a.text(path), a.text(local), out)
	}))
}

func (h sandboxHandle) putTar(dir string, archive int) (*CopyReport, error) {
	return parsed[CopyReport](answer(func(a *arena, out **C.tare_bytes) *C.tare_error {
		return C.tare_file_put_tar(h.c, a.text(dir), C.int32_t(archive), out)
	}))
}

func (h sandboxHandle) getTar(path string, archive int) (*CopyReport, error) {
	return parsed[CopyReport](answer(func(a *arena, out **C.tare_bytes) *C.tare_error {
		return C.tare_file_get_tar(h.c, a.text(path), C.int32_t(archive), out)
	}))
}
