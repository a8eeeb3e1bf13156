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
		var wrong *tare.Error
		if _, err := sb.Events(); !errors.As(err, &wrong) || wrong.Kind != "unsupported" {
			t.Fatal(err)
		}
		return
	}
	sb := open(t, tare.Memory(24<<20), tare.Swap(0))
	events, err := sb.Events()
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := events.Next(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
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
	_ = sb.Command("tail", "/dev/zero").Run()
	if event := <-told; event != (tare.Event{OOMKills: 1}) {
		t.Error(event)
	}
	if err := sb.Close(); err != nil {
		t.Fatal(err)
	}
	if event := <-told; event != (tare.Event{Gone: true}) {
		t.Error(event)
	}
	<-told
	if err := events.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := events.Next(context.Background()); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}

func TestEventsOfNoSandboxAreErrors(t *testing.T) {
	for _, none := range []*tare.Events{nil, {}} {
		var wrong *tare.Error
		if _, err := none.Next(context.Background()); !errors.As(err, &wrong) || wrong.Cure != "Events of a sandbox" {
			t.Error(err)
		}
		if err := none.Close(); !errors.As(err, &wrong) {
			t.Error(err)
		}
	}
	if isMachineRoot(t) {
		events, err := open(t, tare.Memory(64<<20)).Events()
		if err != nil || events.Close() != nil || events.Close() != nil {
			t.Fatal(err)
		}
	}
	var sb *tare.Sandbox
	if _, err := sb.Events(); err == nil {
		t.Error("of a nil sandbox")
	}
}

func TestEventsThatAreClosedEndTheirWait(t *testing.T) {
	if !isMachineRoot(t) {
		return
	}
	events, err := open(t, tare.Memory(64<<20)).Events()
	if err != nil {
		t.Fatal(err)
	}
	waits := make(chan error)
	go func() {
		_, err := events.Next(context.Background())
		waits <- err
	}()
	time.Sleep(10 * time.Millisecond)
	if err := events.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-waits; !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}
