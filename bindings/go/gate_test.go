// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare

import (
	"context"
	"sync"
	"testing"
	"time"
)

func TestAGateBoundsCallsThatReturn(t *testing.T) {
	g := newGate(3)
	g.patience = time.Hour
	var mu sync.Mutex
	var all sync.WaitGroup
	now, most := 0, 0
	count := func(by int) {
		mu.Lock()
		defer mu.Unlock()
		if now += by; now > most {
			most = now
		}
	}
	for n := 0; n < 100; n++ {
		all.Add(1)
		go func() {
			defer all.Done()
			g.through(func() {
				count(1)
				time.Sleep(time.Millisecond)
				count(-1)
			})
		}()
	}
	all.Wait()
	if most > 3 || len(g.slots) != 0 || g.ended.Load() != 100 {
		t.Fatal(most, len(g.slots), g.ended.Load())
	}
}

// A call that waits for another in the queue would wait forever.
func TestCallsThatDoNotReturnLetOthersThrough(t *testing.T) {
	g := newGate(1)
	g.patience = time.Millisecond
	through := make(chan struct{})
	g.through(func() {
		go g.through(func() { close(through) })
		<-through
	})
	leave, err := g.enter(nil)
	if err != nil || len(g.slots) != 1 {
		t.Fatal(len(g.slots), err)
	}
	defer leave()
	g.patience = time.Hour
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(time.Millisecond, cancel)
	if _, err := g.enter(ctx); err != context.Canceled {
		t.Fatal(err)
	}
}
