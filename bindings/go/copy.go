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

// Put is as [Sandbox.Put].
func (f *Files) Put(local, path string) (report *CopyReport, err error) {
	err = f.onPaths("put", local, path, func(h sandboxHandle) (err error) {
		report, err = h.put(local, path)
		return err
	})
	return report, err
}

// Get is as [Sandbox.Get].
func (f *Files) Get(path, local string) (report *CopyReport, err error) {
	err = f.onPaths("get", path, local, func(h sandboxHandle) (err error) {
		report, err = h.get(path, local)
		return err
	})
	return report, err
}

// PutTar is as [Sandbox.PutTar].
func (f *Files) PutTar(dir string, archive io.Reader) (*CopyReport, error) {
	return fromPath(f, "put tar", dir, func(h sandboxHandle) (report *CopyReport, err error) {
		err = reading(nil, archive, func(fd int) (err error) {
			report, err = h.putTar(dir, fd)
			return err
		})
		return report, err
	})
}

// GetTar is as [Sandbox.GetTar].
func (f *Files) GetTar(path string, archive io.Writer) (report *CopyReport, err error) {
	err = f.onPath("get tar", path, func(h sandboxHandle) error {
		return writing(archive, func(fd int) (err error) {
			report, err = h.getTar(path, fd)
			return err
		})
	})
	return report, err
}

// reading makes a call that reads from a descriptor. An error of the reader
// goes first. What the reader says is not waited for once a context is done,
// which may be nil.
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

// writing makes a call that writes to a descriptor. An error of the writer goes
// first.
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
