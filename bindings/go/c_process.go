// SPDX-License-Identifier: MIT OR Apache-2.0

package tare

// #include <stdlib.h>
// #include <tare.h>
//
// /* The text at *at, NULL if it is empty; goes on to the next. */
// static const char *tare_go_text(const char **at) {
//     const char *text = *at;
//     while (*(*at)++) {}
//     return *text ? text : NULL;
// }
//
// /* Starts a command whose words are one piece of memory, each with its NUL: argv, env, cap_add, cap_drop, which have
//    counts, names of limits, directory, user, root. So all of it is one call from Go, which may pass no pointers to
//    pointers. With a store the sandbox is made for it. */
// static tare_error *tare_go_spawn(const tare_sandbox *sandbox, const tare_store *store, const char *spec, size_t spec_len,
//                                  tare_command *command, const char *words, const uint64_t counts[4],
//                                  const tare_fd *fds, tare_rlimit *rlimits, tare_process **out,
//                                  tare_process_fds *out_fds, uint64_t *id) {
//     tare_error *error;
//     const char *const **lists[] = {&command->argv, &command->env, &command->cap_add, &command->cap_drop};
//     const char **list = calloc(counts[0] + counts[1] + counts[2] + counts[3] + 4, sizeof *list), **next = list;
//     for (int n = 0; list && n < 4; n++, next++) {
//         *lists[n] = counts[n] ? next : NULL;
//         for (uint64_t left = counts[n]; left; left--) {
//             *next++ = words;
//             tare_go_text(&words);
//         }
//     }
//     if (list) {
//         for (uint64_t n = 0; n < command->rlimits_len; n++) {
//             rlimits[n].name = words;
//             tare_go_text(&words);
//         }
//         command->cwd = tare_go_text(&words);
//         command->user = tare_go_text(&words);
//     }
//     else command->flags = UINT64_MAX;
//     command->fds = fds;
//     command->rlimits = rlimits;
//     if (store) error = tare_spawn_in(store, tare_go_text(&words), spec, spec_len, command, out, out_fds);
//     else error = tare_sandbox_spawn(sandbox, command, out, out_fds);
//     if (!error) *id = tare_process_id(*out);
//     free(list);
//     return error;
// }
import "C"

import "unsafe"

type processHandle struct {
	c      *C.tare_process
	number C.uint64_t
}

// stream is where a standard stream of a command goes.
type stream struct {
	mode uint32
	fd   int32
}

const (
	streamNull   = C.TARE_STDIO_NULL
	streamFile   = C.TARE_STDIO_FD
	streamStdout = C.TARE_STDIO_STDOUT
	streamPipe   = C.TARE_STDIO_PIPE
)

// start is a command in the form of the library.
type start struct {
	argv, env             []string
	dir, user             string
	stdin, stdout, stderr stream
	extra                 []int
	timeout               uint64
	flags                 uint64
	rows, columns         uint32
	rlimits               map[string]Rlimit
	capAdd, capDrop       []string
	umask                 uint32
	// In this root directory, with this specification, in a sandbox for this
	// command alone.
	root string
	spec []byte
}

const (
	commandOfImage = C.TARE_COMMAND_OF_IMAGE
	commandUmask   = C.TARE_COMMAND_UMASK
)

// limited are the names of the limits, in no order.
func (s start) limited() []string {
	names := make([]string, 0, len(s.rlimits))
	for name := range s.rlimits {
		names = append(names, name)
	}
	return names
}

// descriptors are those of a command that was started; -1 for each that there
// is not. The pipes' are the caller's, the others the process's.
type descriptors struct{ status, pidfd, terminal, stdout, stderr int }

func (h sandboxHandle) spawn(s start) (processHandle, descriptors, error) {
	return spawn(h.c, nil, s)
}

func (h storeHandle) spawnIn(s start) (processHandle, descriptors, error) {
	return spawn(nil, h.c, s)
}

