// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare

import (
	"io/fs"
	"syscall"
)

// Error is a failure of libtare: the step, its subject, and the cure.
//
// For a failed system call, Error unwraps to a [syscall.Errno], so
// errors.Is(err, fs.ErrNotExist) and the like hold; closed objects give
// fs.ErrClosed. A failing command is no Error but an [ExitError].
type Error struct {
	// Kind is coarse enough to branch on: invalid, not_found, exists,
	// permission, unsupported, corrupt, exhausted, busy, not_executable,
	// broken, os, internal.
	Kind string
	// Step is the failed step, for example "mount overlay".
	Step string
	// Subject is the subject of the step, for example `lowerdir "/x"`; may be
	// empty.
	Subject string
	// Cure is the setting, package or command that would help; empty if
	// unknown.
	Cure string
	// Errno is the error of the failed system call, else 0.
	Errno syscall.Errno

	message string
	closed  bool
}

// Error returns the whole error as a line.
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

// Is tells kinds as the standard library's errors, also where no system call
// failed.
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
