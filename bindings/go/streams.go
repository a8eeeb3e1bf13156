// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
)

// same compares writers, some of them incomparable.
func same(a, b io.Writer) (equal bool) {
	defer func() { _ = recover() }()
	return a == b
}

// pipe makes a pipe whose ends the command may open by name, as /dev/stdout, as
// any user. The only name of the inode is in /proc/PID/fd, which opens for
// tracers of that process only.
func (c *Cmd) pipe() (r, w *os.File, err error) {
	r, w, err = os.Pipe()
	if err != nil || c.User == "0" || c.User == "0:0" {
		return r, w, err
	}
	if err := r.Chmod(0o666); err != nil {
		r.Close()
		w.Close()
		return nil, nil, err
	}
	return r, w, nil
}

func (c *Cmd) input() (stream, error) {
	if c.Stdin == nil {
		return stream{mode: streamNull}, nil
	}
	if file, ok := c.Stdin.(*os.File); ok {
		return stream{mode: streamFile, fd: int32(file.Fd())}, nil
	}
	r, w, err := c.pipe()
	if err != nil {
		return stream{}, err
	}
	c.theirs, c.ours = append(c.theirs, r), append(c.ours, w)
	from := c.Stdin
	c.copies = append(c.copies, func() error {
		_, err := io.Copy(w, from)
		// A command that does not read to the end is no failure of the copy.
		if errors.Is(err, syscall.EPIPE) || errors.Is(err, os.ErrClosed) {
			err = nil
		}
		if closed := w.Close(); err == nil && !errors.Is(closed, os.ErrClosed) {
			err = closed
		}
		return err
	})
	return stream{mode: streamFile, fd: int32(r.Fd())}, nil
}

func (c *Cmd) output(to io.Writer) (stream, error) {
	switch to := to.(type) {
	case nil:
		return stream{mode: streamNull}, nil
	case *os.File:
		return stream{mode: streamFile, fd: int32(to.Fd())}, nil
	case *bytes.Buffer, *strings.Builder, *tail:
		c.keeps = true
		return stream{mode: streamPipe}, nil
	}
	r, w, err := c.pipe()
	if err != nil {
		return stream{}, err
	}
	c.theirs, c.ours = append(c.theirs, w), append(c.ours, r)
	c.copies = append(c.copies, func() error {
		_, err := io.Copy(to, r)
		r.Close()
		return err
	})
	return stream{mode: streamFile, fd: int32(w.Fd())}, nil
}

// StdinPipe is a pipe to the command's input; close it for end of file.
func (c *Cmd) StdinPipe() (io.WriteCloser, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	if c.Stdin != nil || c.started {
		return nil, errors.New("tare: Stdin already set, or command started")
	}
	r, w, err := c.pipe()
	if err != nil {
		return nil, err
	}
	c.Stdin = r
	c.theirs, c.ours = append(c.theirs, r), append(c.ours, w)
	return w, nil
}

// StdoutPipe is a pipe from the command's output; Wait closes it, so read to
// its end before.
func (c *Cmd) StdoutPipe() (io.ReadCloser, error) {
	return c.outputPipe(func() *io.Writer { return &c.Stdout })
}

// StderrPipe is a pipe from the command's standard error.
func (c *Cmd) StderrPipe() (io.ReadCloser, error) {
	return c.outputPipe(func() *io.Writer { return &c.Stderr })
}

func (c *Cmd) outputPipe(of func() *io.Writer) (io.ReadCloser, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	to := of()
	if *to != nil || c.started {
		return nil, errors.New("tare: output already set, or command started")
	}
	r, w, err := c.pipe()
	if err != nil {
		return nil, err
	}
	*to = w
	c.theirs, c.ours = append(c.theirs, w), append(c.ours, r)
	return r, nil
}

// tail keeps the last bytes written.
type tail struct{ kept []byte }

const tailMax = 32 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if cut := len(t.kept) - tailMax; cut > 0 {
		t.kept = append(t.kept[:0], t.kept[cut:]...)
	}
	return len(p), nil
}
