// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	tare "github.com/libtare/libtare/bindings/go"
)

func TestOutputAndExitError(t *testing.T) {
	sb := open(t, tare.Env("A", "b c"), tare.Hostname("box"))
	says(t, "b c\nbox\n0\n")(sb.Command("sh", "-c", "echo $A; hostname; id -u").Output())
	out, err := sb.Command("sh", "-c", "echo out; echo err >&2; exit 7").Output()
	exit := ended(t, err, "exited")
	if exit.ExitCode() != 7 || string(exit.Stderr) != "err\n" || string(out) != "out\n" ||
		exit.WallTime() <= 0 || err.Error() != "exit status 7" {
		t.Fatalf("%q, %v", out, err)
	}
	says(t, "out\nerr\n")(sb.Command("sh", "-c", "echo out; echo err >&2").CombinedOutput())
	exit = ended(t, sb.Command("sh", "-c", "kill -TERM $$").Run(), "signaled")
	if exit.Signal() != syscall.SIGTERM || exit.ExitCode() != -1 {
		t.Fatalf("%v", exit)
	}
}

func TestStreamsOfEveryKind(t *testing.T) {
	sb := open(t)
	cmd := sb.Command("sh", "-c", "read x; echo got $x; cat <&3")
	in, err := cmd.StdinPipe()
	ok(t, err)
	from, err := cmd.StdoutPipe()
	ok(t, err)
	r, w, err := os.Pipe()
	ok(t, err)
	cmd.ExtraFiles = []*os.File{r}
	ok(t, cmd.Start())
	r.Close()
	io.WriteString(in, "it\n")
	io.WriteString(w, "three")
	w.Close()
	in.Close()
	says(t, "got it\nthree")(io.ReadAll(from))
	ok(t, cmd.Wait())
}

func TestContextKillsAndTimeoutKeepsOutput(t *testing.T) {
	sb := open(t)
	ctx, cancel := context.WithCancel(context.Background())
	cmd := sb.CommandContext(ctx, "sh", "-c", "sleep 1000 & echo up; wait")
	out, err := cmd.StdoutPipe()
	ok(t, err)
	ok(t, cmd.Start())
	line := make([]byte, 3)
	ok(t, errOf(io.ReadFull(out, line)))
	cancel()
	if err := cmd.Wait(); !errors.Is(err, context.Canceled) || cmd.ProcessState.Reason() != "killed" {
		t.Fatalf("%v, %v", err, cmd.ProcessState)
	}
	fails(t, cmd.Process.Kill(), os.ErrProcessDone)
	fails(t, sb.CommandContext(ctx, "true").Run(), context.Canceled)
}

func TestNegativeTimeoutIsRefused(t *testing.T) {
	cmd := open(t).Command("true")
	cmd.Timeout = -time.Second
	if err := cmd.Run(); !errors.Is(err, syscall.EINVAL) || !strings.Contains(err.Error(), "leaves a command no time") {
		t.Fatal(err)
	}
}

func TestErrorsAreTheStandardLibrarys(t *testing.T) {
	sb := open(t)
	err := sb.Command("/no/such/program").Run()
	fails(t, err, fs.ErrNotExist)
	fails(t, err, syscall.ENOENT)
	fails(t, errOf(sb.ReadFile("/no/such/file")), fs.ErrNotExist)
	fails(t, errOf(sb.ReadFile("/a\x00b")), syscall.EINVAL)
	store := tare.Store(t.TempDir())
	fails(t, errOf(tare.Open(context.Background(), "host", store, tare.Spec("memroy", 1))), fs.ErrInvalid)
	fails(t, errOf(tare.Open(context.Background(), "no-such-image", store)), fs.ErrNotExist)
}

func TestWhatIsClosedSaysSo(t *testing.T) {
	sb := open(t)
	files := sb.FS()
	sb.Close()
	ok(t, sb.Close())
	for _, err := range []error{
		sb.Command("true").Run(), sb.Reset(), sb.Remove("/etc/passwd"), errOf(sb.ReadFile("/etc/passwd")),
		errOf(sb.OpenFile("/etc/passwd", os.O_RDONLY, 0)), errOf(fs.Stat(files, "etc")), errOf(sb.Effective()),
	} {
		var wrong *tare.Error
		if !errors.Is(err, fs.ErrClosed) || !errors.Is(err, os.ErrClosed) || !errors.As(err, &wrong) ||
			wrong.Error() != "tare: use sandbox: it was closed; try: open another" {
			t.Error(err)
		}
	}
	// An open sandbox reports other errors.
	_, err := open(t).ReadFile("")
	if err == nil || errors.Is(err, fs.ErrClosed) {
		t.Fatal(err)
	}
}

