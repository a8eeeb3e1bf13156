// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare

import (
	"context"
	"os"
	"syscall"
	"time"
)

// await waits for the opening of a sandbox, without holding an OS thread. A
// context that is done ends the opening.
func (h openingHandle) await(ctx context.Context) (sandboxHandle, error) {
	for !h.ready() {
		poll, err := watch(h.fd(), "opening")
		if err == nil {
			err = await(ctx, nil, poll)
			poll.Close()
		}
		if err != nil {
			h.free()
			return sandboxHandle{}, err
		}
	}
	return h.finish()
}

// await is the same for an image that is being imported.
func (h importingHandle) await(ctx context.Context) (imageHandle, error) {
	poll, err := watch(h.fd(), "import")
	if err == nil {
		err = await(ctx, nil, poll)
		poll.Close()
	}
	if err != nil {
		h.free()
		return imageHandle{}, err
	}
	return h.finish()
}

// watch returns a file that Go's netpoller accepts for a descriptor of the
// library: an epoll(7) of that descriptor alone. The netpoller wants
// O_NONBLOCK, which would affect the library, too.
func watch(fd int, name string) (*os.File, error) {
	poll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	event := syscall.EpollEvent{Events: syscall.EPOLLIN}
	if err := syscall.EpollCtl(poll, syscall.EPOLL_CTL_ADD, fd, &event); err != nil {
		syscall.Close(poll)
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	return polled(poll, name)
}

// await waits until a file of watch is readable, the context is done (an
// error), or closed is closed.
func await(ctx context.Context, closed <-chan struct{}, poll *os.File) error {
	conn, err := poll.SyscallConn()
	if err != nil {
		return err
	}
	stop := interrupt(ctx, closed, poll)
	defer stop()
	if err := conn.Read(readable); err != nil && !os.IsTimeout(err) {
		return err
	}
	return ctx.Err()
}

// interrupt ends the wait for a file when a context is done, or closed is
// closed, until the returned function is called.
func interrupt(ctx context.Context, closed <-chan struct{}, file *os.File) (stop func()) {
	if ctx.Done() == nil && closed == nil {
		return func() {}
	}
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-ctx.Done():
		case <-closed:
		case <-over:
			return
		}
		// This fails only for a closed file, for which no call waits.
		_ = file.SetReadDeadline(time.Unix(1, 0))
	}()
	return func() {
		close(over)
		<-ended
	}
}
