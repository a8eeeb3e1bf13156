// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare

import (
	"io/fs"
	"syscall"
)

// Error is a failure of libtare: what was being done to what, and what would cure it.
//
// It unwraps to a [syscall.Errno] where a system call failed, so that errors.Is(err, fs.ErrNotExist)
// and the like hold; what was closed is fs.ErrClosed. A command that failed is no Error but an [ExitError].
type Error struct {
	// Kind is coarse enough to branch on: invalid, not_found, exists, permission, unsupported,
	// corrupt, exhausted, busy, not_executable, broken, os, internal.
	Kind string
	// Step is what was being done, for example "mount overlay".
	Step string
	// Subject is what it was done to, for example `lowerdir "/x"`; may be empty.
	Subject string
	// Cure is the setting, package or command that would help; empty if none is known.
	Cure string
	// Errno is the error of the system call that failed; 0 if none did.
	Errno syscall.Errno

	message string
	closed  bool
}

// Error is all of it in one line.
func (e *Error) Error() string {
	if e == nil {
		return "<nil>"
	}
	return "tare: " + e.message
}

// Unwrap gives the errno, if a system call failed.
func (e *Error) Unwrap() error {
	if e == nil || e.Errno == 0 {
		return nil
	}
	return e.Errno
}

// Is tells kinds as the standard library's errors, also where no system call failed.
func (e *Error) Is(target error) bool {
	if e == nil {
		return false
	}
	switch target {
	case fs.ErrClosed:
		return e.closed
	case fs.ErrNotExist:
		return e.Kind == "not_found"
	case fs.ErrExist:
		return e.Kind == "exists"
	case fs.ErrPermission:
		return e.Kind == "permission"
	case fs.ErrInvalid:
		return e.Kind == "invalid"
	}
	return false
}
