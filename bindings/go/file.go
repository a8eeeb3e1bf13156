// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare

import (
	"errors"
	"os"
	"path"
	"strings"
	"syscall"
	"time"
)

// OpenFile opens a regular file of the sandbox, as os.OpenFile does; links lead inside. The mode is
// exact, and a file that is made belongs to the sandbox's root.
func (sb *Sandbox) OpenFile(name string, flag int, perm os.FileMode) (*os.File, error) {
	if err := valid(name); err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	fd, err := sb.handle().openFile(name, flag&^syscall.O_CLOEXEC, unixMode(perm))
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: sb.told(err)}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// ReadFile reads a whole file of the sandbox. One of more than 64 MiB is EFBIG: OpenFile reads it in pieces.
func (sb *Sandbox) ReadFile(name string) (data []byte, err error) {
	err = sb.onPath("read", name, func() (err error) {
		data, err = sb.handle().readFile(name)
		return err
	})
	return data, err
}

// WriteFile makes or empties a file of the sandbox and writes the data to it. The mode of a file that is
// made is exact.
func (sb *Sandbox) WriteFile(name string, data []byte, perm os.FileMode) error {
	return sb.onPath("write", name, func() error { return sb.handle().writeFile(name, data, unixMode(perm)) })
}

// Stat is what is known of a file of the sandbox, of any type; a link is followed. Owner and group are the sandbox's
// own, in Sys, a *[syscall.Stat_t].
func (sb *Sandbox) Stat(name string) (os.FileInfo, error) { return sb.info("stat", name, true) }

// Lstat is as Stat, of a link itself.
func (sb *Sandbox) Lstat(name string) (os.FileInfo, error) { return sb.info("lstat", name, false) }

func (sb *Sandbox) info(op, name string, follow bool) (os.FileInfo, error) {
	var s syscall.Stat_t
	err := sb.onPath(op, name, func() (err error) {
		s, err = sb.handle().stat(name, follow)
		return err
	})
	if err != nil {
		return nil, err
	}
	return info{path.Base(name), s}, nil
}

// ReadDir lists a directory of the sandbox, sorted by name.
func (sb *Sandbox) ReadDir(name string) ([]os.DirEntry, error) {
	var all []entry
	err := sb.onPath("open", name, func() (err error) {
		all, err = sb.handle().list(name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return entries(all), nil
}

// Readlink returns where a symbolic link of the sandbox points.
func (sb *Sandbox) Readlink(name string) (target string, err error) {
	err = sb.onPath("readlink", name, func() (err error) {
		target, err = sb.handle().readlink(name)
		return err
	})
	return target, err
}

// Mkdir makes a directory of the sandbox. The mode is exact.
func (sb *Sandbox) Mkdir(name string, perm os.FileMode) error {
	return sb.onPath("mkdir", name, func() error { return sb.handle().mkdir(name, unixMode(perm), false) })
}

// MkdirAll makes a directory of the sandbox with its parents.
func (sb *Sandbox) MkdirAll(name string, perm os.FileMode) error {
	return sb.onPath("mkdir", name, func() error { return sb.handle().mkdir(name, unixMode(perm), true) })
}

// Remove removes a file or an empty directory of the sandbox.
func (sb *Sandbox) Remove(name string) error {
	return sb.onPath("remove", name, func() error {
		err := sb.handle().remove(name, removeFile)
		if errors.Is(err, syscall.EISDIR) {
			err = sb.handle().remove(name, removeDirectory)
		}
		return err
	})
}

// RemoveAll removes a directory of the sandbox with all that is in it.
func (sb *Sandbox) RemoveAll(name string) error {
	return sb.onPath("remove", name, func() error { return sb.handle().remove(name, removeTree) })
}

// Rename renames a file or directory of the sandbox; what is at newpath is replaced.
func (sb *Sandbox) Rename(oldpath, newpath string) error {
	return sb.onPaths("rename", oldpath, newpath, func() error { return sb.handle().rename(oldpath, newpath) })
}

// Link gives a file of the sandbox a second name; a symbolic link is not followed.
func (sb *Sandbox) Link(oldname, newname string) error {
	return sb.onPaths("link", oldname, newname, func() error { return sb.handle().link(oldname, newname) })
}

// Symlink makes newname a symbolic link of the sandbox to oldname, which is any text.
func (sb *Sandbox) Symlink(oldname, newname string) error {
	return sb.onPaths("symlink", oldname, newname, func() error { return sb.handle().symlink(oldname, newname) })
}

// Chmod changes the mode of a file of the sandbox, with the bits of [os.ModeSetuid], [os.ModeSetgid] and
// [os.ModeSticky]; a link is followed.
func (sb *Sandbox) Chmod(name string, mode os.FileMode) error {
	return sb.onPath("chmod", name, func() error { return sb.handle().chmod(name, unixMode(mode)) })
}

// Chown changes owner and group, by the sandbox's own numbers, both of them; a link is followed. As with chown(2), setuid
// and setgid bits are taken away.
func (sb *Sandbox) Chown(name string, uid, gid int) error {
	return sb.onPath("chown", name, func() error {
		if uint64(uid) > 1<<32-1 || uint64(gid) > 1<<32-1 {
			return syscall.EINVAL
		}
		return sb.handle().chown(name, uint32(uid), uint32(gid))
	})
}

// SetModTime changes the time of the last change of the content; a link is followed.
func (sb *Sandbox) SetModTime(name string, mtime time.Time) error {
	return sb.onPath("chtimes", name, func() error {
		return sb.handle().setModTime(name, mtime.Unix(), uint32(mtime.Nanosecond()))
	})
}

func (sb *Sandbox) onPaths(op, oldname, newname string, do func() error) error {
	err := valid(oldname + newname)
	if err == nil {
		err = do()
	}
	if err != nil {
		return &os.LinkError{Op: op, Old: oldname, New: newname, Err: sb.told(err)}
	}
	return nil
}

func (sb *Sandbox) onPath(op, name string, do func() error) error {
	err := valid(name)
	if err == nil {
		err = do()
	}
	if err != nil {
		return &os.PathError{Op: op, Path: name, Err: sb.told(err)}
	}
	return nil
}

// valid refuses what C would cut.
func valid(text string) error {
	if strings.IndexByte(text, 0) >= 0 {
		return syscall.EINVAL
	}
	return nil
}