func spawn(sandbox *C.tare_sandbox, store *C.tare_store, s start) (processHandle, descriptors, error) {
	c := C.tare_command{size: C.sizeof_tare_command, flags: C.uint64_t(s.flags)}
	var words []byte
	limited := s.limited()
	lists := [][]string{s.argv, s.env, s.capAdd, s.capDrop, limited, {s.dir, s.user, s.root}}
	for _, list := range lists {
		for _, word := range list {
			words = append(append(words, word...), 0)
		}
	}
	c.stdin_mode, c.stdin_fd = C.uint32_t(s.stdin.mode), C.int32_t(s.stdin.fd)
	c.stdout_mode, c.stdout_fd = C.uint32_t(s.stdout.mode), C.int32_t(s.stdout.fd)
	c.stderr_mode, c.stderr_fd = C.uint32_t(s.stderr.mode), C.int32_t(s.stderr.fd)
	// An additional element, so that a first exists.
	fds := make([]C.tare_fd, len(s.extra)+1)
	for i, fd := range s.extra {
		fds[i] = C.tare_fd{fd: C.int32_t(fd), number: C.uint32_t(3 + i)}
	}
	c.fds_len = C.uint64_t(len(s.extra))
	rlimits := make([]C.tare_rlimit, len(limited)+1)
	for i, name := range limited {
		limit := s.rlimits[name]
		rlimits[i] = C.tare_rlimit{soft: C.uint64_t(limit.Soft), hard: C.uint64_t(limit.Hard)}
	}
	c.rlimits_len, c.umask = C.uint64_t(len(limited)), C.uint32_t(s.umask)
	c.timeout_ns = C.uint64_t(s.timeout)
	c.tty_rows, c.tty_columns = C.uint32_t(s.rows), C.uint32_t(s.columns)
	var p processHandle
	f := C.tare_process_fds{size: C.sizeof_tare_process_fds}
	var counts [4]C.uint64_t
	for i := range counts {
		counts[i] = C.uint64_t(len(lists[i]))
	}
	text := (*C.char)(unsafe.Pointer(&words[0]))
	var spec *C.char
	if len(s.spec) > 0 {
		spec = (*C.char)(unsafe.Pointer(&s.spec[0]))
	}
	err := wrong(C.tare_go_spawn(sandbox, store, spec, C.size_t(len(s.spec)), &c, text,
		&counts[0], &fds[0], &rlimits[0], &p.c, &f, &p.number))
	return p, descriptors{
		int(f.status_fd), int(f.pidfd), int(f.terminal_fd), int(f.stdout_fd), int(f.stderr_fd),
	}, err
}

// poll returns the status, with the reason running for a running command. Never
// waits.
func (h processHandle) poll() (status, error) {
	var s C.tare_status
	s.size = C.sizeof_tare_status
	err := wrong(C.tare_process_wait_timeout(h.c, 0, &s))
	return endOf(s), err
}

const reasonRunning = "running"

func endOf(s C.tare_status) status {
	reason := reasonRunning
	if s.reason != C.TARE_REASON_RUNNING {
		reason = C.GoString(C.tare_reason_name(s.reason))
	}
	return status{
		reason:     reason,
		exitCode:   int(s.exit_code),
		signal:     int(s.signal),
		coreDumped: s.core_dumped != 0,
		wall:       uint64(s.wall_ns),
		user:       uint64(s.user_us),
		system:     uint64(s.system_us),
		memoryPeak: uint64(s.memory_peak),
		ioRead:     uint64(s.io_read),
		ioWritten:  uint64(s.io_written),
		oomKills:   uint64(s.oom_kills),
	}
}

func (h processHandle) signal(n int) error {
	return wrong(C.tare_process_signal(h.c, C.int32_t(n)))
}

func (h processHandle) resize(rows, columns uint32) error {
	return wrong(C.tare_process_resize(h.c, C.uint32_t(rows), C.uint32_t(columns)))
}

// process finds a command by its number.
func (h sandboxHandle) process(id uint64) (processHandle, descriptors, error) {
	p := processHandle{number: C.uint64_t(id)}
	if err := wrong(C.tare_sandbox_process(h.c, C.uint64_t(id), &p.c)); err != nil {
		return p, descriptors{}, err
	}
	status, pidfd := C.tare_process_status_fd(p.c), C.tare_process_pidfd(p.c)
	return p, descriptors{int(status), int(pidfd), -1, -1, -1}, nil
}

func (h processHandle) id() uint64  { return uint64(h.number) }
func (h processHandle) kill() error { return wrong(C.tare_process_kill(h.c)) }
func (h processHandle) free()       { C.tare_process_free(h.c) }
