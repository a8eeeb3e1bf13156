// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	tare "github.com/libtare/libtare/bindings/go"
)

// threads is how many this process has.
func threads(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "\nThreads:")
	line, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.Atoi(strings.TrimSpace(line))
	if !found || err != nil {
		t.Fatalf("Threads in /proc/self/status: %v", err)
	}
	return n
}

// atOnce has many commands run at once: each is made by begin, and started; all wait until release is called.
// Go ends no thread that has nothing to do, so the count at the end is the largest there was.
func atOnce(t *testing.T, begin func(n int) *tare.Cmd, release func(), ended func(n int, err error)) {
	t.Helper()
	before := threads(t)
	room := 5*runtime.GOMAXPROCS(0) + 8
	commands := 4 * room
	// To see how it goes with 1,000.
	if more, err := strconv.Atoi(os.Getenv("TARE_GO_COMMANDS")); err == nil {
		commands = more
	}
	var started, done sync.WaitGroup
	for n := 0; n < commands; n++ {
		started.Add(1)
		done.Add(1)
		go func(n int) {
			defer done.Done()
			cmd := begin(n)
			err := cmd.Start()
			started.Done()
			if err == nil {
				err = cmd.Wait()
			}
			ended(n, err)
		}(n)
	}
	started.Wait()
	during := threads(t)
	release()
	done.Wait()
	after := threads(t)
	t.Logf("%d commands: %d threads, %d while they run, %d after", commands, before, during, after)
	if after-before > room {
		t.Errorf("%d commands took %d threads, with %d processors", commands, after-before, runtime.GOMAXPROCS(0))
	}
}

func TestCommandsThatRunHoldNoThreads(t *testing.T) {
	sb := open(t)
	hold, release, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Close()
	var mu sync.Mutex
	outputs := map[int]*bytes.Buffer{}
	begin := func(n int) *tare.Cmd {
		cmd := sb.Command("sh", "-c", "read x; echo $0", strconv.Itoa(n))
		out := &bytes.Buffer{}
		cmd.Stdin, cmd.Stdout = hold, out
		mu.Lock()
		defer mu.Unlock()
		outputs[n] = out
		return cmd
	}
	atOnce(t, begin, func() { release.Close() }, func(n int, err error) {
		mu.Lock()
		defer mu.Unlock()
		if said := outputs[n].String(); err != nil || said != fmt.Sprintln(n) {
			t.Errorf("%d: %q, %v", n, said, err)
		}
	})
}

func TestAContextKillsManyAtOnceWithoutThreads(t *testing.T) {
	sb := open(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	begin := func(int) *tare.Cmd { return sb.CommandContext(ctx, "sleep", "1000") }
	atOnce(t, begin, cancel, func(n int, err error) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%d: %v", n, err)
		}
	})
}
