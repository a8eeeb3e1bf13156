// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	tare "github.com/libtare/libtare/bindings/go"
)

// endless is an image whose archive never comes: a fifo without a writer.
func endless(t *testing.T) string {
	t.Helper()
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	return "archive:" + fifo
}

func TestOpenEndsWithItsContext(t *testing.T) {
	store := tare.Store(t.TempDir())
	image := endless(t)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := tare.Open(ctx, image, store); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	ctx, cancel = context.WithCancel(context.Background())
	cancel()
	if _, err := tare.Open(ctx, "host", store); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	// The store takes others.
	sb, err := tare.Open(context.Background(), "host", store)
	if err != nil {
		t.Fatal(err)
	}
	if err := sb.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenHoldsNoThread(t *testing.T) {
	store, image := tare.Store(t.TempDir()), endless(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	before := threads(t)
	var done sync.WaitGroup
	many := 8*runtime.GOMAXPROCS(0) + 16
	for n := 0; n < many; n++ {
		done.Add(1)
		go func() {
			defer done.Done()
			if _, err := tare.Open(ctx, image, store); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}()
	}
	// Each has a thread of the library, which waits for the archive. Go's own
	// threads would be as many.
	for start := time.Now(); threads(t) < before+many; {
		if time.Since(start) > time.Minute {
			t.Fatalf("%d threads of %d", threads(t)-before, many)
		}
		time.Sleep(time.Millisecond)
	}
	if own := threads(t) - before - many; own >= many {
		t.Errorf("%d more threads for %d opens", own, many)
	}
	cancel()
	done.Wait()
}

func TestImportEndsWithItsContext(t *testing.T) {
	store, image := openStore(t), endless(t)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := store.Import(ctx, image, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	// The library's thread undoes its work.
	scratch := filepath.Join(store.Path(), "scratch")
	for start := time.Now(); ; time.Sleep(time.Millisecond) {
		entries, err := os.ReadDir(scratch)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) == 0 {
			break
		}
		if time.Since(start) > time.Minute {
			t.Fatal(entries)
		}
	}
	from := "oci:" + layout(t, shell(t))
	if _, err := store.Import(context.Background(), from, &tare.ImportOptions{Names: []string{"it"}}); err != nil {
		t.Fatal(err)
	}
	var wrong *tare.Error
	if _, err := store.Import(context.Background(), "oci:/nowhere", nil); !errors.As(err, &wrong) || wrong.Kind != "not_found" {
		t.Fatal(err)
	}
}
