// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	tare "github.com/libtare/libtare/bindings/go"
)

func TestFilesAreChangedAsByOS(t *testing.T) {
	sb := open(t)
	sys := func(info os.FileInfo) *syscall.Stat_t { return info.Sys().(*syscall.Stat_t) }
	stat := func(name string) os.FileInfo {
		t.Helper()
		info, err := sb.Lstat(name)
		ok(t, err)
		return info
	}
	then := time.Unix(1234567890, 987654321)
	for _, step := range []struct {
		name string
		do   func() error
		seen func() bool
	}{
		{"Mkdir", func() error { return sb.Mkdir("/tmp/f", 0o750) }, func() bool {
			return stat("/tmp/f").Mode() == fs.ModeDir|0o750
		}},
		{"WriteFile", func() error { return sb.WriteFile("/tmp/f/a", []byte("abc"), 0o604) }, func() bool {
			info := stat("/tmp/f/a")
			return info.Mode() == 0o604 && info.Size() == 3 && info.Name() == "a" && sys(info).Uid == 0 && sys(info).Nlink == 1
		}},
		{"WriteFile of nothing", func() error { return sb.WriteFile("/tmp/f/a", nil, 0o600) }, func() bool {
			return stat("/tmp/f/a").Size() == 0 && stat("/tmp/f/a").Mode() == 0o604
		}},
		{"Chmod", func() error { return sb.Chmod("/tmp/f/a", 0o711|os.ModeSetuid) }, func() bool {
			return stat("/tmp/f/a").Mode() == 0o711|os.ModeSetuid
		}},
		{"Chown", func() error { return sb.Chown("/tmp/f/a", 0, 0) }, func() bool {
			return stat("/tmp/f/a").Mode() == 0o711 && sys(stat("/tmp/f/a")).Gid == 0
		}},
		{"SetModTime", func() error { return sb.SetModTime("/tmp/f/a", then) }, func() bool {
			return stat("/tmp/f/a").ModTime().Equal(then)
		}},
		{"Symlink", func() error { return sb.Symlink("a", "/tmp/f/l") }, func() bool {
			to, err := sb.Readlink("/tmp/f/l")
			info, failed := sb.Stat("/tmp/f/l")
			return err == nil && to == "a" && stat("/tmp/f/l").Mode()&fs.ModeSymlink != 0 && failed == nil && info.Mode() == 0o711
		}},
		{"Link", func() error { return sb.Link("/tmp/f/a", "/tmp/f/b") }, func() bool {
			return sys(stat("/tmp/f/b")).Nlink == 2 && sys(stat("/tmp/f/b")).Ino == sys(stat("/tmp/f/a")).Ino
		}},
		{"Rename", func() error { return sb.Rename("/tmp/f/b", "/tmp/f/c") }, func() bool {
			_, err := sb.Stat("/tmp/f/b")
			return stat("/tmp/f/c").Name() == "c" && errors.Is(err, fs.ErrNotExist)
		}},
		{"ReadDir", func() error { return nil }, func() bool {
			entries, err := sb.ReadDir("/tmp/f")
			names := []string{}
			for _, entry := range entries {
				names = append(names, entry.Name())
			}
			return err == nil && strings.Join(names, " ") == "a c l" && entries[2].Type() == fs.ModeSymlink
		}},
		{"Remove", func() error { return sb.Remove("/tmp/f/c") }, func() bool { return sys(stat("/tmp/f/a")).Nlink == 1 }},
		{"RemoveAll", func() error { return sb.RemoveAll("/tmp/f") }, func() bool {
			_, err := sb.Lstat("/tmp/f")
			return errors.Is(err, fs.ErrNotExist)
		}},
	} {
		if err := step.do(); err != nil || !step.seen() {
			t.Fatalf("%s: %v", step.name, err)
		}
	}
}

