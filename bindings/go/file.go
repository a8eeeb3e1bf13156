// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"time"
)

// Files are the files of a sandbox with the rights of a user, named by
// [Sandbox.As].
//
// All methods may be called from any goroutine, while the sandbox is open.
type Files struct {
	sb   *Sandbox
	user string
	// True if every file can be reached. A new file then belongs to the
	// sandbox's root.
	all bool
}

// As returns the files of the sandbox with the rights of a user inside,
// "NAME|UID[:GROUP|GID]". A forbidden read or write is [os.ErrPermission], and
// new files belong to the user. Through the sandbox itself every file can be
// read and written. Each call makes a process inside that becomes the user, and
// looks the user up: a missing name is [os.ErrNotExist], an id that the sandbox
// does not have [syscall.EINVAL].
func (sb *Sandbox) As(user string) *Files { return &Files{sb: sb, user: user} }

// UserIDs looks a user of the sandbox up, "NAME|UID[:GROUP|GID]", for Chown for
// example. A name that /etc/passwd or /etc/group of the sandbox does not have
// is [os.ErrNotExist].
func (sb *Sandbox) UserIDs(user string) (uid, gid int, err error) {
	if err := valid(user); err != nil {
		return 0, 0, err
	}
	ids, err := sb.handle().userIDs(user)
	return int(ids[0]), int(ids[1]), sb.told(err)
}

// files are those of the sandbox, all of them.
func (sb *Sandbox) files() *Files { return &Files{sb: sb, all: true} }

// sandbox returns the sandbox, or nil.
func (f *Files) sandbox() *Sandbox {
	if f == nil {
		return nil
	}
	return f.sb
}

// with makes a call with a handle for these files.
func (f *Files) with(do func(sandboxHandle) error) error {
	h := f.sandbox().handle()
	if f != nil && !f.all {
		if err := valid(f.user); err != nil {
			return err
		}
		user, err := h.asUser(f.user)
		if err != nil {
			return f.sb.told(err)
		}
		defer user.free()
		h = user
	}
	return f.sandbox().told(do(h))
}

// OpenFile is as [Sandbox.OpenFile].
func (f *Files) OpenFile(name string, flag int, perm os.FileMode) (*os.File, error) {
	return fromPath(f, "open", name, func(h sandboxHandle) (*os.File, error) {
		return h.openFile(name, name, flag&^syscall.O_CLOEXEC, unixMode(perm))
	})
}

// ReadFile is as [Sandbox.ReadFile].
func (f *Files) ReadFile(name string) ([]byte, error) {
	return fromPath(f, "read", name, func(h sandboxHandle) ([]byte, error) { return h.readFile(name) })
}

// WriteFile is as [Sandbox.WriteFile].
func (f *Files) WriteFile(name string, data []byte, perm os.FileMode) error {
	return f.onPath("write", name, func(h sandboxHandle) error { return h.writeFile(name, data, unixMode(perm)) })
}

// Stat is as [Sandbox.Stat].
func (f *Files) Stat(name string) (os.FileInfo, error) { return f.info("stat", name, true) }

// Lstat is as [Sandbox.Lstat].
func (f *Files) Lstat(name string) (os.FileInfo, error) { return f.info("lstat", name, false) }

func (f *Files) info(op, name string, follow bool) (os.FileInfo, error) {
	return fromPath(f, op, name, func(h sandboxHandle) (os.FileInfo, error) { return h.stat(name, name, follow) })
}

// ReadDir is as [Sandbox.ReadDir].
func (f *Files) ReadDir(name string) ([]os.DirEntry, error) {
	return fromPath(f, "open", name, func(h sandboxHandle) ([]os.DirEntry, error) { return h.list(name) })
}

// Readlink is as [Sandbox.Readlink].
func (f *Files) Readlink(name string) (string, error) {
	return fromPath(f, "readlink", name, func(h sandboxHandle) (string, error) { return h.readlink(name) })
}

// Mkdir is as [Sandbox.Mkdir].
func (f *Files) Mkdir(name string, perm os.FileMode) error {
	return f.onPath("mkdir", name, func(h sandboxHandle) error { return h.mkdir(name, unixMode(perm), false) })
}

// MkdirAll is as [Sandbox.MkdirAll].
func (f *Files) MkdirAll(name string, perm os.FileMode) error {
	return f.onPath("mkdir", name, func(h sandboxHandle) error { return h.mkdir(name, unixMode(perm), true) })
}

// Remove is as [Sandbox.Remove].
func (f *Files) Remove(name string) error {
	return f.onPath("remove", name, func(h sandboxHandle) error {
		err := h.remove(name, removeFile)
		if errors.Is(err, syscall.EISDIR) {
			err = h.remove(name, removeDirectory)
		}
		return err
	})
}

// RemoveAll is as [Sandbox.RemoveAll].
func (f *Files) RemoveAll(name string) error {
	return f.onPath("remove", name, func(h sandboxHandle) error { return h.remove(name, removeTree) })
}

// Rename is as [Sandbox.Rename].
func (f *Files) Rename(oldpath, newpath string) error {
	return f.onPaths("rename", oldpath, newpath, func(h sandboxHandle) error { return h.rename(oldpath, newpath) })
}

// Link is as [Sandbox.Link].
func (f *Files) Link(oldname, newname string) error {
	return f.onPaths("link", oldname, newname, func(h sandboxHandle) error { return h.link(oldname, newname) })
}

// Symlink is as [Sandbox.Symlink].
func (f *Files) Symlink(oldname, newname string) error {
	return f.onPaths("symlink", oldname, newname, func(h sandboxHandle) error { return h.symlink(oldname, newname) })
}

// Chmod is as [Sandbox.Chmod].
func (f *Files) Chmod(name string, mode os.FileMode) error {
	return f.onPath("chmod", name, func(h sandboxHandle) error { return h.chmod(name, unixMode(mode)) })
}

// Chown is as [Sandbox.Chown].
func (f *Files) Chown(name string, uid, gid int) error {
	return f.onPath("chown", name, func(h sandboxHandle) error {
		if uint64(uid) > 1<<32-1 || uint64(gid) > 1<<32-1 {
			return syscall.EINVAL
		}
		return h.chown(name, uint32(uid), uint32(gid))
	})
}

// SetModTime is as [Sandbox.SetModTime].
func (f *Files) SetModTime(name string, mtime time.Time) error {
	return f.onPath("chtimes", name, func(h sandboxHandle) error {
		return h.setModTime(name, mtime.Unix(), uint32(mtime.Nanosecond()))
	})
}

func (f *Files) onPaths(op, oldname, newname string, do func(sandboxHandle) error) error {
	err := valid(oldname + newname)
	if err == nil {
		err = f.with(do)
	}
	if err != nil {
		return &os.LinkError{Op: op, Old: oldname, New: newname, Err: err}
	}
	return nil
}

func (f *Files) onPath(op, name string, do func(sandboxHandle) error) error {
	err := valid(name)
	if err == nil {
		err = f.with(do)
	}
	if err != nil {
		return &os.PathError{Op: op, Path: name, Err: err}
	}
	return nil
}

// fromPath makes a call of a path that returns a value.
func fromPath[T any](f *Files, op, name string, do func(sandboxHandle) (T, error)) (value T, err error) {
	err = f.onPath(op, name, func(h sandboxHandle) (err error) {
		value, err = do(h)
		return err
	})
	return value, err
}

// valid refuses text that C would cut.
func valid(text string) error {
	if strings.IndexByte(text, 0) >= 0 {
		return syscall.EINVAL
	}
	return nil
}
