// SPDX-License-Identifier: MIT OR Apache-2.0

package tare

// #include <tare.h>
import "C"

func (h sandboxHandle) openFile(path string, flags int, mode uint32) (int, error) {
	var a arena
	defer a.free()
	var fd C.int32_t
	err := wrong(C.tare_file_open(h.c, a.text(path), C.int32_t(flags), C.uint32_t(mode), &fd))
	return int(fd), err
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

func statOf(s C.tare_stat) stat {
	return stat{mode: uint32(s.mode), size: int64(s.bytes), mtime: int64(s.mtime), mtimeNs: int64(s.mtime_ns)}
}

func (h sandboxHandle) stat(path string, follow bool) (stat, error) {
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

// What may be removed.
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