func TestFiles(t *testing.T) {
	sb := open(t)
	ok(t, sb.MkdirAll("/tmp/d/sub", 0o755))
	for name, text := range map[string]string{"a": "", "b.txt": "hello", "sub/c": strings.Repeat("x", 1<<17)} {
		ok(t, sb.WriteFile("/tmp/d/"+name, []byte(text), 0o640))
	}
	ok(t, sb.Command("ln", "-s", "b.txt", "/tmp/d/link").Run())
	below, err := fs.Sub(sb.FS(), "tmp/d")
	ok(t, err)
	ok(t, fstest.TestFS(below, "a", "b.txt", "sub/c", "link"))
	info, err := fs.Stat(sb.FS(), "tmp/d/b.txt")
	if err != nil || info.Mode() != 0o640 || info.Size() != 5 {
		t.Fatalf("%v, %v", info, err)
	}
	ok(t, sb.Reset())
	fails(t, errOf(fs.Stat(sb.FS(), "tmp/d")), fs.ErrNotExist)
}

func TestManyGoroutinesShareASandbox(t *testing.T) {
	sb := open(t)
	together(50, func(int) {
		// Goroutines hop threads, and so do their calls.
		runtime.Gosched()
		says(t, "x\n")(sb.Command("echo", "x").Output())
	})
}

// Goroutines that are locked to their threads and end so: the threads end with
// them, even a thread that opened a sandbox in use by others.
func TestThreadsThatEndTakeNothingWithThem(t *testing.T) {
	store := tare.Store(t.TempDir())
	var opened [8]*tare.Sandbox
	together(len(opened), func(n int) {
		runtime.LockOSThread()
		var err error
		if opened[n], err = tare.Open(context.Background(), "host", store); err != nil {
			t.Errorf("open: %v", err)
		}
	})
	together(4*len(opened), func(n int) {
		runtime.LockOSThread()
		runtime.GC()
		says(t, "x\n")(opened[n%len(opened)].Command("echo", "x").Output())
	})
	for _, sb := range opened {
		ok(t, sb.Close())
	}
}

func TestNothingIsLeft(t *testing.T) {
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		ok(t, err)
		return len(entries)
	}
	store := tare.Store(t.TempDir())
	once := func() {
		sb, err := tare.Open(context.Background(), "host", store)
		ok(t, err)
		defer sb.Close()
		ok(t, errOf(sb.Command("echo", "x").Output()))
	}
	once()
	// While the second is set up, the next is prestarted, which has two.
	once()
	before, held := count(), tare.Handles()
	for i := 0; i < 20; i++ {
		once()
	}
	if after := tare.Handles(); after > held {
		t.Fatalf("%d handles, then %d", held, after)
	}
	if after := count(); after > before {
		t.Fatalf("%d descriptors, then %d", before, after)
	}
}

func TestPoolGivesUnusedSandboxes(t *testing.T) {
	ctx := context.Background()
	store := tare.Store(t.TempDir())
	if _, err := tare.OpenPool(ctx, "host", tare.PoolSize{Min: 3, Max: 2}, store); err == nil {
		t.Fatal("bounds that cannot be")
	}
	small, err := tare.OpenPool(ctx, "host", tare.PoolSize{Min: 1}, store)
	ok(t, err)
	ok(t, small.Close())
	pool, err := tare.OpenPool(ctx, "host", tare.PoolSize{Min: 2, Max: 4}, store, tare.Hostname("box"))
	ok(t, err)
	await(t, func() bool {
		ready, err := pool.Ready()
		ok(t, err)
		return ready == 2
	})
	together(8, func(int) {
		for n := 0; n < 3; n++ {
			sb, err := pool.Take(ctx)
			if err != nil {
				t.Error(err)
				return
			}
			says(t, "box\n")(sb.Command("sh", "-c", "hostname; ls /dev/shm; echo >/dev/shm/used").Output())
			if err := sb.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	kept, err := pool.Take(ctx)
	ok(t, err)
	ok(t, pool.Close())
	ok(t, pool.Close())
	fails(t, errOf(pool.Ready()), fs.ErrClosed)
	fails(t, errOf(pool.Take(ctx)), fs.ErrClosed)
	ok(t, kept.Command("true").Run())
	ok(t, kept.Close())
	done, cancel := context.WithCancel(ctx)
	cancel()
	fails(t, errOf(tare.OpenPool(done, "host", tare.PoolSize{}, store)), context.Canceled)
}

func TestACommandIsOneCallIntoC(t *testing.T) {
	sb := open(t)
	for _, arg := range [][]string{nil, {"a"}, {"a", "b", strings.Repeat("c", 100000)}} {
		cmd := sb.Command("true", arg...)
		cmd.Env, cmd.Dir = []string{"A=b", "C=d"}, "/tmp"
		before := runtime.NumCgoCall()
		ok(t, cmd.Start())
		if calls := runtime.NumCgoCall() - before; calls != 1 {
			t.Errorf("%d calls to start it with %d arguments", calls, len(arg))
		}
		ok(t, cmd.Wait())
	}
}
