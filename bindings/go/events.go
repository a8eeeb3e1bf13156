// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare

import (
	"context"
	"os"
	"runtime"
	"sync"
)

// Event is an event of a sandbox.
type Event struct {
	// OOMKills is how many processes inside the kernel killed for want of
	// memory.
	OOMKills uint64
	// Gone is true at the sandbox's end: closed, reset, or its process 1 has
	// died. Gone comes last, and again at every later call.
	Gone bool
}

// Events reports the events of a sandbox. An Events ends with Close, or when
// unreachable.
//
// All methods may be called from any goroutine. Each event is told once.
type Events struct {
	mu sync.Mutex
	h  eventsHandle
	// Closed by Close; nil of a zero value.
	closed chan struct{}
}

// Events reports later events. Needs limits.memory, which counts kills for want
// of memory.
func (sb *Sandbox) Events() (*Events, error) {
	h, err := sb.handle().events()
	if err != nil {
		return nil, sb.told(err)
	}
	e := &Events{h: h, closed: make(chan struct{})}
	runtime.SetFinalizer(e, (*Events).drop)
	return e, nil
}

// Next waits for the next event, without holding an OS thread, until the
// context is done. After Close the error is [os.ErrClosed].
func (e *Events) Next(ctx context.Context) (Event, error) {
	if err := done(ctx); err != nil {
		return Event{}, err
	}
	if e.unopened() {
		return Event{}, errNoEvents
	}
	for {
		event, poll, err := e.look()
		if poll == nil {
			return event, err
		}
		err = await(ctx, e.closed, poll)
		poll.Close()
		if err != nil {
			return Event{}, err
		}
	}
}

var errNoEvents = unopened("use events", "Events of a sandbox")

// unopened returns whether this is nil or a zero value.
func (e *Events) unopened() bool { return e == nil || e.closed == nil }

// look returns an event, or the file to wait for.
func (e *Events) look() (Event, *os.File, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	select {
	case <-e.closed:
		return Event{}, nil, os.ErrClosed
	default:
	}
	kind, kills, err := e.h.next()
	if err != nil || kind == eventOOM || kind == eventGone {
		return Event{OOMKills: kills, Gone: kind == eventGone}, nil, err
	}
	poll, err := watch(e.h.fd(), "events")
	return Event{}, poll, err
}

// Close ends the events; a waiting Next returns. Closing again does nothing.
func (e *Events) Close() error {
	if e.unopened() {
		return errNoEvents
	}
	runtime.SetFinalizer(e, nil)
	e.drop()
	return nil
}

func (e *Events) drop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	select {
	case <-e.closed:
	default:
		close(e.closed)
		e.h.free()
	}
}
