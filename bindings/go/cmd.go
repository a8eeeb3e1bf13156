// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// ErrWaitDelay is returned by Wait when a command ended well but its pipes had to be closed because
// WaitDelay was over.
var ErrWaitDelay = errors.New("tare: WaitDelay expired before I/O complete")

// Cmd is a command for a sandbox: the fields and methods of exec.Cmd. It runs once.
type Cmd struct {
	// Path is the program: a path inside, or a name that is looked up in the PATH inside.
	Path string
	// Args are the arguments, the name first. Default: Path alone.
	Args []string
	// Env is added to the environment of the sandbox, "NAME=VALUE".
	Env []string
	// Dir is where it starts, which must be there. Default: the sandbox's.
	Dir string
	// User is who it runs as, "NAME|UID[:GROUP|GID]". Default: the sandbox's.
	User string
	// Timeout kills it with all that it started; a negative one is refused. Default: 0, for never.
	Timeout time.Duration

	// Stdin, Stdout and Stderr are as for exec.Cmd: nil is /dev/null, an *os.File is used as it
	// is, all else is copied by a goroutine. Where Stderr is Stdout, both are one stream.
	//
	// What goes to a *bytes.Buffer or a *strings.Builder is kept by the library and is there after Wait:
	// a command that writes more than the limit of output is killed with the reason "output", and
	// what it left in the background is not waited for.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// ExtraFiles become descriptors 3 and up.
	ExtraFiles []*os.File

	// Process is the running command, once it was started.
	Process *Process
	// ProcessState is how it ended, once it was waited for.
	ProcessState *ProcessState
	// Cancel is called when the context is done; by default it kills.
	Cancel func() error
	// WaitDelay bounds how long Wait waits for pipes after the command ended or its context was
	// done. Default: for ever.
	WaitDelay time.Duration

	sandbox *Sandbox
	ctx     context.Context
	err     error // why it cannot run
	started bool
	waited  bool
	kept    bool           // whether the library keeps what is written
	theirs  []io.Closer    // to close once it has started
	ours    []io.Closer    // to close once it has ended
	copies  []func() error // goroutines to run
	copied  chan error     // what they answer
	stop    func() error   // ends the watch over the context
	stderr  *tail
}

// Process is a running command.
type Process struct {
	mu   sync.Mutex
	h    processHandle
	gone bool
}

var errGone = os.ErrProcessDone

func (p *Process) with(do func(processHandle) error) error {
	if p == nil || p.h == (processHandle{}) {
		return unopened("use command", "start it by its Cmd")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return errGone
	}
	return do(p.h)
}

// Signal sends a signal to the command, but not to what it started.
func (p *Process) Signal(signal os.Signal) error {
	n, ok := signal.(syscall.Signal)
	if !ok {
		return errors.New("tare: unsupported signal type")
	}
	return p.with(func(h processHandle) error { return h.signal(int(n)) })
}

// Kill kills the command and what it started.
func (p *Process) Kill() error { return p.with(processHandle.kill) }

// usable returns why the command is none.
func (c *Cmd) usable() error {
	switch {
	case c == nil || c.sandbox == nil:
		return unopened("use command", "Command or CommandContext of a sandbox")
	case c.sandbox.unopened():
		return c.sandbox.told(errUnopened)
	}
	return c.err
}

// String is the command as a person would type it, without quotes.
func (c *Cmd) String() string {
	if c == nil {
		return "<nil>"
	}
	return strings.Join(c.argv(), " ")
}

func (c *Cmd) argv() []string {
	if len(c.Args) == 0 {
		return []string{c.Path}
	}
	return append([]string{c.Path}, c.Args[1:]...)
}

// Run starts the command and waits for it. A command that fails gives an [*ExitError].
func (c *Cmd) Run() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

// Output runs the command and gives what it wrote to standard output.
func (c *Cmd) Output() ([]byte, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	if c.Stdout != nil {
		return nil, errors.New("tare: Stdout already set")
	}
	var out bytes.Buffer
	c.Stdout = &out
	if c.Stderr == nil {
		c.stderr = &tail{}
		c.Stderr = c.stderr
	}
	err := c.Run()
	var exit *ExitError
	if c.stderr != nil && errors.As(err, &exit) {
		exit.Stderr = c.stderr.kept
	}
	return out.Bytes(), err
}

// CombinedOutput runs the command and gives what it wrote to both streams.
func (c *Cmd) CombinedOutput() ([]byte, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	if c.Stdout != nil || c.Stderr != nil {
		return nil, errors.New("tare: Stdout or Stderr already set")
	}
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	return out.Bytes(), err
}

// Start starts the command; Wait has to follow.
func (c *Cmd) Start() error {
	if err := c.usable(); err != nil {
		return err
	}
	if c.started {
		return errors.New("tare: already started")
	}
	c.started = true
	err := c.begin()
	for _, file := range c.theirs {
		file.Close()
	}
	c.theirs = nil
	if err != nil {
		c.closeOurs()
		return err
	}
	c.copied = make(chan error, len(c.copies))
	for _, one := range c.copies {
		go func(one func() error) { c.copied <- one() }(one)
	}
	c.watch()
	return nil
}