// Every way to a file respects the rights of the user, and new files belong to
// the user.
func TestFilesAsAUserHaveTheRightsOfTheUser(t *testing.T) {
	sb, here := open(t), t.TempDir()
	for _, name := range []string{"/tmp/own", "/tmp/shut"} {
		ok(t, sb.Mkdir(name, 0o777))
	}
	for name, text := range map[string]string{"/tmp/own/a": "text", "/tmp/shut/a": "secret"} {
		ok(t, sb.WriteFile(name, []byte(text), 0o600))
	}
	for _, name := range []string{"/tmp/own", "/tmp/shut"} {
		ok(t, sb.Chmod(name, 0o700))
	}
	owner := "7"
	if err := sb.Chown("/tmp/own", 7, 7); errors.Is(err, syscall.EINVAL) {
		// In a sandbox with a single id, no other user's rights exist.
		fails(t, errOf(sb.As(owner).ReadDir("/tmp")), syscall.EINVAL)
		owner = "0"
	} else {
		ok(t, err)
		ok(t, sb.Chown("/tmp/own/a", 7, 7))
	}
	as := sb.As(owner)
	says(t, "text")(as.ReadFile("/tmp/own/a"))
	says(t, "text")(fs.ReadFile(as.FS(), "tmp/own/a"))
	ok(t, as.WriteFile("/tmp/own/made", []byte("x"), 0o640))
	made, err := as.Stat("/tmp/own/made")
	if err != nil || fmt.Sprint(made.Sys().(*syscall.Stat_t).Uid) != owner {
		t.Fatal(made, err)
	}
	if report, err := as.Get("/tmp/own", filepath.Join(here, "out")); err != nil || report.Entries != 3 {
		t.Fatalf("%+v, %v", report, err)
	}
	if owner == "0" {
		return
	}
	for name, call := range map[string]func(string) error{
		"ReadFile":  func(name string) error { return errOf(as.ReadFile(name)) },
		"WriteFile": func(name string) error { return as.WriteFile(name, nil, 0) },
		"OpenFile":  func(name string) error { return errOf(as.OpenFile(name, os.O_RDONLY, 0)) },
		"Stat":      func(name string) error { return errOf(as.Stat(name)) },
		"FS":        func(name string) error { return errOf(as.FS().Open(name[1:])) },
		"Chmod":     func(name string) error { return as.Chmod(name, 0) },
		"Remove":    as.Remove,
		"RemoveAll": as.RemoveAll,
		"Symlink":   func(name string) error { return as.Symlink("x", name+"x") },
		"Put":       func(name string) error { return errOf(as.Put(os.DevNull, name+"x")) },
		"GetTar":    func(name string) error { return errOf(as.GetTar(name, io.Discard)) },
	} {
		if err := call("/tmp/shut/a"); !errors.Is(err, fs.ErrPermission) && name != "Put" {
			t.Errorf("%s: %v", name, err)
		}
	}
	says(t, "secret")(sb.ReadFile("/tmp/shut/a"))
}

func TestUsersAreLookedUp(t *testing.T) {
	sb := open(t)
	if uid, gid, err := sb.UserIDs("root"); uid != 0 || gid != 0 || err != nil {
		t.Fatal(uid, gid, err)
	}
	held := tare.Handles()
	for user, expected := range map[string]error{
		"no-such-user": fs.ErrNotExist, "4294967295": fs.ErrInvalid, "": fs.ErrInvalid, "a\x00b": syscall.EINVAL,
	} {
		if _, _, err := sb.UserIDs(user); !errors.Is(err, expected) {
			t.Errorf("%q: %v", user, err)
		}
		if _, err := sb.As(user).ReadFile("/etc/passwd"); !errors.Is(err, expected) {
			t.Errorf("as %q: %v", user, err)
		}
	}
	if tare.Handles() != held {
		t.Fatalf("%d handles, then %d", held, tare.Handles())
	}
	ok(t, sb.Close())
	fails(t, errOf(sb.As("root").ReadFile("/etc/passwd")), fs.ErrClosed)
}

func TestErrorsOfFilesNameThem(t *testing.T) {
	sb := open(t)
	calls := map[string]func(string) error{
		"Stat":       func(name string) error { return errOf(sb.Stat(name)) },
		"Lstat":      func(name string) error { return errOf(sb.Lstat(name)) },
		"ReadDir":    func(name string) error { return errOf(sb.ReadDir(name)) },
		"Readlink":   func(name string) error { return errOf(sb.Readlink(name)) },
		"ReadFile":   func(name string) error { return errOf(sb.ReadFile(name)) },
		"WriteFile":  func(name string) error { return sb.WriteFile(name, nil, 0) },
		"Mkdir":      func(name string) error { return sb.Mkdir(name, 0) },
		"Chmod":      func(name string) error { return sb.Chmod(name, 0) },
		"Chown":      func(name string) error { return sb.Chown(name, 0, 0) },
		"SetModTime": func(name string) error { return sb.SetModTime(name, time.Now()) },
		"Remove":     func(name string) error { return sb.Remove(name) },
		"RemoveAll":  func(name string) error { return sb.RemoveAll(name) },
		"Rename":     func(name string) error { return sb.Rename(name, name+"x") },
		"Link":       func(name string) error { return sb.Link(name, "/tmp/x") },
		"Symlink":    func(name string) error { return sb.Symlink("x", name) },
		"Put":        func(name string) error { return errOf(sb.Put(os.DevNull, name)) },
		"Get":        func(name string) error { return errOf(sb.Get(name, "/nowhere")) },
		"PutTar":     func(name string) error { return errOf(sb.PutTar(name, strings.NewReader(""))) },
		"GetTar":     func(name string) error { return errOf(sb.GetTar(name, io.Discard)) },
	}
	for name, call := range calls {
		// A device cannot be put.
		if err := call("/none/below"); !errors.Is(err, fs.ErrNotExist) && name != "Put" {
			t.Errorf("%s: %v", name, err)
		} else if err != nil && !strings.Contains(err.Error(), "/none/below") {
			t.Errorf("%s does not name its file: %v", name, err)
		}
		if err := call("/a\x00b"); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%s with a NUL: %v", name, err)
		}
	}
	for _, id := range []int{-1, 1 << 32} {
		if err := sb.Chown("/tmp", id, 0); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("chown to %d: %v", id, err)
		}
	}
}

