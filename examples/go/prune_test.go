// SPDX-License-Identifier: MIT OR Apache-2.0

// Tests of a script that deletes files, on this machine's own programs and
// without danger: each test has its own sandbox, and all of them run at once.
package example

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	tare "github.com/libtare/libtare/bindings/go"
	"github.com/libtare/libtare/bindings/go/taretest"
)

// sandbox has the script, and these files of increasing age.
func sandbox(t *testing.T, files ...string) *tare.Sandbox {
	t.Helper()
	t.Parallel()
	sb := taretest.Open(t, "host", tare.Workdir("/"))
	script, err := os.ReadFile("prune.sh")
	if err != nil {
		t.Fatal(err)
	}
	if err := sb.WriteFile("/prune.sh", script, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := sb.MkdirAll("/backups", 0o755); err != nil {
		t.Fatal(err)
	}
	for age, file := range files {
		touch := sb.Command("touch", "-d", fmt.Sprintf("%d days ago", age), "/backups/"+file)
		if out, err := touch.CombinedOutput(); err != nil {
			t.Fatalf("touch: %v: %s", err, out)
		}
	}
	return sb
}

// left returns the names in the directory, read without a command.
func left(t *testing.T, sb *tare.Sandbox) string {
	t.Helper()
	entries, err := fs.ReadDir(sb.FS(), "backups")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return strings.Join(names, " ")
}

func TestPrune(t *testing.T) {
	for name, test := range map[string]struct {
		files []string
		left  string
	}{
		"few":    {[]string{"a.bak", "b.bak"}, "a.bak b.bak"},
		"many":   {[]string{"e.bak", "d.bak", "c.bak", "b.bak", "a.bak"}, "c.bak d.bak e.bak"},
		"others": {[]string{"keep", "1.bak", "2.bak", "3.bak", "4.bak", "also"}, "1.bak 2.bak 3.bak also keep"},
		"odd":    {[]string{"a b.bak", "-rf.bak", "$x.bak", "*.bak"}, "$x.bak -rf.bak a b.bak"},
	} {
		test := test
		t.Run(name, func(t *testing.T) {
			sb := sandbox(t, test.files...)
			if out, err := sb.Command("/prune.sh", "/backups").CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if got := left(t, sb); got != test.left {
				t.Errorf("left: %q, want %q", got, test.left)
			}
		})
	}
}

func TestPruneWithoutDirectory(t *testing.T) {
	sb := sandbox(t)
	out, err := sb.Command("/prune.sh").CombinedOutput()
	var exit *tare.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(string(out), "usage: prune.sh DIRECTORY") {
		t.Errorf("%v: %s", err, out)
	}
}

// The script does its worst, and nothing is lost.
func TestEverythingMayBeDeleted(t *testing.T) {
	sb := sandbox(t, "a.bak")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if out, err := sb.CommandContext(ctx, "rm", "-rf", "/backups", "/etc", "/usr/share").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if _, err := fs.Stat(sb.FS(), "usr/share"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("inside: %v", err)
	}
	if _, err := os.Stat("/usr/share"); err != nil {
		t.Errorf("outside: %v", err)
	}
}
