// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	tare "github.com/libtare/libtare/bindings/go"
)

// logged keeps lines.
type logged struct {
	mu     sync.Mutex
	lines  []string
	levels map[tare.LogLevel]int
}

func (l *logged) tell(level tare.LogLevel, line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.levels == nil {
		l.levels = map[tare.LogLevel]int{}
	}
	l.levels[level]++
	l.lines = append(l.lines, line)
}

func (l *logged) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

func TestLogTellsWhatIsDoneWithoutArguments(t *testing.T) {
	defer tare.SetLog(nil, tare.LogDebug)
	var debug, warnings, after logged
	tare.SetLog(debug.tell, tare.LogDebug)
	sb := open(t, tare.Env("SECRET", "of-env"))
	var all sync.WaitGroup
	for n := 0; n < 8; n++ {
		all.Add(1)
		go func() {
			defer all.Done()
			if err := sb.Command("echo", "of-argument").Run(); err != nil {
				t.Error(err)
			}
		}()
	}
	// A change while others are told.
	tare.SetLog(debug.tell, tare.LogDebug-1)
	all.Wait()
	said := debug.text()
	if strings.Count(said, `"echo" started`) != 8 || !strings.Contains(said, ": opened") || strings.Contains(said, "of-") {
		t.Fatal(said)
	}
	if n := debug.levels[tare.LogDebug]; n != len(debug.lines) {
		t.Fatal(debug.levels)
	}
	for _, one := range []struct {
		to    *logged
		level tare.LogLevel
	}{{&warnings, tare.LogWarning}, {&after, tare.LogWarning + 100}} {
		tare.SetLog(one.to.tell, one.level)
		if err := sb.Command("true").Run(); err != nil || one.to.text() != "" {
			t.Fatal(one.to.text(), err)
		}
	}
	tare.SetLog(debug.tell, tare.LogDebug)
	tare.SetLog(nil, tare.LogDebug)
	if err := sb.Command("true").Run(); err != nil || debug.text() != said {
		t.Fatal(debug.text(), err)
	}
}

// An import without progress runs in a thread that Go did not make.
func TestLogTellsWhatAThreadOfTheLibraryDoes(t *testing.T) {
	defer tare.SetLog(nil, tare.LogDebug)
	store := openStore(t)
	from := "oci:" + layout(t, shell(t))
	var all logged
	tare.SetLog(all.tell, tare.LogDebug)
	image, err := store.Import(context.Background(), from, nil)
	ok(t, err)
	defer image.Close()
	if said := all.text(); !strings.Contains(said, ": in the store") {
		t.Fatal(said)
	}
}

// The function may use the package: no lock is held during the call.
func TestLogMayUseThePackage(t *testing.T) {
	defer tare.SetLog(nil, tare.LogDebug)
	sb := open(t)
	var once sync.Once
	seen := make(chan error, 1)
	tare.SetLog(func(_ tare.LogLevel, line string) {
		if strings.Contains(line, `"true" started`) {
			once.Do(func() { seen <- sb.Command("false").Start() })
		}
	}, tare.LogDebug)
	ok(t, sb.Command("true").Run())
	ok(t, <-seen)
}
