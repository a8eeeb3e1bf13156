// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"
)

// gate bounds the number of concurrent calls into C of a kind. Each longer call
// holds an OS thread; Go makes another for each, and ends none.
type gate struct {
	slots chan struct{}
	// How many calls have returned.
	ended atomic.Uint64
	// If no call returns for so long, those that run may wait for the ones that
	// queue up.
	patience time.Duration
}

func newGate(slots int) *gate {
	return &gate{slots: make(chan struct{}, slots), patience: time.Second}
}

var (
	// starts are calls that wait for an answer from inside a sandbox. os/exec
	// starts one at a time.
	starts = newGate(2 * runtime.GOMAXPROCS(0))
	// signals go to a sandbox that may be slow to take them, so that others
	// wait for neither of the two.
	signals = newGate(runtime.GOMAXPROCS(0))
	// ends are those that no sandbox can hold up.
	ends = newGate(runtime.GOMAXPROCS(0))
)

// through makes a call.
func (g *gate) through(call func()) {
	// Only a context would be an error.
	leave, _ := g.enter(nil)
	defer leave()
	call()
}

// enter makes room for a call of a context, which may be nil; call the result
// afterwards. A sandbox that does not answer, for example a frozen sandbox,
// delays other calls for the patience and no longer.
func (g *gate) enter(ctx context.Context) (leave func(), err error) {
	select {
	case g.slots <- struct{}{}:
		return g.leave, nil
	default:
	}
	var over <-chan struct{}
	if ctx != nil {
		over = ctx.Done()
	}
	for {
		seen := g.ended.Load()
		timer := time.NewTimer(g.patience)
		select {
		case g.slots <- struct{}{}:
			timer.Stop()
			return g.leave, nil
		case <-over:
			timer.Stop()
			return nil, ctx.Err()
		case <-timer.C:
			if g.ended.Load() == seen {
				return func() { g.ended.Add(1) }, nil
			}
		}
	}
}

func (g *gate) leave() {
	g.ended.Add(1)
	<-g.slots
}
