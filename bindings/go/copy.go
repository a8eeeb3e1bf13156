// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare

import (
	"context"
	"errors"
	"io"
	"os"
	"syscall"
)

// CopyReport is what was copied.
type CopyReport struct {
	// Entries is how many files, directories and links were copied.
	Entries int `json:"entries"`
	// LeftOut tells what was not copied, and why.
	LeftOut []string `json:"left_out"`
}

// Put copies a file or directory of the caller's own into the sandbox: contents, permissions without setuid and setgid,
// times and symbolic links. The owner is the sandbox's root; devices, pipes and sockets are left out. The parent of path
// is there; what is at path and is no directory is replaced. After an error a part is copied.
func (sb *Sandbox) Put(local, path string) (report *CopyReport, err error) {
	err = sb.onPaths("put", local, path, func() (err error) {
		report, err = sb.handle().put(local, path)
		return err
	})
	return report, err
}

// Get copies a file or directory out of the sandbox; a link at path is followed. The sandbox is not trusted with what it
// leaves here: everything is the caller's, without setuid and setgid bits, file capabilities, devices, pipes and
// sockets. Symbolic links are copied as they are, so follow none of them. A file replaces what is at local; a directory
// needs a new or empty one. After an error a part of a directory is copied.
func (sb *Sandbox) Get(path, local string) (report *CopyReport, err error) {
	err = sb.onPaths("get", path, local, func() (err error) {
		report, err = sb.handle().get(path, local)
		return err
	})
	return report, err
}

// PutTar makes what a tar archive holds below a directory of the sandbox, with owners, modes, times, links and `user.*`
// attributes. It may be compressed by gzip or zstd. Nothing is made outside of dir. After an error a part is made.
//
// An *os.File is read as it is, else a goroutine copies; PutTar returns once archive does.
func (sb *Sandbox) PutTar(dir string, archive io.Reader) (report *CopyReport, err error) {
	err = sb.onPath("put tar", dir, func() error {
		return reading(nil, archive, func(fd int) (err error) {
			report, err = sb.handle().putTar(dir, fd)
			return err
		})
	})
	return report, err
}

// GetTar writes a tar archive of what is at path of the sandbox: of a directory with all below it, under names relative
// to it; of a regular file under its own name. After an error the archive is cut.
//
// An *os.File is written to as it is, else a goroutine copies; GetTar returns once archive does.
func (sb *Sandbox) GetTar(path string, archive io.Writer) (report *CopyReport, err error) {
	err = sb.onPath("get tar", path, func() error {
		return writing(archive, func(fd int) (err error) {
			report, err = sb.handle().getTar(path, fd)
			return err
		})
	})
	return report, err
}

// reading makes a call that reads from a descriptor. An error of the reader goes first. What the reader says is not waited
// for once a context is done, which may be nil.
func reading(ctx context.Context, from io.Reader, call func(fd int) error) error {
	if from == nil {
		return syscall.EINVAL
	}
	if file, ok := from.(*os.File); ok {
		return call(int(file.Fd()))
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(w, from)
		w.Close()
		copied <- err
	}()
	err = call(int(r.Fd()))
	r.Close()
	var over <-chan struct{}
	if ctx != nil {
		over = ctx.Done()
	}
	select {
	case failed := <-copied:
		// The call need not read what is behind the end of an archive.
		if failed != nil && !errors.Is(failed, syscall.EPIPE) {
			return failed
		}
	case <-over:
	}
	return err
}

// writing makes a call that writes to a descriptor. An error of the writer goes first.
func writing(to io.Writer, call func(fd int) error) error {
	if to == nil {
		return syscall.EINVAL
	}
	if file, ok := to.(*os.File); ok {
		return call(int(file.Fd()))
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(to, r)
		// The call gets EPIPE: Go's runtime takes SIGPIPE.
		r.Close()
		copied <- err
	}()
	err = call(int(w.Fd()))
	w.Close()
	if failed := <-copied; failed != nil {
		return failed
	}
	return err
}
