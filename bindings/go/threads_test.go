// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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
	ok(t, err)
	_, rest, found := strings.Cut(string(text), "\nThreads:")
	line, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.Atoi(strings.TrimSpace(line))
	if !found || err != nil {
		t.Fatalf("Threads in /proc/self/status: %v", err)
	}
	return n
}

// atOnce runs many commands at once: each is run by a call that reports its
// start; all wait until release is called. Go ends no idle thread, so the count
// at the end is the maximum.
func atOnce(t *testing.T, run func(n int, started func()) error, release func()) {
	t.Helper()
	before := threads(t)
	room := 5*runtime.GOMAXPROCS(0) + 8
	commands := 4 * room
	// For trying 1,000.
	if more, err := strconv.Atoi(os.Getenv("TARE_GO_COMMANDS")); err == nil {
		commands = more
	}
	var started, done sync.WaitGroup
	for n := 0; n < commands; n++ {
		started.Add(1)
		done.Add(1)
		go func(n int) {
			defer done.Done()
			var once sync.Once
			tell := func() { once.Do(started.Done) }
			defer tell()
			if err := run(n, tell); err != nil {
				t.Errorf("%d: %v", n, err)
			}
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

// writer is a writer that the package copies to.
type writer struct{ bytes.Buffer }

func TestCommandsThatRunHoldNoThreads(t *testing.T) {
	sb := open(t)
	says := func(n int, out fmt.Stringer, err error) error {
		if said := out.String(); err != nil || said != fmt.Sprintln(n) {
			return fmt.Errorf("%q, %w", said, err)
		}
		return nil
	}
	kinds := map[string]func(cmd *tare.Cmd, n int, started func()) error{
		"output that is kept": func(cmd *tare.Cmd, n int, started func()) error {
			var out bytes.Buffer
			cmd.Stdout = &out
			if err := cmd.Start(); err != nil {
				return err
			}
			started()
			return says(n, &out, cmd.Wait())
		},
		"output that is copied": func(cmd *tare.Cmd, n int, started func()) error {
			var out writer
			cmd.Stdout = &out
			if err := cmd.Start(); err != nil {
				return err
			}
			started()
			return says(n, &out, cmd.Wait())
		},
		"output that is read": func(cmd *tare.Cmd, n int, started func()) error {
			from, err := cmd.StdoutPipe()
			if err != nil {
				return err
			}
			if err := cmd.Start(); err != nil {
				return err
			}
			started()
			var out bytes.Buffer
			if _, err := out.ReadFrom(from); err != nil {
				return err
			}
			return says(n, &out, cmd.Wait())
		},
		"no output": func(cmd *tare.Cmd, n int, started func()) error {
			if err := cmd.Start(); err != nil {
				return err
			}
			started()
			return cmd.Wait()
		},
	}
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			hold, release, err := os.Pipe()
			ok(t, err)
			defer hold.Close()
			run := func(n int, started func()) error {
				cmd := sb.Command("sh", "-c", "read x; echo $0", strconv.Itoa(n))
				cmd.Stdin = hold
				return kind(cmd, n, started)
			}
			atOnce(t, run, func() { release.Close() })
		})
	}
}

func TestCommandsWithTerminalsHoldNoThreads(t *testing.T) {
	sb := open(t)
	release := make(chan struct{})
	run := func(n int, started func()) error {
		cmd := sb.Command("sh", "-c", "read x; echo got $x")
		terminal, err := cmd.StartTerminal(24, 80)
		if err != nil {
			return err
		}
		started()
		go func() {
			<-release
			fmt.Fprintln(terminal, n)
		}()
		out, err := io.ReadAll(terminal)
		if want := fmt.Sprintf("%d\r\ngot %d\r\n", n, n); err != nil || string(out) != want {
			return fmt.Errorf("%q, %w", out, err)
		}
		return cmd.Wait()
	}
	atOnce(t, run, func() { close(release) })
}

func TestAContextKillsManyAtOnceWithoutThreads(t *testing.T) {
	sb := open(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	run := func(n int, started func()) error {
		cmd := sb.CommandContext(ctx, "sleep", "1000")
		if err := cmd.Start(); err != nil {
			return err
		}
		started()
		if err := cmd.Wait(); !errors.Is(err, context.Canceled) {
			return fmt.Errorf("not cancelled: %w", err)
		}
		return nil
	}
	atOnce(t, run, cancel)
}
