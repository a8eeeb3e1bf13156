// SPDX-License-Identifier: MIT OR Apache-2.0

// Command tree lists a tree, or compares two lists.
//
//	tree list ROOT            a line each: path, type and mode, owner, group, size, device,
//	                          time, digest or target, attributes, first hard link
//	tree compare A B [no-owners] [no-links] [no-attributes] [no-capabilities] [no-devices] [no-root] [no-times]
//
// Mounts below ROOT are lines of their own, and stand for all that they hide.
package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

const fields = 10

type lister struct {
	root   string
	mounts map[string]bool
	inodes map[[2]uint64]string
	out    *bufio.Writer
}

func mounts() (map[string]bool, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) > 4 && words[4] != "/" {
			found[words[4]] = true
		}
	}
	return found, nil
}

func content(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)[:8]), nil
}

// Overlayfs keeps its own notes in attributes of a merged directory's layers.
func attributes(path string) (string, error) {
	names := make([]byte, 1<<16)
	n, err := syscall.Listxattr(path, names)
	if err == syscall.ENOTSUP {
		return "", nil
	}
	if err != nil {
		return "", &os.PathError{Op: "listxattr", Path: path, Err: err}
	}
	var found []string
	for _, name := range strings.Split(strings.TrimRight(string(names[:n]), "\x00"), "\x00") {
		if name == "" || name == "security.selinux" {
			continue
		}
		value := make([]byte, 1<<16)
		n, err := syscall.Getxattr(path, name, value)
		if err != nil {
			return "", &os.PathError{Op: "getxattr " + name, Path: path, Err: err}
		}
		found = append(found, name+"="+hex.EncodeToString(value[:n]))
	}
	slices.Sort(found)
	return strings.Join(found, ","), nil
}

func (l *lister) list(path string) error {
	name := "/" + strings.TrimLeft(strings.TrimPrefix(path, l.root), "/")
	if l.root == "/" && l.mounts[path] {
		_, err := fmt.Fprintf(l.out, "%s\tmount\n", strconv.QuoteToASCII(name))
		return err
	}
	var stat syscall.Stat_t
	if err := syscall.Lstat(path, &stat); err != nil {
		return &os.PathError{Op: "lstat", Path: path, Err: err}
	}
	kind := map[uint32]string{
		syscall.S_IFDIR: "d", syscall.S_IFREG: "f", syscall.S_IFLNK: "l",
		syscall.S_IFCHR: "c", syscall.S_IFBLK: "b", syscall.S_IFIFO: "p",
	}[stat.Mode&syscall.S_IFMT]
	size, device, time, what, attrs, first := int64(0), uint64(0), stat.Mtim.Sec, "", "", name
	var err error
	switch kind {
	case "f":
		size = stat.Size
		what, err = content(path)
	case "l":
		what, err = os.Readlink(path)
		stat.Mode &^= 0o777
	case "c", "b":
		device = stat.Rdev
	case "d":
		time = 0
	}
	if err == nil && (kind == "f" || kind == "d") {
		attrs, err = attributes(path)
	}
	if err != nil {
		return err
	}
	if kind != "d" {
		inode := [2]uint64{stat.Dev, stat.Ino}
		if known, ok := l.inodes[inode]; ok {
			first = known
		} else {
			l.inodes[inode] = name
		}
	}
	_, err = fmt.Fprintf(l.out, "%s\t%s%04o\t%d\t%d\t%d\t%#x\t%d\t%s\t%s\t%s\n", strconv.QuoteToASCII(name), kind,
		stat.Mode&0o7777, stat.Uid, stat.Gid, size, device, time, strconv.QuoteToASCII(what), attrs, strconv.QuoteToASCII(first))
	if err != nil || kind != "d" {
		return err
	}
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	names, err := dir.Readdirnames(-1)
	dir.Close()
	slices.Sort(names)
	for _, below := range names {
		if err == nil {
			err = l.list(filepath.Join(path, below))
		}
	}
	return err
}

func list(root string) error {
	below, err := mounts()
	if err != nil {
		return err
	}
	l := lister{filepath.Clean(root), below, map[[2]uint64]string{}, bufio.NewWriter(os.Stdout)}
	if err := l.list(l.root); err != nil {
		return err
	}
	return l.out.Flush()
}

type tree struct {
	mounts []string
	lines  map[string][]string
}

func read(file string) (tree, error) {
	text, err := os.ReadFile(file)
	t := tree{lines: map[string][]string{}}
	for line := range strings.Lines(string(text)) {
		words := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		switch len(words) {
		case 2:
			t.mounts = append(t.mounts, strings.Trim(words[0], `"`))
		case fields:
			t.lines[words[0]] = words
		default:
			return t, fmt.Errorf("%s: not a list: %q", file, line)
		}
	}
	return t, err
}

func hidden(name string, mounts []string) bool {
	name = strings.Trim(name, `"`)
	return slices.ContainsFunc(mounts, func(mount string) bool {
		return name == mount || strings.HasPrefix(name, mount+"/")
	})
}

// The columns that a flag leaves out.
var columns = map[string][]int{"no-owners": {2, 3}, "no-times": {6}, "no-attributes": {8}, "no-links": {9}}

// Returns the compared words of an entry, nil if there are none.
func compared(words, ignored []string) []string {
	if words == nil || slices.Contains(ignored, "no-devices") && strings.ContainsAny(words[1][:1], "cb") {
		return nil
	}
	words = slices.Clone(words)
	if slices.Contains(ignored, "no-capabilities") {
		words[8] = strings.Join(slices.DeleteFunc(strings.Split(words[8], ","), func(attribute string) bool {
			return strings.HasPrefix(attribute, "security.capability=")
		}), ",")
	}
	for _, flag := range ignored {
		for _, column := range columns[flag] {
			words[column] = ""
		}
	}
	return words
}

func compare(a, b string, ignored []string) error {
	one, err := read(a)
	if err != nil {
		return err
	}
	two, err := read(b)
	if err != nil {
		return err
	}
	mounts := slices.Concat(one.mounts, two.mounts)
	all := maps.Clone(one.lines)
	maps.Copy(all, two.lines)
	differences := 0
	for _, name := range slices.Sorted(maps.Keys(all)) {
		x, y := compared(one.lines[name], ignored), compared(two.lines[name], ignored)
		if name == `"/"` && slices.Contains(ignored, "no-root") {
			continue
		}
		if hidden(name, mounts) || slices.Equal(x, y) {
			continue
		}
		differences++
		fmt.Printf("- %s\n+ %s\n", strings.Join(x, " "), strings.Join(y, " "))
	}
	if differences > 0 || len(one.lines) < 2 {
		return fmt.Errorf("%d differences in %d lines", differences, len(one.lines))
	}
	return nil
}

func main() {
	var err error
	switch args := os.Args[1:]; {
	case len(args) == 2 && args[0] == "list":
		err = list(args[1])
	case len(args) >= 3 && args[0] == "compare":
		err = compare(args[1], args[2], args[3:])
	default:
		err = fmt.Errorf("see the head of tree.go")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tree:", err)
		os.Exit(1)
	}
}
