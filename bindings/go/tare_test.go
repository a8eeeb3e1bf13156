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
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	tare "github.com/libtare/libtare/bindings/go"
	"github.com/libtare/libtare/bindings/go/taretest"
)

func open(t *testing.T, opts ...tare.Option) *tare.Sandbox {
	t.Helper()
	return taretest.Open(t, "host", append([]tare.Option{tare.Store(t.TempDir())}, opts...)...)
}

// isMachineRoot returns whether the caller is root of the machine. In a user
// namespace, uid 0 is an ordinary user.
func isMachineRoot(t *testing.T) bool {
	t.Helper()
	ids, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		t.Fatal(err)
	}
	return os.Getuid() == 0 && strings.Join(strings.Fields(string(ids)), " ") == "0 0 4294967295"
}

func TestOutputAndExitError(t *testing.T) {
	sb := open(t, tare.Env("A", "b c"), tare.Hostname("box"))
	out, err := sb.Command("sh", "-c", "echo $A; hostname; id -u").Output()
	if err != nil || string(out) != "b c\nbox\n0\n" {
		t.Fatalf("%q, %v", out, err)
	}
	out, err = sb.Command("sh", "-c", "echo out; echo err >&2; exit 7").Output()
	var exit *tare.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 7 || string(exit.Stderr) != "err\n" || string(out) != "out\n" {
		t.Fatalf("%q, %v", out, err)
	}
	if exit.Reason() != "exited" || exit.WallTime() <= 0 || err.Error() != "exit status 7" {
		t.Fatalf("%v", exit)
	}
	both, err := sb.Command("sh", "-c", "echo out; echo err >&2").CombinedOutput()
	if err != nil || string(both) != "out\nerr\n" {
		t.Fatalf("%q, %v", both, err)
	}
	err = sb.Command("sh", "-c", "kill -TERM $$").Run()
	if !errors.As(err, &exit) || exit.Signal() != syscall.SIGTERM || exit.Reason() != "signaled" || exit.ExitCode() != -1 {
		t.Fatalf("%v", err)
	}
}

