// SPDX-License-Identifier: MIT OR Apache-2.0

package main

import (
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

func sayStat(info fs.FileInfo, err error) {
	if !wentWell(err) {
		return
	}
	kind := map[fs.FileMode]string{0: "file", fs.ModeDir: "directory", fs.ModeSymlink: "symlink"}[info.Mode().Type()]
	fmt.Printf("> stat %s %o", kind, info.Mode().Perm())
	if info.Mode().IsRegular() {
		fmt.Printf(" %d", info.Size())
	}
	fmt.Println()
}

func (f *face) ofFile(word, path, rest string) bool {
	files := f.sandbox.FS()
	name := strings.TrimPrefix(path, "/")
	switch word {
	case "read":
		data, err := fs.ReadFile(files, name)
		if wentWell(err) {
			fmt.Println("> data " + escape(data))
		}
	case "write":
		mode, data, _ := strings.Cut(rest, " ")
		bits, err := strconv.ParseUint(mode, 8, 32)
		check(err)
		done(f.sandbox.WriteFile(path, []byte(unescape(data)), os.FileMode(bits)), "wrote")
	case "mkdir":
		bits, err := strconv.ParseUint(rest, 8, 32)
		check(err)
		done(f.sandbox.Mkdir(path, os.FileMode(bits)), "made")
	case "list":
		entries, err := fs.ReadDir(files, name)
		if wentWell(err) {
			fmt.Print("> list")
			for _, entry := range entries {
				fmt.Print(" ", entry.Name())
			}
			fmt.Println()
		}
	case "stat":
		sayStat(fs.Stat(files, name))
	case "lstat":
		links := files.(interface {
			Lstat(string) (fs.FileInfo, error)
		})
		sayStat(links.Lstat(name))
	case "remove":
		done(f.sandbox.Remove(path), "removed")
	case "remove_all":
		done(f.sandbox.RemoveAll(path), "removed")
	default:
		return false
	}
	return true
}
