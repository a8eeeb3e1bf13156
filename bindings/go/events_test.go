// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	tare "github.com/libtare/libtare/bindings/go"
)

func TestEventsTellKillsAndTheEnd(t *testing.T) {
	if !isMachineRoot(t) {
		sb := open(t)
		failsAs(t, errOf(sb.Events()), "unsupported")
		return
	}
	sb := open(t, tare.Memory(24<<20), tare.Swap(0))
	events, err := sb.Events()
	ok(t, err)
	short, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	fails(t, errOf(events.Next(short)), context.DeadlineExceeded)
	told := make(chan tare.Event)
	go func() {
		defer close(told)
		for {
			event, err := events.Next(context.Background())
			if err != nil {
				t.Error(err)
				return
			}
			told <- event
			if event.Gone {
				return
			}
		}
	}()
	other, err := sb.Events()
	ok(t, err)
	waits := make(chan error)
	go func() { waits <- errOf(other.Next(context.Background())) }()
	time.Sleep(10 * time.Millisecond)
	ok(t, other.Close())
	fails(t, <-waits, os.ErrClosed)
	_ = sb.Command("tail", "/dev/zero").Run()
	if event := <-told; event != (tare.Event{OOMKills: 1}) {
		t.Error(event)
	}
	ok(t, sb.Close())
	if event := <-told; event != (tare.Event{Gone: true}) {
		t.Error(event)
	}
	<-told
	ok(t, events.Close())
	ok(t, events.Close())
	if _, err := events.Next(context.Background()); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}
