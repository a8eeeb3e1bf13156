// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	tare "github.com/libtare/libtare/bindings/go"
)

func TestOutputOverTheLimitEndsACommand(t *testing.T) {
	sb := open(t, tare.Output(1000))
	for _, c := range []struct {
		name, line string
		limit      int64
		cut        bool
		out, errs  int
	}{
		{"of the sandbox, one stream", "yes", 0, true, 1000, 0},
		{"of the command", "yes", 300, true, 300, 0},
		{"both streams together", "head -c 600 /dev/zero; head -c 300 /dev/zero >&2", 0, false, 600, 300},
		{"the second stream over", "head -c 600 /dev/zero; head -c 401 /dev/zero >&2; sleep 1000", 0, true, -1, -1},
		{"exactly", "head -c 1000 /dev/zero", 0, false, 1000, 0},
		{"one more, then an end by itself", "head -c 1001 /dev/zero", 0, true, 1000, 0},
		{"larger than the sandbox's", "head -c 5000 /dev/zero", 5000, false, 5000, 0},
	} {
		var out, errs bytes.Buffer
		cmd := sb.Command("sh", "-c", c.line)
		cmd.Stdout, cmd.Stderr, cmd.OutputLimit = &out, &errs, c.limit
		err := cmd.Run()
		var exit *tare.ExitError
		if c.cut != errors.As(err, &exit) || !c.cut && err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if c.cut && (exit.Reason() != "output" || exit.ExitCode() != -1 || exit.Signal() != syscall.SIGKILL) {
			t.Errorf("%s: %v", c.name, exit)
		}
		if state, err := cmd.Process.Wait(); err != nil || state != cmd.ProcessState {
			t.Errorf("%s: %v, %v", c.name, state, err)
		}
		if c.out >= 0 && (out.Len() != c.out || errs.Len() != c.errs) || c.out < 0 && out.Len()+errs.Len() != 1000 {
			t.Errorf("%s: %d and %d bytes", c.name, out.Len(), errs.Len())
		}
	}
	cmd := sb.Command("true")
	cmd.Stdout, cmd.OutputLimit = &bytes.Buffer{}, -1
	if err := cmd.Run(); !errors.Is(err, syscall.EINVAL) {
		t.Fatal(err)
	}
}

func TestOutputOfWhatStaysInTheBackgroundIsNotWaitedFor(t *testing.T) {
	sb := open(t)
	out, err := sb.Command("sh", "-c", "sleep 1000 & head -c 100000 /dev/zero; echo end").Output()
	if err != nil || len(out) != 100004 || !strings.HasSuffix(string(out), "end\n") {
		t.Fatalf("%d bytes, %v", len(out), err)
	}
}

