// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// Process is a started command. The command ends with its sandbox, waited for
// or not.
//
// All methods may be called from any goroutine, at once. Methods that need a
// running command return [os.ErrProcessDone] after Wait, Poll or the Wait of
// its [Cmd] has read the end.
type Process struct {
	mu       sync.Mutex
	h        processHandle
	id       uint64
	pidfd    int
	released bool
	// Set after the end was read, when the handle is freed.
	state *ProcessState
	// Readable at the end. The Go runtime waits for this file with all other
	// descriptors, without a thread.
	status *os.File
	conn   syscall.RawConn
	// Closed when the status is readable or closed: a single goroutine waits
	// for all calls of WaitContext.
	watched chan struct{}
	// The sandbox, which ends when unreachable.
	place place
}

// newProcess takes over a handle of a command. After an error the command is
// killed if the handle is its only one; else the command runs on.
func newProcess(h processHandle, fds descriptors, place place, only bool) (*Process, error) {
	p := &Process{h: h, id: h.id(), pidfd: fds.pidfd, place: place}
	var err error
	if p.status, err = share(fds.status, "status"); err == nil {
		p.conn, err = p.status.SyscallConn()
	}
	if err != nil {
		if only {
			// An error means that the command is gone already.
			_ = h.kill()
		}
		p.let()
		return nil, err
	}
	runtime.SetFinalizer(p, (*Process).drop)
	return p, nil
}

// ID is the command's number in its sandbox, unique there, for
// [Sandbox.Process].
func (p *Process) ID() uint64 {
	if p == nil {
		return 0
	}
	return p.id
}

// share gives a duplicate of a descriptor for Go's runtime to wait for.
func share(fd int, name string) (*os.File, error) {
	own, err := duplicate(fd)
	if err != nil {
		return nil, err
	}
	return polled(own, name)
}

func duplicate(fd int) (int, error) {
	own, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_DUPFD_CLOEXEC, 0)
	if errno != 0 {
		return -1, os.NewSyscallError("fcntl", errno)
	}
	return int(own), nil
}

