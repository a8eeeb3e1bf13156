// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare

import (
	"context"
	"runtime"
)

// gate bounds how many calls into C of one kind run at once. Each call that takes longer than a moment holds an OS
// thread, of which Go makes one more for each that is held, and ends none.
type gate chan struct{}

var (
	// starts are those that wait for an answer from inside a sandbox. os/exec starts one at a time.
	starts = make(gate, 2*runtime.GOMAXPROCS(0))
	// signals go to a sandbox that may be slow to take them, so that others wait for neither of the two.
	signals = make(gate, runtime.GOMAXPROCS(0))
	// ends are those that no sandbox can hold up.
	ends = make(gate, runtime.GOMAXPROCS(0))
)

// through makes a call.
func (g gate) through(call func()) {
	g <- struct{}{}
	defer func() { <-g }()
	call()
}

// enter makes room for a call of a context, which may be nil; leave follows.
func (g gate) enter(ctx context.Context) error {
	var over <-chan struct{}
	if ctx != nil {
		over = ctx.Done()
	}
	select {
	case g <- struct{}{}:
		return nil
	case <-over:
		return ctx.Err()
	}
}

func (g gate) leave() { <-g }
