// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare

import (
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"
	"time"
)

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

// fromTree makes a call of a name, as an absolute path, that returns a value.
func fromTree[T any](t tree, op, name string, do func(h sandboxHandle, at string) (T, error)) (value T, err error) {
	at, err := inside(op, name)
	if err != nil {
		return value, err
	}
	err = t.of.with(func(h sandboxHandle) (err error) {
		value, err = do(h, at)
		return err
	})
	if err != nil {
		err = &fs.PathError{Op: op, Path: name, Err: err}
	}
	return value, err
}

func (t tree) Open(name string) (fs.File, error) {
	return fromTree(t, "open", name, func(h sandboxHandle, at string) (fs.File, error) {
		found, err := h.stat(at, name, true)
		if err != nil {
			return nil, err
		}
		if found.IsDir() {
			return &directory{tree: t, name: name, info: found}, nil
		}
		opened, err := h.openFile(at, name, syscall.O_RDONLY, 0)
		if err != nil {
			return nil, err
		}
		return &file{opened, found}, nil
	})
}

func (t tree) Stat(name string) (fs.FileInfo, error)  { return t.info("stat", name, true) }
func (t tree) Lstat(name string) (fs.FileInfo, error) { return t.info("lstat", name, false) }

func (t tree) info(op, name string, follow bool) (fs.FileInfo, error) {
	return fromTree(t, op, name, func(h sandboxHandle, at string) (fs.FileInfo, error) {
		return h.stat(at, name, follow)
	})
}

func (t tree) ReadLink(name string) (string, error) {
	return fromTree(t, "readlink", name, sandboxHandle.readlink)
}

func (t tree) ReadFile(name string) ([]byte, error) {
	return fromTree(t, "read", name, sandboxHandle.readFile)
}

func (t tree) ReadDir(name string) ([]fs.DirEntry, error) {
	return fromTree(t, "open", name, sandboxHandle.list)
}

// file is a regular file: reading and seeking are the descriptor's.
type file struct {
	*os.File
	info fs.FileInfo
}

// Stat returns the file's metadata, under its last name.
func (f *file) Stat() (fs.FileInfo, error) { return f.info, nil }

type directory struct {
	tree    tree
	name    string
	info    fs.FileInfo
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
