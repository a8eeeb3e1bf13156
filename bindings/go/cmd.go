// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"syscall"
	"time"
)

// ErrWaitDelay is returned by Wait when a command ended well but its pipes had
// to be closed because WaitDelay was over.
var ErrWaitDelay = errors.New("tare: WaitDelay expired before I/O complete")

// Cmd is a command for a sandbox: the fields and methods of exec.Cmd. It runs
// once.
type Cmd struct {
	// Path is the program: a path inside, or a name that is looked up in the
	// PATH inside.
	Path string
	// Args are the arguments, the name first. Default: Path alone.
	Args []string
	// Env is added to the environment of the sandbox, "NAME=VALUE".
	Env []string
	// Dir is where it starts, which must be there. Default: the sandbox's.
	Dir string
	// User is who it runs as, "NAME|UID[:GROUP|GID]". Default: the sandbox's.
	User string
	// Timeout kills it with all that it started; a negative one is refused.
	// Default: 0, for never.
	Timeout time.Duration

	// Rlimits are resource limits, each in the place of the sandbox's; the
	// names are those of the specification's limits.rlimits, but not "locks".
	Rlimits map[string]Rlimit
	// CapAdd is added to what CapDrop leaves of the sandbox's capabilities;
	// "ALL" stands for all. What the sandbox lacks is refused. Only user 0 has
	// any, as in the sandbox.
	CapAdd, CapDrop []string
	// Umask is the file mode creation mask, 0 to 0777. Default: 022.
	Umask *os.FileMode

	// Stdin, Stdout and Stderr are as for exec.Cmd: nil is /dev/null, an
	// *os.File is used as it is, all else is copied by a goroutine. Where
	// Stderr is Stdout, both are one stream.
	//
	// What goes to a *bytes.Buffer or a *strings.Builder is there after Wait: a
	// command that writes more than the limit of output is killed with the
	// reason "output", and what it left in the background is not waited for.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// OutputLimit is how many bytes of that are kept; a negative one is
	// refused. Default: the sandbox's limits.output, 64 MiB if that is not
	// given either.
	OutputLimit int64
	// ExtraFiles become descriptors 3 and up.
	ExtraFiles []*os.File

	// Process is the running command, once it was started.
	Process *Process
	// ProcessState is how it ended, once it was waited for.
	ProcessState *ProcessState
	// Cancel is called when the context is done; by default it kills.
	Cancel func() error
	// WaitDelay bounds how long Wait waits for pipes after the command ended or
	// its context was done. Default: for ever.
	WaitDelay time.Duration

	place   place
	ctx     context.Context
	err     error // why it cannot run
	ofImage bool  // whether Args are for the image's own entry point
	// Of its terminal.
	rows, columns uint32
	terminal      *Terminal
	started       bool
	waited        bool
	keeps         bool           // whether some of the output is kept
	kept          *keeper        // what reads it
	theirs        []io.Closer    // to close once it has started
	ours          []io.Closer    // to close once it has ended
	copies        []func() error // goroutines to run
	copied        chan error     // what they answer
	stop          func() error   // ends the watch over the context
	stderr        *tail
}

// Rlimit is a resource limit of a command, getrlimit(2).
type Rlimit struct {
	// Soft is the limit in force, which the command may raise up to Hard.
	Soft uint64
	// Hard is the ceiling, which only CAP_SYS_RESOURCE raises above the
	// caller's own.
	Hard uint64
}

// Unlimited is no limit, in an [Rlimit].
const Unlimited = math.MaxUint64

// usable returns why the command is none.
func (c *Cmd) usable() error {
	if c == nil || c.place == nil {
		return unopened("use command", "Command or CommandContext of a sandbox")
	}
	if err := c.place.usable(); err != nil {
		return err
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
	switch {
	case c.ofImage:
		return c.Args
	case len(c.Args) == 0:
		return []string{c.Path}
	}
	return append([]string{c.Path}, c.Args[1:]...)
}

// Run starts the command and waits for it. A command that fails gives an
// [*ExitError].
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
	s := start{argv: c.argv(), env: c.Env, dir: c.Dir, user: c.User, rows: c.rows, columns: c.columns}
	if c.ofImage {
		s.flags = commandOfImage
	}
	s.rlimits, s.capAdd, s.capDrop = c.Rlimits, c.CapAdd, c.CapDrop
	if c.Umask != nil {
		s.flags, s.umask = s.flags|commandUmask, uint32(*c.Umask)
	}
	for _, list := range [][]string{s.argv, s.env, {s.dir, s.user}, s.capAdd, s.capDrop, s.limited()} {
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
	return c.spawn(s)
}

// spawn starts the command, once there is room for one more call that waits for
// a sandbox.
func (c *Cmd) spawn(s start) error {
	var room uint64
	if c.keeps {
		var err error
		if room, err = c.room(); err != nil {
			return err
		}
	}
	leave, err := starts.enter(c.ctx)
	if err != nil {
		return err
	}
	h, fds, err := c.place.spawn(c.ctx, s)
	leave()
	if err != nil {
		return err
	}
	p, err := newProcess(h, fds, c.place, true)
	if err != nil {
		closeAll(fds.stdout, fds.stderr)
		return err
	}
	if c.keeps {
		if c.kept, err = keep([2]int{fds.stdout, fds.stderr}, room, p.Kill); err != nil {
			_ = p.Kill()
			_ = p.Release()
			return err
		}
	}
	if fds.terminal >= 0 {
		file, err := share(fds.terminal, "terminal")
		if err != nil {
			_ = p.Kill()
			_ = p.Release()
			return err
		}
		c.terminal, c.ours = &Terminal{file, p}, append(c.ours, file)
	}
	c.Process = p
	return nil
}

// closeAll closes descriptors, of which those below 0 are none.
func closeAll(fds ...int) {
	for _, fd := range fds {
		if fd >= 0 {
			syscall.Close(fd)
		}
	}
}

// room is how many bytes of output are kept.
func (c *Cmd) room() (uint64, error) {
	if c.OutputLimit < 0 {
		return 0, fmt.Errorf("tare: OutputLimit: %d keeps nothing: %w", c.OutputLimit, syscall.EINVAL)
	}
	if c.OutputLimit > 0 {
		return uint64(c.OutputLimit), nil
	}
	return c.place.outputLimit()
}

// watch cancels the command when its context is done; what it answers comes
// from c.stop.
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
		c.ProcessState = state
	}
	copied := c.await()
	c.closeOurs()
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
func (c *Cmd) end() (*ProcessState, error) {
	state, err := c.Process.Wait()
	if c.kept == nil {
		return state, err
	}
	out, errs, cut := c.kept.finish()
	if cut && err == nil {
		state = c.Process.cut(state)
	}
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
