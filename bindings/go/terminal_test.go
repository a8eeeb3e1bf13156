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
	if err != nil {
		t.Fatal(err)
	}
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
	if err := terminal.Resize(50, 132); err != nil {
		t.Fatal(err)
	}
	if err := terminal.Resize(0, 132); !errors.Is(err, syscall.EINVAL) {
		t.Fatal(err)
	}
	if _, err := io.WriteString(terminal, "it\n"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"it", "got it", "50 132"} {
		if said := line(); said != want {
			t.Fatalf("%q, not %q", said, want)
		}
	}
	if _, err := io.WriteString(terminal, "\x04"); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(lines); err != nil || len(rest) != 0 {
		t.Fatalf("%q, %v", rest, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := terminal.Read(make([]byte, 1)); !errors.Is(err, os.ErrClosed) {
		t.Fatal(err)
	}
	if err := terminal.Resize(1, 1); !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
}

func TestATerminalThatIsNotReadDoesNotHoldUpWait(t *testing.T) {
	sb := open(t)
	ctx, cancel := context.WithCancel(context.Background())
	cmd := sb.CommandContext(ctx, "sh", "-c", "sleep 1000 & cat")
	terminal, err := cmd.StartTerminal(1, 1)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := cmd.Wait(); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	terminal.Close()
	taken := sb.Command("true")
	taken.Stdout = io.Discard
	if _, err := taken.StartTerminal(24, 80); err == nil {
		t.Fatal("a terminal beside a stream")
	}
	if _, err := sb.Command("true").StartTerminal(1<<16, 1); !errors.Is(err, syscall.EINVAL) {
		t.Fatal(err)
	}
}

func TestPidAndPidfdAreTheCommands(t *testing.T) {
	sb := open(t)
	cmd := sb.Command("sh", "-c", "echo up; sleep 1000 & wait")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// The kernel knows the arguments a moment after the exec.
	if _, err := io.ReadFull(out, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	pidfd, err := cmd.Process.Pidfd()
	if err != nil {
		t.Fatal(err)
	}
	defer pidfd.Close()
	pid, err := cmd.Process.Pid()
	if err != nil || pid <= 0 {
		t.Fatal(pid, err)
	}
	if words, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline")); err != nil || !bytes.Contains(words, []byte("echo up")) {
		t.Fatalf("%q, %v", words, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if state, err := cmd.Process.Wait(); err != nil || state.Reason() != "killed" {
		t.Fatal(state, err)
	}
	if _, err := cmd.Process.Pid(); !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	if _, err := cmd.Process.Pidfd(); !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	init, err := sb.Pidfd()
	if err != nil || init.Close() != nil {
		t.Fatal(err)
	}
}

// root is a root directory with a shell.
func root(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "root")
	if _, err := tare.Unpack(context.Background(), "oci:"+layout(t, shell(t)), dir, nil); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestCommandsInARootDirectory(t *testing.T) {
	ctx, dir := context.Background(), root(t)
	options := []tare.Option{tare.Store(t.TempDir()), tare.Env("A", "b"), tare.Output(1000)}
	cmd := tare.CommandIn(ctx, dir, options, "sh", "-c", "echo $A >/tmp/stays; cat /tmp/stays; pwd")
	if out, err := cmd.Output(); err != nil || string(out) != "b\n/\n" {
		t.Fatalf("%q, %v", out, err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "tmp/stays")); err != nil || string(text) != "b\n" {
		t.Fatalf("%q, %v", text, err)
	}
	var exit *tare.ExitError
	cut := tare.CommandIn(ctx, dir, options, "sh", "-c", "while :; do echo 0123456789; done")
	if out, err := cut.Output(); !errors.As(err, &exit) || exit.Reason() != "output" || len(out) != 1000 {
		t.Fatalf("%d bytes, %v", len(out), err)
	}
	stopped, cancel := context.WithCancel(ctx)
	waits := tare.CommandIn(stopped, dir, options, "cat")
	in, err := waits.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := waits.Start(); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := waits.Wait(); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := tare.CommandIn(ctx, filepath.Join(dir, "none"), options, "true").Run(); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	sb, err := tare.OpenIn(ctx, dir, options...)
	if err != nil {
		t.Fatal(err)
	}
	defer sb.Close()
	if text, err := sb.ReadFile("/tmp/stays"); err != nil || string(text) != "b\n" {
		t.Fatalf("%q, %v", text, err)
	}
}

func TestTheImagesOwnCommand(t *testing.T) {
	ctx := context.Background()
	sb, err := tare.Open(ctx, "oci:"+layout(t, shell(t)), tare.Store(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	defer sb.Close()
	for want, arg := range map[string][]string{"of the image\n": nil, "mine\n": {"echo mine"}} {
		if out, err := sb.ImageCommand(ctx, arg...).Output(); err != nil || string(out) != want {
			t.Errorf("%q, %v", out, err)
		}
	}
}
