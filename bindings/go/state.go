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

// ProcessState is how a command ended, and what it used.
type ProcessState struct{ s status }

// Reason is exited, signaled, timeout, oom, output or killed.
func (p *ProcessState) Reason() string { return p.s.reason }

// ExitCode is the command's own; -1 if it did not end by itself.
func (p *ProcessState) ExitCode() int {
	if p.s.reason != "exited" {
		return -1
	}
	return p.s.exitCode
}

// Signal is the signal that ended the command; 0 if none did.
func (p *ProcessState) Signal() syscall.Signal { return syscall.Signal(p.s.signal) }

// Success says whether the command ended by itself with code 0.
func (p *ProcessState) Success() bool { return p.ExitCode() == 0 }

// WallTime is the time from its start to its end.
func (p *ProcessState) WallTime() time.Duration { return time.Duration(p.s.wall) }

// UserTime is the processor time of the command and its children outside of the kernel.
func (p *ProcessState) UserTime() time.Duration { return time.Duration(p.s.user) * time.Microsecond }

// SystemTime is their processor time in the kernel.
func (p *ProcessState) SystemTime() time.Duration {
	return time.Duration(p.s.system) * time.Microsecond
}

// unknown stands for a figure that is not known, as TARE_UNKNOWN does.
const unknown = ^uint64(0)

// MemoryPeak is the most memory in use at once while the command ran, in bytes: the sandbox's where a limit of memory
// counts it, else the largest process's. It is 0 where that is not known of this command alone: another ran in the
// sandbox at the same time, or the kernel cannot start the count anew (cgroup v2 before Linux 6.12) and it was not the
// first.
func (p *ProcessState) MemoryPeak() uint64 {
	if p.s.memoryPeak == unknown {
		return 0
	}
	return p.s.memoryPeak
}

// OOMKills is how many processes of the sandbox the kernel killed for want of memory while the command ran, its children
// included; -1 without a limit of memory, which counts them.
func (p *ProcessState) OOMKills() int {
	if p.s.oomKills == unknown {
		return -1
	}
	return int(p.s.oomKills)
}

// String is for example "exit status 1" or "signal: killed (timeout)".
func (p *ProcessState) String() string {
	if p.s.reason == "exited" {
		return fmt.Sprintf("exit status %d", p.s.exitCode)
	}
	core := ""
	if p.s.coreDumped {
		core = " (core dumped)"
	}
	if p.s.reason == "signaled" {
		return "signal: " + p.Signal().String() + core
	}
	return "signal: " + p.Signal().String() + core + " (" + p.s.reason + ")"
}

// ExitError is a command that did not succeed.
type ExitError struct {
	*ProcessState
	// Stderr is the last part of its standard error, if Output ran it and nobody else collected that.
	Stderr []byte
}

func (e *ExitError) Error() string { return e.ProcessState.String() }
