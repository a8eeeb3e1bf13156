// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare

import (
	"context"
	"encoding/json"
	"runtime"
)

// Sandbox is an isolated environment, ready for commands. It ends with Close, with the process that
// made it however that ends, or when nobody holds it any more.
//
// All methods may be called from any goroutine.
type Sandbox struct {
	holder
	h    sandboxHandle
	spec *spec
}

// Open makes a sandbox from an image: "host" (this machine, copy-on-write), "dir:PATH",
// "oci:PATH[:TAG]", "archive:FILE", or "NAME[:TAG][@DIGEST]" in the store.
//
// A context that is done before the sandbox is open closes it again.
func Open(ctx context.Context, image string, opts ...Option) (*Sandbox, error) {
	store, spec, err := ask(ctx, image, opts)
	if err != nil {
		return nil, err
	}
	h, err := store.open(spec.text)
	if err != nil {
		store.release()
		return nil, err
	}
	sb := newSandbox(store, h, spec)
	if err := ctx.Err(); err != nil {
		sb.Close()
		return nil, err
	}
	return sb, nil
}

// newSandbox takes over the store and the handle.
func newSandbox(store *heldStore, h sandboxHandle, spec *spec) *Sandbox {
	sb := &Sandbox{holder: holder{store: store}, h: h, spec: spec}
	runtime.SetFinalizer(sb, (*Sandbox).drop)
	return sb
}

// drop ends a sandbox that is out of reach, without waiting for its end.
func (sb *Sandbox) drop() {
	_ = sb.end(func() error {
		sb.h.free()
		return nil
	})
}

// Close ends everything inside and returns when nothing of the sandbox is left. Closing a closed
// sandbox does nothing.
func (sb *Sandbox) Close() error {
	if sb.unopened() {
		return sb.told(errUnopened)
	}
	runtime.SetFinalizer(sb, nil)
	return sb.end(sb.h.close)
}

// unopened returns whether this is nil or a zero value.
func (sb *Sandbox) unopened() bool { return sb == nil || sb.store == nil }

// handle is NULL where there is no sandbox. The library refuses that.
func (sb *Sandbox) handle() sandboxHandle {
	if sb == nil {
		return sandboxHandle{}
	}
	return sb.h
}

// Reset ends everything inside and brings the image back as it was.
func (sb *Sandbox) Reset() error { return sb.told(sb.handle().reset()) }

// Effective says what is really in force: a JSON object with storage, namespaces, cgroup, capabilities
// and more.
func (sb *Sandbox) Effective() (json.RawMessage, error) {
	said, err := sb.handle().effective()
	return said, sb.told(err)
}

// told explains an error of the library where the sandbox was closed, or never opened.
func (sb *Sandbox) told(err error) error {
	switch {
	case err == nil:
		return nil
	case sb.unopened():
		return unopened("use sandbox", "tare.Open")
	}
	return sb.holder.told("use sandbox", err)
}

// Command is a command that is not bound to a context. See [Sandbox.CommandContext].
func (sb *Sandbox) Command(name string, arg ...string) *Cmd {
	return &Cmd{Path: name, Args: append([]string{name}, arg...), sandbox: sb}
}

// CommandContext is a command that is killed, with all that it started, when the context is done
// before it has ended. The name is looked up in the sandbox's PATH.
func (sb *Sandbox) CommandContext(ctx context.Context, name string, arg ...string) *Cmd {
	cmd := sb.Command(name, arg...)
	if cmd.ctx = ctx; ctx == nil {
		cmd.err = errNoContext
	}
	cmd.Cancel = func() error { return cmd.Process.Kill() }
	return cmd
}