func (c *Cmd) begin() error {
	if c.ctx != nil && c.ctx.Err() != nil {
		return c.ctx.Err()
	}
	s := start{argv: c.argv(), env: c.Env, dir: c.Dir, user: c.User}
	for _, list := range [][]string{s.argv, s.env, {s.dir, s.user}} {
		for _, text := range list {
			if err := valid(text); err != nil {
				return err
			}
		}
	}
	if c.Timeout < 0 {
		return fmt.Errorf("tare: Timeout: %v leaves a command no time: %w", c.Timeout, syscall.EINVAL)
	}
	s.timeout = uint64(c.Timeout)
	for _, file := range c.ExtraFiles {
		s.extra = append(s.extra, int(file.Fd()))
	}
	var err error
	if s.stdin, err = c.input(); err != nil {
		return err
	}
	if s.stdout, err = c.output(c.Stdout); err != nil {
		return err
	}
	if c.Stderr != nil && same(c.Stderr, c.Stdout) {
		s.stderr = stream{mode: streamStdout}
	} else if s.stderr, err = c.output(c.Stderr); err != nil {
		return err
	}
	h, err := c.sandbox.h.spawn(s)
	if err != nil {
		return c.sandbox.told(err)
	}
	c.Process = &Process{h: h}
	return nil
}

// same compares writers, of which some cannot be compared.
func same(a, b io.Writer) (equal bool) {
	defer func() { _ = recover() }()
	return a == b
}

// pipe makes one whose ends the command may open by name, as /dev/stdout, whatever its user is. Its inode has no name but
// in /proc/PID/fd, which opens only for who may trace that process.
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
		c.kept = true
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

// watch cancels the command when its context is done; what it answers comes from c.stop.
func (c *Cmd) watch() {
	if c.ctx == nil || c.ctx.Done() == nil {
		c.stop = func() error { return nil }
		return
	}
	ended, answer := make(chan struct{}), make(chan error, 1)
	go func() {
		select {
		case <-ended:
			answer <- nil
		case <-c.ctx.Done():
			err := c.ctx.Err()
			if c.Cancel != nil {
				if failed := c.Cancel(); errors.Is(failed, os.ErrProcessDone) {
					err = nil
				} else if failed != nil {
					err = failed
				}
			}
			answer <- err
		}
	}()
	c.stop = func() error {
		close(ended)
		return <-answer
	}
}

// Wait waits until the command has ended and its output was copied.
func (c *Cmd) Wait() error {
	if err := c.usable(); err != nil {
		return err
	}
	if c.Process == nil {
		return errors.New("tare: not started")
	}
	if c.waited {
		return errors.New("tare: Wait was already called")
	}
	c.waited = true
	state, err := c.end()
	interrupted := c.stop()
	if err == nil {
		c.ProcessState = &ProcessState{state}
	}
	copied := c.await()
	c.closeOurs()
	c.Process.mu.Lock()
	c.Process.gone = true
	c.Process.h.free()
	c.Process.mu.Unlock()
	switch {
	case err != nil:
		return err
	case interrupted != nil:
		return interrupted
	case !c.ProcessState.Success():
		return &ExitError{ProcessState: c.ProcessState}
	}
	return copied
}

// end waits for the command's end, and hands out what was kept of its output.
func (c *Cmd) end() (status, error) {
	if !c.kept {
		return c.Process.h.wait()
	}
	state, out, errs, err := c.Process.h.output()
	for _, part := range []struct {
		to   io.Writer
		data []byte
	}{{c.Stdout, out}, {c.Stderr, errs}} {
		if len(part.data) == 0 {
			continue
		}
		// Memory takes everything.
		if _, failed := part.to.Write(part.data); err == nil {
			err = failed
		}
	}
	return state, err
}

// await waits for the copies, at most as long as WaitDelay says.
func (c *Cmd) await() error {
	var over <-chan time.Time
	if c.WaitDelay > 0 {
		timer := time.NewTimer(c.WaitDelay)
		defer timer.Stop()
		over = timer.C
	}
	var first error
	for left := len(c.copies); left > 0; {
		select {
		case err := <-c.copied:
			left--
			if first == nil {
				first = err
			}
		case <-over:
			// What still holds them is not waited for.
			c.closeOurs()
			over = nil
			if first == nil {
				first = ErrWaitDelay
			}
		}
	}
	if errors.Is(first, os.ErrClosed) {
		return nil
	}
	return first
}

func (c *Cmd) closeOurs() {
	for _, file := range c.ours {
		file.Close()
	}
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

// StdoutPipe is a pipe from the command's output; Wait closes it, so read to its end before.
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

// tail keeps the last part of what is written.
type tail struct{ kept []byte }

const tailMax = 32 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if cut := len(t.kept) - tailMax; cut > 0 {
		t.kept = append(t.kept[:0], t.kept[cut:]...)
	}
	return len(p), nil
}
