// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare

import (
	"io"
	"io/fs"
	"os"
	"time"
)

// OpenFile opens a regular file of the sandbox, as os.OpenFile does; links lead
// inside. The mode is exact, and a file that is made belongs to the sandbox's
// root.
func (sb *Sandbox) OpenFile(name string, flag int, perm os.FileMode) (*os.File, error) {
	return sb.files().OpenFile(name, flag, perm)
}

// ReadFile reads a whole file of the sandbox. A file of more than 64 MiB is
// EFBIG: use OpenFile.
func (sb *Sandbox) ReadFile(name string) ([]byte, error) { return sb.files().ReadFile(name) }

// WriteFile makes or empties a file of the sandbox and writes the data. The
// mode of a new file is exact.
func (sb *Sandbox) WriteFile(name string, data []byte, perm os.FileMode) error {
	return sb.files().WriteFile(name, data, perm)
}

// Stat returns the metadata of a file of the sandbox, of any type; a link is
// followed. Owner and group are the sandbox's own, in Sys, a *[syscall.Stat_t].
func (sb *Sandbox) Stat(name string) (os.FileInfo, error) { return sb.files().Stat(name) }

// Lstat is as Stat, of a link itself.
func (sb *Sandbox) Lstat(name string) (os.FileInfo, error) { return sb.files().Lstat(name) }

// ReadDir lists a directory of the sandbox, sorted by name.
func (sb *Sandbox) ReadDir(name string) ([]os.DirEntry, error) { return sb.files().ReadDir(name) }

// Readlink returns where a symbolic link of the sandbox points.
func (sb *Sandbox) Readlink(name string) (string, error) { return sb.files().Readlink(name) }

// Mkdir makes a directory of the sandbox. The mode is exact.
func (sb *Sandbox) Mkdir(name string, perm os.FileMode) error { return sb.files().Mkdir(name, perm) }

// MkdirAll makes a directory of the sandbox with its parents.
func (sb *Sandbox) MkdirAll(name string, perm os.FileMode) error {
	return sb.files().MkdirAll(name, perm)
}

// Remove removes a file or an empty directory of the sandbox.
func (sb *Sandbox) Remove(name string) error { return sb.files().Remove(name) }

// RemoveAll removes a directory of the sandbox with all entries below.
func (sb *Sandbox) RemoveAll(name string) error { return sb.files().RemoveAll(name) }

// Rename renames a file or directory of the sandbox; newpath is replaced.
func (sb *Sandbox) Rename(oldpath, newpath string) error { return sb.files().Rename(oldpath, newpath) }

// Link gives a file of the sandbox a second name; a symbolic link is not
// followed.
func (sb *Sandbox) Link(oldname, newname string) error { return sb.files().Link(oldname, newname) }

// Symlink makes newname a symbolic link of the sandbox to oldname, which is any
// text.
func (sb *Sandbox) Symlink(oldname, newname string) error {
	return sb.files().Symlink(oldname, newname)
}

// Chmod changes the mode of a file of the sandbox, with the bits of
// [os.ModeSetuid], [os.ModeSetgid] and [os.ModeSticky]; a link is followed.
func (sb *Sandbox) Chmod(name string, mode os.FileMode) error { return sb.files().Chmod(name, mode) }

// Chown changes owner and group, by the sandbox's own numbers, both of them; a
// link is followed. As with chown(2), setuid and setgid bits are taken away.
func (sb *Sandbox) Chown(name string, uid, gid int) error { return sb.files().Chown(name, uid, gid) }

// SetModTime changes the time of the last change of the content; a link is
// followed.
func (sb *Sandbox) SetModTime(name string, mtime time.Time) error {
	return sb.files().SetModTime(name, mtime)
}

// Put copies a file or directory of the caller's into the sandbox: contents,
// permissions without setuid and setgid, times and symbolic links. The owner is
// the sandbox's root; devices, pipes and sockets are left out. The parent of
// path must exist; a file at path is replaced, a directory is not. After an
// error a part is copied.
func (sb *Sandbox) Put(local, path string) (*CopyReport, error) { return sb.files().Put(local, path) }

// Get copies a file or directory out of the sandbox; a link at path is
// followed. The sandbox is not trusted: all copies are the caller's, without
// setuid and setgid bits, file capabilities, devices, pipes and sockets.
// Symbolic links are copied unchanged, so follow none of them. A file replaces
// local; a directory needs a new or empty target. After an error a part of a
// directory is copied.
func (sb *Sandbox) Get(path, local string) (*CopyReport, error) { return sb.files().Get(path, local) }

// PutTar extracts a tar archive below a directory of the sandbox, with owners,
// modes, times, links and `user.*` attributes. The archive may be compressed by
// gzip or zstd. No file is made outside of dir. After an error a part is made.
//
// An *os.File is read directly, else a goroutine copies; PutTar returns once
// archive does.
func (sb *Sandbox) PutTar(dir string, archive io.Reader) (*CopyReport, error) {
	return sb.files().PutTar(dir, archive)
}

// GetTar writes a tar archive of path of the sandbox: of a directory with all
// entries below, under relative names; of a regular file under its own name.
// After an error the archive is cut.
//
// An *os.File is written directly, else a goroutine copies; GetTar returns once
// archive does.
func (sb *Sandbox) GetTar(path string, archive io.Writer) (*CopyReport, error) {
	return sb.files().GetTar(path, archive)
}

// FS is the sandbox's files, read-only, without a command and also in images
// without a shell. Links are followed inside the sandbox only.
func (sb *Sandbox) FS() fs.FS { return sb.files().FS() }
