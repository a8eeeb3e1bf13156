// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// Terminal is the other end of a command's terminal: writes are typed, reads
// return the screen's bytes.
//
// The end of input is a key, as at a keyboard: "\x04" at the beginning of a
// line. All methods may be called from any goroutine.
type Terminal struct {
	file    *os.File
	process *Process
}

// StartTerminal starts the command with a terminal of this size in place of
// Stdin, Stdout and Stderr, which have to be nil. Wait closes the terminal, so
// read to its end before.
func (c *Cmd) StartTerminal(rows, columns int) (*Terminal, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	if c.Stdin != nil || c.Stdout != nil || c.Stderr != nil {
		return nil, errors.New("tare: Stdin, Stdout or Stderr already set")
	}
	var err error
	if c.rows, c.columns, err = size(rows, columns); err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	return c.terminal, nil
}

// opened returns why there is no terminal.
func (t *Terminal) opened() error {
	if t == nil || t.file == nil {
		return unopened("use terminal", "StartTerminal of a Cmd")
	}
	return nil
}

// Read reads the command's output. The error is io.EOF when the last process
// with the terminal is gone.
func (t *Terminal) Read(p []byte) (int, error) {
	if err := t.opened(); err != nil {
		return 0, err
	}
	n, err := t.file.Read(p)
	// So the kernel says that.
	if errors.Is(err, syscall.EIO) {
		err = io.EOF
	}
	return n, err
}

// Write types.
func (t *Terminal) Write(p []byte) (int, error) {
	if err := t.opened(); err != nil {
		return 0, err
	}
	return t.file.Write(p)
}

// Resize tells the command that the terminal has another size.
func (t *Terminal) Resize(rows, columns int) error {
	if err := t.opened(); err != nil {
		return err
	}
	high, wide, err := size(rows, columns)
	if err != nil {
		return err
	}
	return t.process.with(func(h processHandle) error { return h.resize(high, wide) })
}

// Close ends reads and writes. The command keeps its terminal.
func (t *Terminal) Close() error {
	if err := t.opened(); err != nil {
		return err
	}
	return t.file.Close()
}
