// SPDX-License-Identifier: MIT OR Apache-2.0

package tare

// #include <tare.h>
import "C"

import (
	"encoding/json"
	"syscall"
	"unsafe"
)

// asUser gives a handle for files alone, to be freed.
func (h sandboxHandle) asUser(user string) (sandboxHandle, error) {
	var a arena
	defer a.free()
	var of sandboxHandle
	err := wrong(C.tare_sandbox_as_user(h.c, a.text(user), &of.c))
	return of, err
}

func (h sandboxHandle) userIDs(user string) ([2]uint32, error) {
	var a arena
	defer a.free()
	var uid, gid C.uint32_t
	err := wrong(C.tare_sandbox_user_ids(h.c, a.text(user), &uid, &gid))
	return [2]uint32{uint32(uid), uint32(gid)}, err
}

func (h sandboxHandle) openFile(path string, flags int, mode uint32) (int, error) {
	var a arena
	defer a.free()
	var fd C.int32_t
	err := wrong(C.tare_file_open(h.c, a.text(path), C.int32_t(flags), C.uint32_t(mode), &fd))
	return int(fd), err
}

func (h sandboxHandle) writeFile(path string, data []byte, mode uint32) error {
	var a arena
	defer a.free()
	return wrong(C.tare_file_write(h.c, a.text(path), at(data), C.size_t(len(data)), C.uint32_t(mode)))
}

// at points to bytes, NULL for no bytes.
func at(data []byte) unsafe.Pointer {
	if len(data) == 0 {
		return nil
	}
	return unsafe.Pointer(&data[0])
}

func (h sandboxHandle) readFile(path string) ([]byte, error) {
	var a arena
	defer a.free()
	var out *C.tare_bytes
	if err := wrong(C.tare_file_read(h.c, a.text(path), 0, &out)); err != nil {
		return nil, err
	}
	return taken(out), nil
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

func (h sandboxHandle) stat(path string, follow bool) (syscall.Stat_t, error) {
	var a arena
	defer a.free()
	var s C.tare_stat
	s.size = C.sizeof_tare_stat
	flags := C.uint64_t(C.TARE_FILE_NO_FOLLOW)
	if follow {
		flags = 0
	}
	err := wrong(C.tare_file_stat(h.c, a.text(path), flags, &s))
	return statOf(s), err
}

func (h sandboxHandle) readlink(path string) (string, error) {
	var a arena
	defer a.free()
	var out *C.tare_bytes
	if err := wrong(C.tare_file_readlink(h.c, a.text(path), &out)); err != nil {
		return "", err
	}
	return string(taken(out)), nil
}

func (h sandboxHandle) list(path string) ([]entry, error) {
	var a arena
	defer a.free()
	var dir *C.tare_dir
	if err := wrong(C.tare_dir_open(h.c, a.text(path), &dir)); err != nil {
		return nil, err
	}
	defer C.tare_dir_free(dir)
	var all []entry
	for {
		var s C.tare_stat
		s.size = C.sizeof_tare_stat
		var name *C.char
		if err := wrong(C.tare_dir_next(dir, &s, &name)); err != nil {
			return nil, err
		}
		if name == nil {
			return all, nil
		}
		all = append(all, entry{name: C.GoString(name), stat: statOf(s)})
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
	var a arena
	defer a.free()
	return wrong(C.tare_file_remove(h.c, a.text(path), C.uint64_t(flags)))
}

func (h sandboxHandle) rename(path, to string) error {
	var a arena
	defer a.free()
	return wrong(C.tare_file_rename(h.c, a.text(path), a.text(to)))
}

func (h sandboxHandle) link(path, to string) error {
	var a arena
	defer a.free()
	return wrong(C.tare_file_link(h.c, a.text(path), a.text(to)))
}

func (h sandboxHandle) symlink(target, path string) error {
	var a arena
	defer a.free()
	return wrong(C.tare_file_symlink(h.c, a.text(target), a.text(path)))
}

func (h sandboxHandle) chmod(path string, mode uint32) error {
	var a arena
	defer a.free()
	return wrong(C.tare_file_chmod(h.c, a.text(path), C.uint32_t(mode)))
}

func (h sandboxHandle) chown(path string, uid, gid uint32) error {
	var a arena
	defer a.free()
	return wrong(C.tare_file_chown(h.c, a.text(path), C.uint32_t(uid), C.uint32_t(gid)))
}

func (h sandboxHandle) setModTime(path string, seconds int64, nanoseconds uint32) error {
	var a arena
	defer a.free()
	return wrong(C.tare_file_set_mtime(h.c, a.text(path), C.int64_t(seconds), C.uint32_t(nanoseconds)))
}

// reportOf takes over the report of a copy, unless the copy failed.
func reportOf(said *C.tare_bytes, err error) (*CopyReport, error) {
	if err != nil {
		return nil, err
	}
	report := &CopyReport{}
	return report, json.Unmarshal(taken(said), report)
}

func (h sandboxHandle) put(local, path string) (*CopyReport, error) {
	var a arena
	defer a.free()
	var said *C.tare_bytes
	err := wrong(C.tare_file_put(h.c, a.text(local), a.text(path), &said))
	return reportOf(said, err)
}

func (h sandboxHandle) get(path, local string) (*CopyReport, error) {
	var a arena
	defer a.free()
	var said *C.tare_bytes
	err := wrong(C.tare_file_get(h.c, a.text(path), a.text(local), &said))
	return reportOf(said, err)
}

func (h sandboxHandle) putTar(dir string, archive int) (*CopyReport, error) {
	var a arena
	defer a.free()
	var said *C.tare_bytes
	err := wrong(C.tare_file_put_tar(h.c, a.text(dir), C.int32_t(archive), &said))
	return reportOf(said, err)
}

func (h sandboxHandle) getTar(path string, archive int) (*CopyReport, error) {
	var a arena
	defer a.free()
	var said *C.tare_bytes
	err := wrong(C.tare_file_get_tar(h.c, a.text(path), C.int32_t(archive), &said))
	return reportOf(said, err)
}