// polled takes over a descriptor, for Go's runtime to wait for: os.NewFile
// polls non-blocking descriptors.
func polled(fd int, name string) (*os.File, error) {
	if err := syscall.SetNonblock(fd, true); err != nil {
		syscall.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	file := os.NewFile(uintptr(fd), name)
	// os.NewFile does not report whether epoll(7) accepted the descriptor.
	if err := file.SetDeadline(time.Time{}); err != nil {
		file.Close()
		return nil, fmt.Errorf("tare: wait for %s: %w", name, err)
	}
	return file, nil
}

// started returns why there is no command.
func (p *Process) started() error {
	if p == nil || p.h == (processHandle{}) {
		return unopened("use command", "start it by its Cmd")
	}
	return nil
}

// with makes a call that needs the running command.
func (p *Process) with(do func(processHandle) error) (err error) {
	if err := p.started(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.gone(); err != nil {
		return err
	}
	signals.through(func() { err = do(p.h) })
	return err
}

// gone returns why there is no running command any more. The caller holds the
// lock.
func (p *Process) gone() error {
	switch {
	case p.state != nil:
		return os.ErrProcessDone
	case p.released:
		return errors.New("tare: process already released")
	}
	return nil
}

// Signal sends a signal to the command, but not to its children.
func (p *Process) Signal(signal os.Signal) error {
	n, ok := signal.(syscall.Signal)
	if !ok {
		return errors.New("tare: unsupported signal type")
	}
	return p.with(func(h processHandle) error { return h.signal(int(n)) })
}

// Kill kills the command with all processes that it started.
func (p *Process) Kill() error { return p.with(processHandle.kill) }

// Pid is the number of the command's first process in the caller's own pid
// namespace. Use the number in messages only: after the end, another process
// may have the same number.
func (p *Process) Pid() (pid int, err error) {
	err = p.with(func(processHandle) (err error) {
		pid, err = pidOf(p.pidfd)
		return err
	})
	return pid, err
}

// pidOf reads the process of a pidfd, from proc_pid_fdinfo(5).
func pidOf(pidfd int) (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", pidfd))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), "\nPid:")
	line, _, _ := strings.Cut(rest, "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err == nil && pid <= 0 {
		err = os.ErrProcessDone
	}
	return pid, err
}

// Pidfd is a pidfd of the command's first process, for the caller to close.
func (p *Process) Pidfd() (file *os.File, err error) {
	err = p.with(func(processHandle) error {
		fd, err := duplicate(p.pidfd)
		if err == nil {
			file = os.NewFile(uintptr(fd), "pidfd")
		}
		return err
	})
	return file, err
}

// readable returns whether poll(2) has something to say of a descriptor.
func readable(fd uintptr) bool {
	at := struct {
		fd              int32
		events, revents int16
	}{int32(fd), 1, 0}
	var now syscall.Timespec
	n, _, _ := syscall.RawSyscall6(syscall.SYS_PPOLL,
		uintptr(unsafe.Pointer(&at)), 1, uintptr(unsafe.Pointer(&now)), 0, 0, 0)
	return n == 1
}

// Wait waits until the command has ended, without holding an OS thread. Every
// call gives the same answer. A command that was started by a [Cmd] with
// writers or readers to copy is waited for by the Cmd's own Wait.
func (p *Process) Wait() (*ProcessState, error) {
	for {
		state, err := p.Poll()
		if state != nil || err != nil {
			return state, err
		}
		// The error means that another call has read the end and closed the
		// file. Poll returns the end.
		_ = p.conn.Read(readable)
	}
}

// WaitContext is as Wait, until a context is done: then the error is the
// context's, and the command runs on. An earlier end is reported first. For a
// context that ends the command, use [Sandbox.CommandContext].
func (p *Process) WaitContext(ctx context.Context) (*ProcessState, error) {
	if ctx == nil {
		return nil, errNoContext
	}
	for {
		state, err := p.Poll()
		if state != nil || err != nil {
			return state, err
		}
		select {
		case <-p.watch():
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// watch returns a channel that is closed when Poll has a result. The goroutine
// does not refer to the process, which may become unreachable meanwhile: then
// the status is closed.
func (p *Process) watch() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.watched:
	default:
		if p.watched != nil {
			return p.watched
		}
	}
	p.watched = make(chan struct{})
	go func(conn syscall.RawConn, over chan struct{}) {
		// The error is that the status is closed.
		_ = conn.Read(readable)
		close(over)
	}(p.conn, p.watched)
	return p.watched
}

// Poll returns the command's end, or nil for a running command.
func (p *Process) Poll() (*ProcessState, error) {
	if err := p.started(); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.gone(); err != nil {
		if p.state != nil {
			err = nil
		}
		return p.state, err
	}
	var said status
	var err error
	ends.through(func() { said, err = p.h.poll() })
	if err != nil || said.reason == reasonRunning {
		return nil, err
	}
	p.state = &ProcessState{said}
	p.let()
	return p.state, nil
}

// cut changes the state to that of a command with cut output.
func (p *Process) cut(state *ProcessState) *ProcessState {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state = &ProcessState{state.s.cutOutput()}
	return p.state
}

// Release frees this program's handle of the command, which runs on. The other
// methods return errors then. A command of [CommandIn] ends.
func (p *Process) Release() error {
	if err := p.started(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone() == nil {
		p.released = true
		p.let()
	}
	return nil
}

// let frees the handle and its descriptors. The caller holds the lock, or the
// only pointer.
func (p *Process) let() {
	runtime.SetFinalizer(p, nil)
	if p.status != nil {
		p.status.Close()
	}
	ends.through(p.h.free)
	p.place = nil
}

// drop is for a process that is out of reach.
func (p *Process) drop() { p.let() }