func TestStreamsOfEveryKind(t *testing.T) {
	sb := open(t)
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	var out bytes.Buffer
	cmd := sb.Command("cat")
	cmd.Stdin, cmd.Stdout = bytes.NewReader(big), &out
	if err := cmd.Run(); err != nil || !bytes.Equal(out.Bytes(), big) {
		t.Fatalf("%d bytes, %v", out.Len(), err)
	}
	// A command may leave its input unread.
	cmd = sb.Command("true")
	cmd.Stdin = bytes.NewReader(big)
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	cmd = sb.Command("sh", "-c", "read x; echo got $x; cat <&3")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	from, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.ExtraFiles = []*os.File{r}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.Close()
	io.WriteString(in, "it\n")
	io.WriteString(w, "three")
	w.Close()
	in.Close()
	said, err := io.ReadAll(from)
	if err != nil || string(said) != "got it\nthree" {
		t.Fatalf("%q, %v", said, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestContextKillsAndTimeoutKeepsOutput(t *testing.T) {
	sb := open(t)
	ctx, cancel := context.WithCancel(context.Background())
	cmd := sb.CommandContext(ctx, "sh", "-c", "sleep 1000 & echo up; wait")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 3)
	if _, err := io.ReadFull(out, line); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := cmd.Wait(); !errors.Is(err, context.Canceled) || cmd.ProcessState.Reason() != "killed" {
		t.Fatalf("%v, %v", err, cmd.ProcessState)
	}
	if err := cmd.Process.Kill(); !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	if err := sb.CommandContext(ctx, "true").Run(); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	timed := sb.Command("sh", "-c", "echo part; sleep 1000")
	timed.Timeout = 300 * time.Millisecond
	part, err := timed.Output()
	var exit *tare.ExitError
	if !errors.As(err, &exit) || exit.Reason() != "timeout" || string(part) != "part\n" {
		t.Fatalf("%q, %v", part, err)
	}
}

func TestTimeoutOf0IsNoLimitAndANegativeOneIsRefused(t *testing.T) {
	sb := open(t)
	cmd := sb.Command("true")
	cmd.Timeout = 0
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	cmd = sb.Command("true")
	cmd.Timeout = -time.Second
	if err := cmd.Run(); !errors.Is(err, syscall.EINVAL) || !strings.Contains(err.Error(), "leaves a command no time") {
		t.Fatal(err)
	}
}

func TestErrorsAreTheStandardLibrarys(t *testing.T) {
	sb := open(t)
	err := sb.Command("/no/such/program").Run()
	var wrong *tare.Error
	if !errors.Is(err, fs.ErrNotExist) || !errors.As(err, &wrong) || wrong.Step != "execute" {
		t.Fatal(err)
	}
	if !errors.Is(err, syscall.ENOENT) {
		t.Fatal(err)
	}
	if _, err := sb.ReadFile("/no/such/file"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if _, err := sb.ReadFile("/a\x00b"); !errors.Is(err, syscall.EINVAL) {
		t.Fatal(err)
	}
	_, err = tare.Open(context.Background(), "host", tare.Store(t.TempDir()), tare.Spec("memroy", 1))
	if !errors.As(err, &wrong) || wrong.Kind != "invalid" || !errors.Is(err, fs.ErrInvalid) {
		t.Fatal(err)
	}
	_, err = tare.Open(context.Background(), "no-such-image", tare.Store(t.TempDir()))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}

func TestWhatIsClosedSaysSo(t *testing.T) {
	sb := open(t)
	files := sb.FS()
	sb.Close()
	if err := sb.Close(); err != nil {
		t.Fatal(err)
	}
	_, read := sb.ReadFile("/etc/passwd")
	_, opened := sb.OpenFile("/etc/passwd", os.O_RDONLY, 0)
	_, seen := fs.Stat(files, "etc")
	_, effective := sb.Effective()
	for _, err := range []error{
		sb.Command("true").Run(), sb.Reset(), sb.Remove("/etc/passwd"), read, opened, seen, effective,
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
	if err := sb.MkdirAll("/tmp/d/sub", 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"a": "", "b.txt": "hello", "sub/c": strings.Repeat("x", 1<<17)} {
		if err := sb.WriteFile("/tmp/d/"+name, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := sb.Command("ln", "-s", "b.txt", "/tmp/d/link").Run(); err != nil {
		t.Fatal(err)
	}
	below, err := fs.Sub(sb.FS(), "tmp/d")
	if err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(below, "a", "b.txt", "sub/c", "link"); err != nil {
		t.Fatal(err)
	}
	info, err := fs.Stat(sb.FS(), "tmp/d/b.txt")
	if err != nil || info.Mode() != 0o640 || info.Size() != 5 {
		t.Fatalf("%v, %v", info, err)
	}
	if err := sb.Reset(); err != nil {
		t.Fatal(err)
	}
	if _, err := fs.Stat(sb.FS(), "tmp/d"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}

func TestManyGoroutinesShareASandbox(t *testing.T) {
	sb := open(t)
	var all sync.WaitGroup
	for i := 0; i < 50; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			// Goroutines hop threads, and so do their calls.
			runtime.Gosched()
			if out, err := sb.Command("echo", "x").Output(); err != nil || string(out) != "x\n" {
				t.Errorf("%q, %v", out, err)
			}
		}()
	}
	all.Wait()
}

// Goroutines that are locked to their threads and end so: the threads end with
// them, even a thread that opened a sandbox in use by others.
func TestThreadsThatEndTakeNothingWithThem(t *testing.T) {
	store := tare.Store(t.TempDir())
	opened := make(chan *tare.Sandbox)
	const openers = 8
	for i := 0; i < openers; i++ {
		go func() {
			runtime.LockOSThread()
			sb, err := tare.Open(context.Background(), "host", store)
			if err != nil {
				t.Errorf("open: %v", err)
			}
			opened <- sb
		}()
	}
	var all sync.WaitGroup
	for i := 0; i < openers; i++ {
		sb := <-opened
		if sb == nil {
			continue
		}
		defer sb.Close()
		for j := 0; j < 4; j++ {
			all.Add(1)
			go func() {
				defer all.Done()
				runtime.LockOSThread()
				runtime.GC()
				if out, err := sb.Command("echo", "x").Output(); err != nil || string(out) != "x\n" {
					t.Errorf("%q, %v", out, err)
				}
			}()
		}
	}
	all.Wait()
}

func TestNothingIsLeft(t *testing.T) {
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	store := tare.Store(t.TempDir())
	once := func() {
		sb, err := tare.Open(context.Background(), "host", store)
		if err != nil {
			t.Fatal(err)
		}
		defer sb.Close()
		if _, err := sb.Command("echo", "x").Output(); err != nil {
			t.Fatal(err)
		}
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
	if err != nil || small.Close() != nil {
		t.Fatal(err)
	}
	pool, err := tare.OpenPool(ctx, "host", tare.PoolSize{Min: 2, Max: 4}, store, tare.Hostname("box"))
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		ready, err := pool.Ready()
		if err != nil || time.Now().After(deadline) {
			t.Fatal(ready, err)
		}
		if ready == 2 {
			break
		}
	}
	var takers sync.WaitGroup
	for n := 0; n < 8; n++ {
		takers.Add(1)
		go func() {
			defer takers.Done()
			for n := 0; n < 3; n++ {
				sb, err := pool.Take(ctx)
				if err != nil {
					t.Error(err)
					return
				}
				out, err := sb.Command("sh", "-c", "hostname; ls /dev/shm; echo >/dev/shm/used").Output()
				if err != nil || string(out) != "box\n" {
					t.Errorf("%q, %v", out, err)
				}
				if err := sb.Close(); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	takers.Wait()
	kept, err := pool.Take(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if pool.Close() != nil || pool.Close() != nil {
		t.Fatal("close")
	}
	_, err = pool.Ready()
	if _, taken := pool.Take(ctx); !errors.Is(taken, fs.ErrClosed) || !errors.Is(err, fs.ErrClosed) {
		t.Fatal(taken, err)
	}
	if err := kept.Command("true").Run(); err != nil {
		t.Fatal(err)
	}
	if err := kept.Close(); err != nil {
		t.Fatal(err)
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := tare.OpenPool(done, "host", tare.PoolSize{}, store); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestACommandIsOneCallIntoC(t *testing.T) {
	sb := open(t)
	for _, arg := range [][]string{nil, {"a"}, {"a", "b", strings.Repeat("c", 100000)}} {
		cmd := sb.Command("true", arg...)
		cmd.Env, cmd.Dir = []string{"A=b", "C=d"}, "/tmp"
		before := runtime.NumCgoCall()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if calls := runtime.NumCgoCall() - before; calls != 1 {
			t.Errorf("%d calls to start it with %d arguments", calls, len(arg))
		}
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
	}
}
