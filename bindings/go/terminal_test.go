// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	tare "github.com/libtare/libtare/bindings/go"
)

func TestATerminalIsTypedAtReadAndResized(t *testing.T) {
	sb := open(t)
	cmd := sb.Command("sh", "-c", "test -t 0 && test -t 1 && test -t 2 && stty size; read x; echo got $x; stty size; cat")
	terminal, err := cmd.StartTerminal(24, 80)
	ok(t, err)
	lines := bufio.NewReader(terminal)
	line := func() string {
		t.Helper()
		text, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("%q, %v", text, err)
		}
		return strings.TrimRight(text, "\r\n")
	}
	if said := line(); said != "24 80" {
		t.Fatal(said)
	}
	ok(t, terminal.Resize(50, 132))
	fails(t, terminal.Resize(0, 132), syscall.EINVAL)
	ok(t, errOf(io.WriteString(terminal, "it\n")))
	for _, want := range []string{"it", "got it", "50 132"} {
		if said := line(); said != want {
			t.Fatalf("%q, not %q", said, want)
		}
	}
	ok(t, errOf(io.WriteString(terminal, "\x04")))
	if rest, err := io.ReadAll(lines); err != nil || len(rest) != 0 {
		t.Fatalf("%q, %v", rest, err)
	}
	ok(t, cmd.Wait())
	fails(t, errOf(terminal.Read(make([]byte, 1))), os.ErrClosed)
	fails(t, terminal.Resize(1, 1), os.ErrProcessDone)
}

func TestATerminalThatIsNotReadDoesNotHoldUpWait(t *testing.T) {
	sb := open(t)
	ctx, cancel := context.WithCancel(context.Background())
	cmd := sb.CommandContext(ctx, "sh", "-c", "sleep 1000 & cat")
	terminal, err := cmd.StartTerminal(1, 1)
	ok(t, err)
	cancel()
	fails(t, cmd.Wait(), context.Canceled)
	terminal.Close()
	taken := sb.Command("true")
	taken.Stdout = io.Discard
	if _, err := taken.StartTerminal(24, 80); err == nil {
		t.Fatal("a terminal beside a stream")
	}
	fails(t, errOf(sb.Command("true").StartTerminal(1<<16, 1)), syscall.EINVAL)
}

func TestPidAndPidfdAreTheCommands(t *testing.T) {
	sb := open(t)
	cmd := sb.Command("sh", "-c", "echo up; sleep 1000 & wait")
	out, err := cmd.StdoutPipe()
	ok(t, err)
	ok(t, cmd.Start())
	// The kernel knows the arguments a moment after the exec.
	ok(t, errOf(io.ReadFull(out, make([]byte, 3))))
	pidfd, err := cmd.Process.Pidfd()
	ok(t, err)
	defer pidfd.Close()
	pid, err := cmd.Process.Pid()
	if err != nil || pid <= 0 {
		t.Fatal(pid, err)
	}
	if words, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline")); err != nil || !bytes.Contains(words, []byte("echo up")) {
		t.Fatalf("%q, %v", words, err)
	}
	ok(t, cmd.Process.Kill())
	if state, err := cmd.Process.Wait(); err != nil || state.Reason() != "killed" {
		t.Fatal(state, err)
	}
	fails(t, errOf(cmd.Process.Pid()), os.ErrProcessDone)
	fails(t, errOf(cmd.Process.Pidfd()), os.ErrProcessDone)
	init, err := sb.Pidfd()
	if err != nil || init.Close() != nil {
		t.Fatal(err)
	}
}

// root is a root directory with a shell.
func root(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "root")
	ok(t, errOf(tare.Unpack(context.Background(), "oci:"+layout(t, shell(t)), dir, nil)))
	return dir
}

func TestCommandsInARootDirectory(t *testing.T) {
	ctx, dir := context.Background(), root(t)
	options := []tare.Option{tare.Store(t.TempDir()), tare.Env("A", "b"), tare.Output(1000)}
	cmd := tare.CommandIn(ctx, dir, options, "sh", "-c", "echo $A >/tmp/stays; cat /tmp/stays; pwd")
	says(t, "b\n/\n")(cmd.Output())
	says(t, "b\n")(os.ReadFile(filepath.Join(dir, "tmp/stays")))
	var exit *tare.ExitError
	cut := tare.CommandIn(ctx, dir, options, "sh", "-c", "while :; do echo 0123456789; done")
	if out, err := cut.Output(); !errors.As(err, &exit) || exit.Reason() != "output" || len(out) != 1000 {
		t.Fatalf("%d bytes, %v", len(out), err)
	}
	stopped, cancel := context.WithCancel(ctx)
	waits := tare.CommandIn(stopped, dir, options, "cat")
	in, err := waits.StdinPipe()
	ok(t, err)
	defer in.Close()
	ok(t, waits.Start())
	cancel()
	fails(t, waits.Wait(), context.Canceled)
	fails(t, tare.CommandIn(ctx, filepath.Join(dir, "none"), options, "true").Run(), fs.ErrNotExist)
	sb, err := tare.OpenIn(ctx, dir, options...)
	ok(t, err)
	defer sb.Close()
	says(t, "b\n")(sb.ReadFile("/tmp/stays"))
}

func TestTheImagesOwnCommand(t *testing.T) {
	ctx := context.Background()
	sb, err := tare.Open(ctx, "oci:"+layout(t, shell(t)), tare.Store(t.TempDir()))
	ok(t, err)
	defer sb.Close()
	for want, arg := range map[string][]string{"of the image\n": nil, "mine\n": {"echo mine"}} {
		if out, err := sb.ImageCommand(ctx, arg...).Output(); err != nil || string(out) != want {
			t.Errorf("%q, %v", out, err)
		}
	}
}
