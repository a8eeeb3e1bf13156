// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare

import (
	"errors"
	"io/fs"
	"os"
	"testing"
)

func TestWhatIsClosedHoldsNoStore(t *testing.T) {
	held, err := holdStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	before := held.users
	h := holder{store: held.again()}
	for n := 0; n < 2; n++ {
		if err := h.end(func() error { return nil }); err != nil || held.users != before {
			t.Fatal(held.users, err)
		}
		if _, err := h.use("use"); !errors.Is(err, fs.ErrClosed) || held.users != before {
			t.Fatal(held.users, err)
		}
	}
	held.release()
}

// A relative path is another directory's after chdir(2).
func TestAStoreIsOfItsDirectory(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	defer os.Chdir(here)
	var paths []string
	for n := 0; n < 2; n++ {
		dir := t.TempDir()
		if err := os.Chdir(dir); err != nil {
			t.Fatal(err)
		}
		store, err := OpenStore("s")
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		if path := store.Path(); path != dir+"/s" {
			paths = append(paths, path)
		}
	}
	if paths != nil {
		t.Fatal(paths)
	}
}
