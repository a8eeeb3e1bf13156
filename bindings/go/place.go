// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare

import (
	"context"
	"fmt"
	"syscall"
)

// place is where a command is started.
type place interface {
	// usable returns the fault of an unusable place.
	usable() error
	spawn(ctx context.Context, s start) (processHandle, descriptors, error)
	// outputLimit is how many bytes of output are kept where a command does not
	// say.
	outputLimit() (uint64, error)
}

func (sb *Sandbox) usable() error {
	if sb.unopened() {
		return sb.told(errUnopened)
	}
	return nil
}

func (sb *Sandbox) spawn(_ context.Context, s start) (processHandle, descriptors, error) {
	h, fds, err := sb.h.spawn(s)
	return h, fds, sb.told(err)
}

func (sb *Sandbox) outputLimit() (uint64, error) { return sb.spec.outputLimit() }

// Command is a command that is not bound to a context. See
// [Sandbox.CommandContext].
func (sb *Sandbox) Command(name string, arg ...string) *Cmd {
	return &Cmd{Path: name, Args: append([]string{name}, arg...), place: sb}
}

// CommandContext is a command that is killed, with all processes that it
// started, if the context is done before its end. The name is searched in the
// sandbox's PATH. A nil context is an error of Start.
func (sb *Sandbox) CommandContext(ctx context.Context, name string, arg ...string) *Cmd {
	return sb.Command(name, arg...).bind(ctx)
}

// ImageCommand is the image's own command: its entry point, with these
// arguments in place of the default arguments, if any.
func (sb *Sandbox) ImageCommand(ctx context.Context, arg ...string) *Cmd {
	return (&Cmd{Args: arg, place: sb, ofImage: true}).bind(ctx)
}

// CommandIn is a command in a root directory of the caller's, in a sandbox for
// this command alone with these options: no image, no copy-on-write. The
// sandbox ends with the command, and with it all background processes. The rest
// is as for [Sandbox.CommandContext].
func CommandIn(ctx context.Context, root string, opts []Option, name string, arg ...string) *Cmd {
	cmd := &Cmd{Path: name, Args: append([]string{name}, arg...)}
	dir, text, err := specWith(map[string]any{}, opts)
	if err == nil {
		err = valid(dir + root)
	}
	cmd.err = err
	cmd.place = &rootPlace{dir: dir, root: root, spec: newSpec(text)}
	return cmd.bind(ctx)
}

// bind has a context kill the command.
func (c *Cmd) bind(ctx context.Context) *Cmd {
	if c.ctx = ctx; ctx == nil {
		c.err = errNoContext
	}
	c.Cancel = func() error { return c.Process.Kill() }
	return c
}

// rootPlace is a root directory.
type rootPlace struct {
	dir, root string
	spec      *spec
}

func (r *rootPlace) usable() error { return nil }

func (r *rootPlace) spawn(ctx context.Context, s start) (processHandle, descriptors, error) {
	store, err := holdStore(r.dir)
	if err != nil {
		return processHandle{}, descriptors{}, err
	}
	// The sandbox no longer needs the handle of the store.
	defer store.release()
	s.root, s.spec = r.root, r.spec.text
	return store.spawnIn(s)
}

func (r *rootPlace) outputLimit() (uint64, error) { return r.spec.outputLimit() }

// size is that of a terminal, two numbers in C.
func size(rows, columns int) (uint32, uint32, error) {
	if rows < 1 || columns < 1 || rows > 1<<16-1 || columns > 1<<16-1 {
		return 0, 0, fmt.Errorf("tare: a terminal of %d rows and %d columns: %w", rows, columns, syscall.EINVAL)
	}
	return uint32(rows), uint32(columns), nil
}