func TestProcessWaitsFromManyGoroutinesAndTellsAll(t *testing.T) {
	sb := open(t)
	cmd := sb.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if state, err := cmd.Process.Poll(); state != nil || err != nil {
		t.Fatal(state, err)
	}
	var all sync.WaitGroup
	for n := 0; n < 8; n++ {
		all.Add(1)
		go func() {
			defer all.Done()
			if state, err := cmd.Process.Wait(); err != nil || !state.Success() {
				t.Errorf("%v, %v", state, err)
			}
		}()
	}
	if err := cmd.Process.Signal(syscall.Signal(0)); err != nil {
		t.Error(err)
	}
	in.Close()
	all.Wait()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	state, err := cmd.Process.Poll()
	if err != nil || state != cmd.ProcessState {
		t.Fatal(state, err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
}

// Two waits: a context ends the first; the second, and the command, go on.
func TestAContextEndsAWaitAndNotTheCommand(t *testing.T) {
	sb := open(t)
	cmd := sb.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended, other := make(chan error, 8), make(chan error, 1)
	for n := 0; n < cap(ended); n++ {
		go func() {
			_, err := cmd.Process.WaitContext(ctx)
			ended <- err
		}()
	}
	go func() {
		state, err := cmd.Process.WaitContext(context.Background())
		if err == nil && !state.Success() {
			err = errors.New(state.String())
		}
		other <- err
	}()
	cancel()
	for n := 0; n < cap(ended); n++ {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	if state, err := cmd.Process.Poll(); state != nil || err != nil {
		t.Fatal(state, err)
	}
	if _, err := cmd.Process.WaitContext(nil); err == nil {
		t.Fatal("a nil context")
	}
	in.Close()
	if err := <-other; err != nil {
		t.Fatal(err)
	}
	// An end that was there before comes first.
	state, err := cmd.Process.WaitContext(ctx)
	if err != nil || !state.Success() {
		t.Fatal(state, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestAProcessThatWasWaitedForInVainIsFreedOutOfReach(t *testing.T) {
	sb := open(t)
	held := tare.Handles()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	func() {
		cmd := sb.Command("sleep", "1000")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := cmd.Process.WaitContext(ctx); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}()
	for deadline := time.Now().Add(30 * time.Second); tare.Handles() > held; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d handles, then %d", held, tare.Handles())
		}
		runtime.GC()
	}
}

func TestAReleasedProcessRunsOn(t *testing.T) {
	sb := open(t)
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := sb.Command("sh", "-c", "read x; echo told $x")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = file
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if cmd.Process.Release() != nil || cmd.Process.Release() != nil {
		t.Fatal("release")
	}
	if err := cmd.Process.Kill(); err == nil {
		t.Fatal("a released process was killed")
	}
	if _, err := cmd.Process.Wait(); err == nil {
		t.Fatal("a released process was waited for")
	}
	if _, err := in.Write([]byte("it\n")); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		said, err := os.ReadFile(file.Name())
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("%q, %v", said, err)
		}
		if string(said) == "told it\n" {
			break
		}
	}
}

// A goroutine, or the garbage collector, must not close descriptors under
// another goroutine.
func TestOneProcessIsUsedInEveryWayAtOnce(t *testing.T) {
	sb := open(t)
	for n := 0; n < 30; n++ {
		cmd := sb.Command("sh", "-c", "echo out; sleep 1000 & wait")
		var out bytes.Buffer
		cmd.Stdout = &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		p := cmd.Process
		uses := []func(){
			func() { p.Wait() }, func() { p.Poll() }, func() { p.Pid() }, func() { p.Signal(syscall.SIGTERM) },
			func() { p.Kill() }, func() { cmd.Wait() }, runtime.GC, func() {
				if file, err := p.Pidfd(); err == nil {
					file.Close()
				}
			},
		}
		if n%3 == 0 {
			uses = append(uses, func() { p.Release() })
		}
		var all sync.WaitGroup
		for _, use := range uses {
			all.Add(1)
			go func(use func()) {
				defer all.Done()
				use()
			}(use)
		}
		all.Wait()
		if err := p.Kill(); err == nil {
			t.Fatal("it was not ended")
		}
	}
}

func TestProcessesOutOfReachAreFreed(t *testing.T) {
	sb := open(t)
	begin := func() {
		cmd := sb.Command("true")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
	}
	begin()
	held := tare.Handles()
	for n := 0; n < 20; n++ {
		begin()
	}
	for deadline := time.Now().Add(30 * time.Second); tare.Handles() > held; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d handles, then %d", held, tare.Handles())
		}
		runtime.GC()
	}
}

func TestProcessIsFoundByItsNumber(t *testing.T) {
	sb := open(t)
	cmd := sb.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	id := cmd.Process.ID()
	running, err := sb.Commands()
	if err != nil || len(running) != 1 || running[0].ID != id || running[0].Argv[1] != "60" || running[0].Wall <= 0 {
		t.Fatalf("%+v: %v", running, err)
	}
	found, err := sb.Process(id)
	if err != nil || found.ID() != id {
		t.Fatal(err)
	}
	if err := found.Kill(); err != nil {
		t.Fatal(err)
	}
	state, err := found.Wait()
	if err != nil || state.Reason() != "killed" {
		t.Fatalf("%v: %v", state, err)
	}
	var ended *tare.ExitError
	if err := cmd.Wait(); !errors.As(err, &ended) {
		t.Fatal(err)
	}
	if _, err := sb.Process(id); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}
