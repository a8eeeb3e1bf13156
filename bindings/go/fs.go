// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare

import (
	"io"
	"io/fs"
	"os"
	"path"
	"sort"
	"syscall"
	"time"
)

type entry struct {
	name string
	stat syscall.Stat_t
}

// entries are the contents of a directory, sorted.
func entries(all []entry) []fs.DirEntry {
	sort.Slice(all, func(i, j int) bool { return all[i].name < all[j].name })
	sorted := make([]fs.DirEntry, 0, len(all))
	for _, e := range all {
		sorted = append(sorted, fs.FileInfoToDirEntry(info{e.name, e.stat}))
	}
	return sorted
}

// FS is as [Sandbox.FS].
func (f *Files) FS() fs.FS { return tree{f} }

type tree struct{ of *Files }

var (
	_ fs.ReadDirFS  = tree{}
	_ fs.StatFS     = tree{}
	_ fs.ReadFileFS = tree{}
)

// inside is a name as an absolute path.
func inside(op, name string) (string, error) {
	if !fs.ValidPath(name) || valid(name) != nil {
		return "", &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	return path.Join("/", name), nil
}

// read makes a call of a name, as an absolute path.
func (t tree) read(op, name string, do func(h sandboxHandle, at string) error) error {
	at, err := inside(op, name)
	if err != nil {
		return err
	}
	if err := t.of.with(func(h sandboxHandle) error { return do(h, at) }); err != nil {
		return &fs.PathError{Op: op, Path: name, Err: err}
	}
	return nil
}

func (t tree) Open(name string) (opened fs.File, err error) {
	err = t.read("open", name, func(h sandboxHandle, at string) error {
		s, err := h.stat(at, true)
		if err != nil {
			return err
		}
		found := info{path.Base(name), s}
		if found.IsDir() {
			opened = &directory{tree: t, name: name, info: found}
			return nil
		}
		fd, err := h.openFile(at, syscall.O_RDONLY, 0)
		if err == nil {
			opened = &file{os.NewFile(uintptr(fd), name), found}
		}
		return err
	})
	return opened, err
}

func (t tree) Stat(name string) (fs.FileInfo, error)  { return t.info("stat", name, true) }
func (t tree) Lstat(name string) (fs.FileInfo, error) { return t.info("lstat", name, false) }

func (t tree) info(op, name string, follow bool) (found fs.FileInfo, err error) {
	err = t.read(op, name, func(h sandboxHandle, at string) error {
		s, err := h.stat(at, follow)
		if err == nil {
			found = info{path.Base(name), s}
		}
		return err
	})
	return found, err
}

func (t tree) ReadLink(name string) (target string, err error) {
	err = t.read("readlink", name, func(h sandboxHandle, at string) (err error) {
		target, err = h.readlink(at)
		return err
	})
	return target, err
}

func (t tree) ReadFile(name string) (data []byte, err error) {
	err = t.read("read", name, func(h sandboxHandle, at string) (err error) {
		data, err = h.readFile(at)
		return err
	})
	return data, err
}

func (t tree) ReadDir(name string) (sorted []fs.DirEntry, err error) {
	err = t.read("open", name, func(h sandboxHandle, at string) error {
		all, err := h.list(at)
		if err == nil {
			sorted = entries(all)
		}
		return err
	})
	return sorted, err
}

// file is a regular file: reading and seeking are the descriptor's.
type file struct {
	*os.File
	info info
}

// Stat returns the file's metadata, under its last name.
func (f *file) Stat() (fs.FileInfo, error) { return f.info, nil }

type directory struct {
	tree    tree
	name    string
	info    info
	entries []fs.DirEntry
	read    bool
	closed  bool
}

func (d *directory) Stat() (fs.FileInfo, error) { return d.info, nil }

func (d *directory) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.name, Err: syscall.EISDIR}
}

func (d *directory) Close() error {
	if d.closed {
		return &fs.PathError{Op: "close", Path: d.name, Err: fs.ErrClosed}
	}
	d.closed = true
	return nil
}

func (d *directory) ReadDir(n int) ([]fs.DirEntry, error) {
	if d.closed {
		return nil, &fs.PathError{Op: "readdir", Path: d.name, Err: fs.ErrClosed}
	}
	if !d.read {
		entries, err := d.tree.ReadDir(d.name)
		if err != nil {
			return nil, err
		}
		d.entries, d.read = entries, true
	}
	if n <= 0 {
		rest := d.entries
		d.entries = nil
		return rest, nil
	}
	if len(d.entries) == 0 {
		return nil, io.EOF
	}
	if n > len(d.entries) {
		n = len(d.entries)
	}
	some := d.entries[:n]
	d.entries = d.entries[n:]
	return some, nil
}

type info struct {
	name string
	stat syscall.Stat_t
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.stat.Size }
func (i info) Mode() fs.FileMode  { return fileMode(i.stat.Mode) }
func (i info) ModTime() time.Time { return time.Unix(i.stat.Mtim.Unix()) }
func (i info) IsDir() bool        { return i.Mode().IsDir() }
func (i info) Sys() any           { return &i.stat }

var bits = []struct {
	unix uint32
	mode fs.FileMode
}{
	{syscall.S_ISUID, fs.ModeSetuid}, {syscall.S_ISGID, fs.ModeSetgid}, {syscall.S_ISVTX, fs.ModeSticky},
}

var types = map[uint32]fs.FileMode{
	syscall.S_IFDIR: fs.ModeDir, syscall.S_IFLNK: fs.ModeSymlink, syscall.S_IFIFO: fs.ModeNamedPipe,
	syscall.S_IFSOCK: fs.ModeSocket, syscall.S_IFBLK: fs.ModeDevice,
	syscall.S_IFCHR: fs.ModeDevice | fs.ModeCharDevice,
}

func fileMode(unix uint32) fs.FileMode {
	mode := fs.FileMode(unix&0o777) | types[unix&syscall.S_IFMT]
	for _, bit := range bits {
		if unix&bit.unix != 0 {
			mode |= bit.mode
		}
	}
	return mode
}

func unixMode(mode fs.FileMode) uint32 {
	unix := uint32(mode.Perm())
	for _, bit := range bits {
		if mode&bit.mode != 0 {
			unix |= bit.unix
		}
	}
	return unix
}
