// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"

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
		if err := cmd.Run(); !c.cut {
			ok(t, err)
		} else if exit := ended(t, err, "output"); exit.ExitCode() != -1 || exit.Signal() != syscall.SIGKILL {
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
	fails(t, cmd.Run(), syscall.EINVAL)
}

func TestOutputOfWhatStaysInTheBackgroundIsNotWaitedFor(t *testing.T) {
	out, err := open(t).Command("sh", "-c", "sleep 1000 & head -c 100000 /dev/zero; echo end").Output()
	if err != nil || len(out) != 100004 || !strings.HasSuffix(string(out), "end\n") {
		t.Fatalf("%d bytes, %v", len(out), err)
	}
}

// waiting starts a command that waits for the end of its input.
func waiting(t *testing.T, cmd *tare.Cmd) (*tare.Cmd, io.Closer) {
	t.Helper()
	in, err := cmd.StdinPipe()
	ok(t, err)
	ok(t, cmd.Start())
	return cmd, in
}

func TestProcessWaitsFromManyGoroutinesAndTellsAll(t *testing.T) {
	cmd, in := waiting(t, open(t).Command("cat"))
	if state, err := cmd.Process.Poll(); state != nil || err != nil {
		t.Fatal(state, err)
	}
	together(8, func(n int) {
		if n == 0 {
			if err := cmd.Process.Signal(syscall.Signal(0)); err != nil {
				t.Error(err)
			}
			in.Close()
		} else if state, err := cmd.Process.Wait(); err != nil || !state.Success() {
			t.Errorf("%v, %v", state, err)
		}
	})
	ok(t, cmd.Wait())
	state, err := cmd.Process.Poll()
	if err != nil || state != cmd.ProcessState {
		t.Fatal(state, err)
	}
	fails(t, cmd.Process.Signal(syscall.SIGTERM), os.ErrProcessDone)
}

// Two waits: a context ends the first; the second, and the command, go on.
func TestAContextEndsAWaitAndNotTheCommand(t *testing.T) {
	cmd, in := waiting(t, open(t).Command("cat"))
	ctx, cancel := context.WithCancel(context.Background())
	other := make(chan error, 1)
	go func() {
		state, err := cmd.Process.WaitContext(context.Background())
		if err == nil && !state.Success() {
			err = errors.New(state.String())
		}
		other <- err
	}()
	together(9, func(n int) {
		if n == 0 {
			cancel()
		} else if _, err := cmd.Process.WaitContext(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	if state, err := cmd.Process.Poll(); state != nil || err != nil {
		t.Fatal(state, err)
	}
	if _, err := cmd.Process.WaitContext(nil); err == nil {
		t.Fatal("a nil context")
	}
	in.Close()
	ok(t, <-other)
	// An end that was there before comes first.
	state, err := cmd.Process.WaitContext(ctx)
	if err != nil || !state.Success() {
		t.Fatal(state, err)
	}
	ok(t, cmd.Wait())
}

func TestProcessesOutOfReachAreFreed(t *testing.T) {
	sb := open(t)
	begin := func(name string, arg ...string) *tare.Process {
		cmd := sb.Command(name, arg...)
		ok(t, cmd.Start())
		return cmd.Process
	}
	held := tare.Handles()
	for n := 0; n < 20; n++ {
		begin("true")
	}
	// A wait in vain holds nothing.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	fails(t, errOf(begin("sleep", "1000").WaitContext(ctx)), context.Canceled)
	await(t, func() bool {
		runtime.GC()
		return tare.Handles() <= held
	})
}

func TestAReleasedProcessRunsOn(t *testing.T) {
	sb := open(t)
	file, err := os.CreateTemp(t.TempDir(), "")
	ok(t, err)
	defer file.Close()
	cmd := sb.Command("sh", "-c", "read x; echo told $x")
	in, err := cmd.StdinPipe()
	ok(t, err)
	cmd.Stdout = file
	ok(t, cmd.Start())
	ok(t, cmd.Process.Release())
	ok(t, cmd.Process.Release())
	if err := cmd.Process.Kill(); err == nil {
		t.Fatal("a released process was killed")
	}
	if _, err := cmd.Process.Wait(); err == nil {
		t.Fatal("a released process was waited for")
	}
	ok(t, errOf(in.Write([]byte("it\n"))))
	await(t, func() bool {
		said, err := os.ReadFile(file.Name())
		ok(t, err)
		return string(said) == "told it\n"
	})
}

// A goroutine, or the garbage collector, must not close descriptors under
// another goroutine.
func TestOneProcessIsUsedInEveryWayAtOnce(t *testing.T) {
	sb := open(t)
	for n := 0; n < 30; n++ {
		cmd := sb.Command("sh", "-c", "echo out; sleep 1000 & wait")
		var out bytes.Buffer
		cmd.Stdout = &out
		ok(t, cmd.Start())
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
		together(len(uses), func(n int) { uses[n]() })
		if err := p.Kill(); err == nil {
			t.Fatal("it was not ended")
		}
	}
}

func TestProcessIsFoundByItsNumber(t *testing.T) {
	sb := open(t)
	cmd := sb.Command("sleep", "60")
	ok(t, cmd.Start())
	id := cmd.Process.ID()
	running, err := sb.Commands()
	if err != nil || len(running) != 1 || running[0].ID != id || running[0].Argv[1] != "60" || running[0].Wall <= 0 {
		t.Fatalf("%+v: %v", running, err)
	}
	found, err := sb.Process(id)
	if err != nil || found.ID() != id {
		t.Fatal(err)
	}
	ok(t, found.Kill())
	state, err := found.Wait()
	if err != nil || state.Reason() != "killed" {
		t.Fatalf("%v: %v", state, err)
	}
	ended(t, cmd.Wait(), "killed")
	fails(t, errOf(sb.Process(id)), fs.ErrNotExist)
}
