// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	tare "github.com/libtare/libtare/bindings/go"
)

// endless is an image whose archive never comes: a fifo without a writer.
func endless(t *testing.T) string {
	t.Helper()
	fifo := filepath.Join(t.TempDir(), "fifo")
	ok(t, syscall.Mkfifo(fifo, 0o600))
	return "archive:" + fifo
}

func TestOpenEndsWithItsContext(t *testing.T) {
	store := tare.Store(t.TempDir())
	image := endless(t)
	for _, asked := range []string{image, "of an option"} {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		if _, err := tare.Open(ctx, asked, store, tare.Spec("image", image)); err != context.DeadlineExceeded {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	// The specification is looked at first.
	failsAs(t, errOf(tare.Open(ctx, image, store, tare.Spec("memroy", 1))), "invalid")
	cancel()
	fails(t, errOf(tare.Open(ctx, "host", store)), context.Canceled)
	// The store takes others.
	sb, err := tare.Open(context.Background(), "host", store)
	ok(t, err)
	ok(t, sb.Close())
}

func TestOpenHoldsNoThread(t *testing.T) {
	store, image := tare.Store(t.TempDir()), endless(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	// Threads of earlier opens end on their own time.
	await(t, func() bool {
		names, err := filepath.Glob("/proc/self/task/*/comm")
		ok(t, err)
		for _, name := range names {
			if name, _ := os.ReadFile(name); string(name) == "tare-work\n" {
				return false
			}
		}
		return true
	})
	before, many := threads(t), 8*runtime.GOMAXPROCS(0)+16
	ended := make(chan struct{})
	go func() {
		together(many, func(int) {
			if _, err := tare.Open(ctx, image, store); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
		close(ended)
	}()
	// Each has a thread of the library, which waits for the archive. Go's own
	// threads would be as many.
	await(t, func() bool { return threads(t) >= before+many })
	if own := threads(t) - before - many; own >= many {
		t.Errorf("%d more threads for %d opens", own, many)
	}
	cancel()
	<-ended
}

func TestImportEndsWithItsContext(t *testing.T) {
	store, image := openStore(t), endless(t)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	fails(t, errOf(store.Import(ctx, image, nil)), context.DeadlineExceeded)
	// The library's thread undoes its work.
	scratch := filepath.Join(store.Path(), "scratch")
	await(t, func() bool {
		entries, err := os.ReadDir(scratch)
		ok(t, err)
		return len(entries) == 0
	})
	from := "oci:" + layout(t, shell(t))
	ok(t, errOf(store.Import(context.Background(), from, &tare.ImportOptions{Names: []string{"it"}})))
	failsAs(t, errOf(store.Import(context.Background(), "oci:/nowhere", nil)), "not_found")
}
