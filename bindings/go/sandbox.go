// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare

import (
	"context"
	"encoding/json"
	"os"
	"runtime"
	"time"
)

// Sandbox is an isolated environment, ready for commands. A sandbox ends with
// Close, at any end of the process that made it, or when the sandbox and its
// processes are unreachable.
//
// All methods may be called from any goroutine.
type Sandbox struct {
	holder
	h    sandboxHandle
	spec *spec
}

// Open makes a sandbox from an image: "host" (this machine, copy-on-write),
// "dir:PATH", "oci:PATH[:TAG]", "archive:FILE", or "NAME[:TAG][@DIGEST]" in the
// store.
//
// Open waits without holding an OS thread. A context that is done ends the
// opening, an import too.
func Open(ctx context.Context, image string, opts ...Option) (*Sandbox, error) {
	store, spec, err := ask(ctx, map[string]any{"image": image}, opts)
	if err != nil {
		return nil, err
	}
	return opened(ctx, store, spec, imageHandle{}, "")
}

// OpenOn makes a sandbox from an open image, for example of
// [ImageStore.Import], which reports its progress. The sandbox is in the
// image's store. The image may be closed while the sandbox is open.
func OpenOn(ctx context.Context, image *Image, opts ...Option) (*Sandbox, error) {
	store, spec, err := askOn(ctx, image, opts)
	if err != nil {
		return nil, err
	}
	sb, err := opened(ctx, store, spec, image.h, "")
	return sb, image.told(err)
}

// OpenIn makes a sandbox with a plain directory as root, without copy-on-write:
// writes of commands stay.
func OpenIn(ctx context.Context, root string, opts ...Option) (*Sandbox, error) {
	if err := valid(root); err != nil {
		return nil, err
	}
	store, spec, err := ask(ctx, map[string]any{}, opts)
	if err != nil {
		return nil, err
	}
	return opened(ctx, store, spec, imageHandle{}, root)
}

// opened makes a sandbox on an image, in a root directory or else from the
// specification. opened takes over the store.
func opened(ctx context.Context, store *heldStore, spec *spec, image imageHandle, root string) (*Sandbox, error) {
	opening, err := store.begin(image, root, spec.text)
	var h sandboxHandle
	if err == nil {
		h, err = opening.await(ctx)
	}
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

// Close ends all processes inside and returns when nothing of the sandbox is
// left. Closing a closed sandbox does nothing.
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

// Reset ends all processes inside and restores the image.
func (sb *Sandbox) Reset() error { return sb.told(sb.handle().reset()) }

// Freeze stops all processes inside, at once and unseen by them, and returns
// when all have stopped. Starting a command and using files then fail until
// Thaw. A signal, a kill and a time limit take effect after the thaw. Reset and
// Close work. Freeze needs an own cgroup in v2.
func (sb *Sandbox) Freeze() error { return sb.told(sb.handle().freeze()) }

// Thaw lets all processes inside continue. Nothing happens if they were not
// stopped.
func (sb *Sandbox) Thaw() error { return sb.told(sb.handle().thaw()) }

// Used is the use of all processes of a sandbox, now and since the open or the
// last reset. A figure that this machine does not count for this sandbox is
// nil: memory, io and pids are counted only with a limit of their kind.
type Used struct {
	Memory     *uint64 `json:"memory"`      // Bytes now.
	MemoryPeak *uint64 `json:"memory_peak"` // Bytes.
	UserTime   *uint64 `json:"user_us"`     // Microseconds.
	SystemTime *uint64 `json:"system_us"`   // Microseconds.
	IORead     *uint64 `json:"io_read"`     // Bytes.
	IOWritten  *uint64 `json:"io_written"`  // Bytes.
	Pids       *uint64 `json:"pids"`        // Processes and threads now.
	PidsPeak   *uint64 `json:"pids_peak"`
	OOMKills   *uint64 `json:"oom_kills"`
}

// Used returns the use of all processes inside, now and in total.
func (sb *Sandbox) Used() (Used, error) {
	var used Used
	said, err := sb.handle().usage()
	if err == nil {
		err = json.Unmarshal(said, &used)
	}
	return used, sb.told(err)
}

// RunningCommand is a running command in the list of [Sandbox.Commands].
type RunningCommand struct {
	ID   uint64        `json:"id"` // Its number in the sandbox, for Process.
	Argv []string      `json:"argv"`
	Wall time.Duration `json:"wall_ns"` // Since the start.
}

// Commands lists those that run, in the order of their start, Run and Output in
// other goroutines included.
func (sb *Sandbox) Commands() ([]RunningCommand, error) {
	var running []RunningCommand
	said, err := sb.handle().commands()
	if err == nil {
		err = json.Unmarshal(said, &running)
	}
	return running, sb.told(err)
}

// Process finds a running command by its number and returns a second handle, to
// wait, signal and kill. Pipes and terminal stay with the first handle. The
// error is [os.ErrNotExist] if no command of that number runs.
func (sb *Sandbox) Process(id uint64) (*Process, error) {
	h, fds, err := sb.handle().process(id)
	if err != nil {
		return nil, sb.told(err)
	}
	return newProcess(h, fds, sb, false)
}

// SetLimits changes limits while commands run: the keys memory, swap, cpus,
// cpu_weight, cpuset, pids and io of limits in a specification. Each must have
// been set when the sandbox was opened. Others stay. Reset brings the first
// ones back.
func (sb *Sandbox) SetLimits(limits map[string]any) error {
	text, err := json.Marshal(limits)
	if err != nil {
		return err
	}
	return sb.told(sb.handle().setLimits(text))
}

// Effective returns the restrictions in force: a JSON object with storage,
// namespaces, cgroup, capabilities, left_out (keys of best_effort that are not
// in force) and more.
func (sb *Sandbox) Effective() (json.RawMessage, error) {
	said, err := sb.handle().effective()
	return said, sb.told(err)
}

// Pidfd is a pidfd of the sandbox's first process, for the caller to close:
// readable when the sandbox is gone, for any reason. After Reset that is
// another.
func (sb *Sandbox) Pidfd() (*os.File, error) {
	fd, err := sb.handle().pidfd()
	if err != nil {
		return nil, sb.told(err)
	}
	return os.NewFile(uintptr(fd), "pidfd"), nil
}

// told explains an error of the library where the sandbox was closed, or never
// opened.
func (sb *Sandbox) told(err error) error {
	switch {
	case err == nil:
		return nil
	case sb.unopened():
		return unopened("use sandbox", "tare.Open")
	}
	return sb.holder.told("use sandbox", err)
}
