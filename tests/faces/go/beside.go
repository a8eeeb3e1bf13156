// SPDX-License-Identifier: MIT OR Apache-2.0

package main

import (
	"io/fs"
	"strings"
	"time"
)

// hasBegun returns whether a command runs, and has made the file.
func (f *face) hasBegun(path string) bool {
	running, err := f.sandbox.Commands()
	check(err)
	_, err = fs.Stat(f.sandbox.FS(), strings.TrimPrefix(path, "/"))
	return len(running) == 1 && err == nil
}

// runBeside runs the next command in a goroutine, and ends the sandbox once the
// command has made the file.
func (f *face) runBeside(end, path string) {
	r := f.command()
	done := make(chan error, 1)
	go func() { done <- r.cmd.Run() }()
	for len(done) == 0 && !f.hasBegun(path) {
		time.Sleep(10 * time.Millisecond)
	}
	f.step(end, "")
	f.sayEnd(r, <-done)
}
