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

// entries are what a directory holds, sorted.
func entries(all []entry) []fs.DirEntry {
	sort.Slice(all, func(i, j int) bool { return all[i].name < all[j].name })
	sorted := make([]fs.DirEntry, 0, len(all))
	for _, e := range all {
		sorted = append(sorted, fs.FileInfoToDirEntry(info{e.name, e.stat}))
	}
	return sorted
}

// FS is the sandbox's files, read-only, without a command and also in images without a shell. Links
// are followed inside the sandbox only.
func (sb *Sandbox) FS() fs.FS { return files{sb} }

type files struct{ sb *Sandbox }

var (
	_ fs.ReadDirFS  = files{}
	_ fs.StatFS     = files{}
	_ fs.ReadFileFS = files{}
)

// inside is a name as an absolute path.
func inside(op, name string) (string, error) {
	if !fs.ValidPath(name) || valid(name) != nil {
		return "", &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	return path.Join("/", name), nil
}

func (f files) Open(name string) (fs.File, error) {
	at, err := inside("open", name)
	if err != nil {
		return nil, err
	}
	failed := func(err error) (fs.File, error) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: f.sb.told(err)}
	}
	s, err := f.sb.handle().stat(at, true)
	if err != nil {
		return failed(err)
	}
	if fileMode(s.Mode).IsDir() {
		return &directory{files: f, name: name, info: info{path.Base(name), s}}, nil
	}
	fd, err := f.sb.handle().openFile(at, syscall.O_RDONLY, 0)
	if err != nil {
		return failed(err)
	}
	return &file{os.NewFile(uintptr(fd), name), info{path.Base(name), s}}, nil
}

func (f files) Stat(name string) (fs.FileInfo, error)  { return f.info("stat", name, true) }
func (f files) Lstat(name string) (fs.FileInfo, error) { return f.info("lstat", name, false) }

func (f files) info(op, name string, follow bool) (fs.FileInfo, error) {
	at, err := inside(op, name)
	if err != nil {
		return nil, err
	}
	s, err := f.sb.handle().stat(at, follow)
	if err != nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: f.sb.told(err)}
	}
	return info{path.Base(name), s}, nil
}

func (f files) ReadLink(name string) (string, error) {
	at, err := inside("readlink", name)
	if err != nil {
		return "", err
	}
	target, err := f.sb.handle().readlink(at)
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: f.sb.told(err)}
	}
	return target, nil
}

func (f files) ReadFile(name string) ([]byte, error) {
	at, err := inside("read", name)
	if err != nil {
		return nil, err
	}
	data, err := f.sb.handle().readFile(at)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: f.sb.told(err)}
	}
	return data, nil
}

func (f files) ReadDir(name string) ([]fs.DirEntry, error) {
	at, err := inside("open", name)
	if err != nil {
		return nil, err
	}
	all, err := f.sb.handle().list(at)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: f.sb.told(err)}
	}
	return entries(all), nil
}

// file is a regular file: reading and seeking are the descriptor's.
type file struct {
	*os.File
	info info
}

// Stat gives what the sandbox knows of it, under its last name.
func (f *file) Stat() (fs.FileInfo, error) { return f.info, nil }

type directory struct {
	files   files
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
		entries, err := d.files.ReadDir(d.name)
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
