// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare

import (
	"fmt"
	"syscall"
	"time"
)

type status struct {
	reason             string
	exitCode, signal   int
	coreDumped         bool
	wall, user, system uint64
	memoryPeak         uint64
	ioRead, ioWritten  uint64
	oomKills           uint64
}

// none is the status of a running command.
var none = status{exitCode: -1, memoryPeak: unknown, oomKills: unknown}

// ProcessState is a command's end, and its usage.
type ProcessState struct{ s status }

// said is the status, also of nil and of a zero value.
func (p *ProcessState) said() status {
	if p == nil || p.s.reason == "" {
		return none
	}
	return p.s
}

// Reason is exited, signaled, timeout, oom, output or killed.
func (p *ProcessState) Reason() string { return p.said().reason }

// ExitCode is the command's own; -1 if a signal ended the command.
func (p *ProcessState) ExitCode() int {
	if p.Reason() != "exited" {
		return -1
	}
	return p.s.exitCode
}

// Signal is the signal that ended the command, else 0.
func (p *ProcessState) Signal() syscall.Signal { return syscall.Signal(p.said().signal) }

// Success says whether the command ended by itself with code 0.
func (p *ProcessState) Success() bool { return p.ExitCode() == 0 }

// WallTime is the time from start to end.
func (p *ProcessState) WallTime() time.Duration { return time.Duration(p.said().wall) }

// UserTime is the processor time of the command and its children outside of the
// kernel.
func (p *ProcessState) UserTime() time.Duration {
	return time.Duration(p.said().user) * time.Microsecond
}

// SystemTime is their processor time in the kernel.
func (p *ProcessState) SystemTime() time.Duration {
	return time.Duration(p.said().system) * time.Microsecond
}

// unknown stands for a figure that is not known, as TARE_UNKNOWN does.
const unknown = ^uint64(0)

// MemoryPeak is the most memory in use at once during the command, in bytes:
// the sandbox's if a limit of memory counts it, else the largest process's. The
// figure is 0 if it is not this command's alone: another ran in the sandbox at
// the same time, or the kernel cannot restart the count (cgroup v2 before Linux
// 6.12) and the command was not the first.
func (p *ProcessState) MemoryPeak() uint64 {
	if peak := p.said().memoryPeak; peak != unknown {
		return peak
	}
	return 0
}

// IORead is the number of bytes that the command and its children read from
// disks.
func (p *ProcessState) IORead() uint64 { return p.said().ioRead }

// IOWritten is how many bytes they wrote to disks.
func (p *ProcessState) IOWritten() uint64 { return p.said().ioWritten }

// OOMKills is the number of processes of the sandbox that the kernel killed for
// want of memory during the command, its children included; -1 without a limit
// of memory, which counts them.
func (p *ProcessState) OOMKills() int {
	if kills := p.said().oomKills; kills != unknown {
		return int(kills)
	}
	return -1
}

// String is for example "exit status 1" or "signal: killed (timeout)".
func (p *ProcessState) String() string {
	s := p.said()
	switch s.reason {
	case "":
		return "<nil>"
	case "exited":
		return fmt.Sprintf("exit status %d", s.exitCode)
	}
	text := "signal: " + p.Signal().String()
	if s.coreDumped {
		text += " (core dumped)"
	}
	if s.reason != "signaled" {
		text += " (" + s.reason + ")"
	}
	return text
}

// ExitError is a command that did not succeed.
type ExitError struct {
	*ProcessState
	// Stderr is the last part of standard error, if Output ran the command and
	// nothing else collected that.
	Stderr []byte
}

func (e *ExitError) Error() string { return e.state().String() }

// state is the embedded state, also of nil. The methods below replace those
// that Go would promote, because promoted methods panic for a nil e.
func (e *ExitError) state() *ProcessState {
	if e == nil {
		return nil
	}
	return e.ProcessState
}

// Reason is as of [ProcessState.Reason].
func (e *ExitError) Reason() string { return e.state().Reason() }

// ExitCode is as of [ProcessState.ExitCode].
func (e *ExitError) ExitCode() int { return e.state().ExitCode() }

// Signal is as of [ProcessState.Signal].
func (e *ExitError) Signal() syscall.Signal { return e.state().Signal() }

// Success is as of [ProcessState.Success].
func (e *ExitError) Success() bool { return e.state().Success() }

// WallTime is as of [ProcessState.WallTime].
func (e *ExitError) WallTime() time.Duration { return e.state().WallTime() }

// UserTime is as of [ProcessState.UserTime].
func (e *ExitError) UserTime() time.Duration { return e.state().UserTime() }

// SystemTime is as of [ProcessState.SystemTime].
func (e *ExitError) SystemTime() time.Duration { return e.state().SystemTime() }

// MemoryPeak is as of [ProcessState.MemoryPeak].
func (e *ExitError) MemoryPeak() uint64 { return e.state().MemoryPeak() }

// IORead is as of [ProcessState.IORead].
func (e *ExitError) IORead() uint64 { return e.state().IORead() }

// IOWritten is as of [ProcessState.IOWritten].
func (e *ExitError) IOWritten() uint64 { return e.state().IOWritten() }

// OOMKills is as of [ProcessState.OOMKills].
func (e *ExitError) OOMKills() int { return e.state().OOMKills() }

// String is as of [ProcessState.String].
func (e *ExitError) String() string { return e.state().String() }