func TestTreesGoInAndOut(t *testing.T) {
	sb, here := open(t), t.TempDir()
	ok(t, os.MkdirAll(filepath.Join(here, "in/sub"), 0o755))
	ok(t, os.WriteFile(filepath.Join(here, "in/sub/a"), []byte("text"), 0o640))
	ok(t, syscall.Mkfifo(filepath.Join(here, "in/fifo"), 0o600))
	report, err := sb.Put(filepath.Join(here, "in"), "/tmp/in")
	if err != nil || report.Entries != 3 || len(report.LeftOut) != 1 || !strings.Contains(report.LeftOut[0], "fifo") {
		t.Fatalf("%+v, %v", report, err)
	}
	says(t, "text")(sb.ReadFile("/tmp/in/sub/a"))
	report, err = sb.Get("/tmp/in", filepath.Join(here, "out"))
	if err != nil || report.Entries != 3 || len(report.LeftOut) != 0 {
		t.Fatalf("%+v, %v", report, err)
	}
	says(t, "text")(os.ReadFile(filepath.Join(here, "out/sub/a")))
	fails(t, errOf(sb.Get("/tmp/in", filepath.Join(here, "out"))), syscall.ENOTEMPTY)
}

var errOfTest = errors.New("of the test")

// broken fails to read, and to write, after some bytes.
type broken struct{ left int }

func (b *broken) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errOfTest
	}
	b.left--
	return copy(p, "x"), nil
}

func (b *broken) Write(p []byte) (int, error) { return 0, errOfTest }

func TestArchivesGoInAndOutByAnyReaderAndWriter(t *testing.T) {
	sb, here := open(t), t.TempDir()
	text := strings.Repeat("0123456789", 100000)
	archive := layerOf(t, file{name: "a", mode: 0o600, data: []byte(text)})
	file := filepath.Join(here, "a.tar")
	ok(t, os.WriteFile(file, archive, 0o600))
	opened, err := os.Open(file)
	ok(t, err)
	defer opened.Close()
	for name, from := range map[string]io.Reader{"memory": bytes.NewReader(archive), "file": opened} {
		ok(t, sb.MkdirAll("/tmp/"+name, 0o700))
		if report, err := sb.PutTar("/tmp/"+name, from); err != nil || report.Entries != 1 {
			t.Fatalf("%s: %+v, %v", name, report, err)
		}
		if read, err := sb.ReadFile("/tmp/" + name + "/a"); err != nil || string(read) != text {
			t.Fatalf("%s: %d bytes, %v", name, len(read), err)
		}
	}
	made, err := os.Create(filepath.Join(here, "b.tar"))
	ok(t, err)
	defer made.Close()
	var memory bytes.Buffer
	for name, to := range map[string]io.Writer{"memory": &memory, "file": made} {
		if report, err := sb.GetTar("/tmp/file", to); err != nil || report.Entries != 2 {
			t.Fatalf("%s: %+v, %v", name, report, err)
		}
	}
	written, err := os.ReadFile(made.Name())
	if err != nil || !bytes.Equal(written, memory.Bytes()) {
		t.Fatalf("%d and %d bytes, %v", len(written), memory.Len(), err)
	}
	names := map[string]bool{}
	for reader := tar.NewReader(&memory); ; {
		header, err := reader.Next()
		if err == io.EOF {
			break
		}
		ok(t, err)
		names[header.Name] = true
	}
	if !names["a"] {
		t.Fatal(names)
	}
	fails(t, errOf(sb.PutTar("/tmp/file", &broken{left: 700})), errOfTest)
	// Larger than a pipe, so that the library sees that the reader is gone.
	fails(t, errOf(sb.GetTar("/tmp/file", &broken{})), errOfTest)
	failsAs(t, errOf(sb.PutTar("/tmp/file", strings.NewReader(strings.Repeat("x", 1<<20)))), "corrupt")
	fails(t, errOf(sb.PutTar("/tmp/file", nil)), syscall.EINVAL)
	fails(t, errOf(sb.GetTar("/tmp/file", nil)), syscall.EINVAL)
}
