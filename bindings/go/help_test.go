// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare_test

import (
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	tare "github.com/libtare/libtare/bindings/go"
	"github.com/libtare/libtare/bindings/go/taretest"
)

func open(t *testing.T, opts ...tare.Option) *tare.Sandbox {
	t.Helper()
	return taretest.Open(t, "host", append([]tare.Option{tare.Store(t.TempDir())}, opts...)...)
}

func openStore(t *testing.T) *tare.ImageStore {
	t.Helper()
	store, err := tare.OpenStore(t.TempDir())
	ok(t, err)
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

// isMachineRoot returns whether the caller is root of the machine. In a user
// namespace, uid 0 is an ordinary user.
func isMachineRoot(t *testing.T) bool {
	t.Helper()
	ids, err := os.ReadFile("/proc/self/uid_map")
	ok(t, err)
	return os.Getuid() == 0 && strings.Join(strings.Fields(string(ids)), " ") == "0 0 4294967295"
}

// ok ends the test at an error.
func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// errOf drops the value of a call.
func errOf[T any](_ T, err error) error { return err }

// fails ends the test unless an error is the expected one.
func fails(t testing.TB, err, expected error) {
	t.Helper()
	if !errors.Is(err, expected) {
		t.Fatalf("%v, not %v", err, expected)
	}
}

// failsAs ends the test unless an error is the library's, of this kind.
func failsAs(t testing.TB, err error, kind string) {
	t.Helper()
	var wrong *tare.Error
	if !errors.As(err, &wrong) || wrong.Kind != kind {
		t.Fatalf("%v, not %s", err, kind)
	}
}

// ended returns a failed command's end, and ends the test unless the reason is
// this.
func ended(t testing.TB, err error, reason string) (exit *tare.ExitError) {
	t.Helper()
	if !errors.As(err, &exit) || exit.Reason() != reason {
		t.Fatalf("%v, not %s", err, reason)
	}
	return exit
}

// says reports a call, from any goroutine, that does not return this text.
func says(t testing.TB, expected string) func([]byte, error) {
	return func(text []byte, err error) {
		t.Helper()
		if err != nil || string(text) != expected {
			t.Errorf("%q, %v; not %q", text, err, expected)
		}
	}
}

// await waits until a condition holds, which is tried again and again.
func await(t testing.TB, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}

// together makes so many calls at once, and waits for their ends.
func together(calls int, call func(n int)) {
	var all sync.WaitGroup
	all.Add(calls)
	for n := 0; n < calls; n++ {
		go func(n int) {
			defer all.Done()
			call(n)
		}(n)
	}
	all.Wait()
}
