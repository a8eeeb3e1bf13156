// SPDX-License-Identifier: MIT OR Apache-2.0

// Package tare runs commands in fresh, isolated, throwaway environments, without a daemon: it is to
// containers what SQLite is to databases. It feels like os/exec:
//
//	sb, err := tare.Open(ctx, "host", tare.Memory(256<<20))
//	if err != nil { ... }
//	defer sb.Close()
//	out, err := sb.CommandContext(ctx, "id", "-u").Output()
//
// It calls libtare by cgo, found by pkg-config; with the build tag tare_static, CGO_CFLAGS and
// CGO_LDFLAGS say where tare.h and libtare.a are.
package tare

// #cgo !tare_static pkg-config: tare
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
// /* Starts a command whose words are one piece of memory, each with its NUL: argv, env, directory, user. So all of it
//    is one call from Go, which may pass no pointers to pointers. */
// static tare_error *tare_go_spawn(const tare_sandbox *sandbox, tare_command *command, const char *words,
//                                  uint64_t argc, uint64_t envc, const tare_fd *fds, tare_process **out) {
//     const char **list = calloc(argc + envc + 2, sizeof *list);
//     for (uint64_t n = 0; list && n < argc + envc; n++) {
//         list[n < argc ? n : n + 1] = words;
//         tare_go_text(&words);
//     }
//     if (list) {
//         command->argv = list;
//         command->env = envc ? list + argc + 1 : NULL;
//         command->cwd = tare_go_text(&words);
//         command->user = tare_go_text(&words);
//     }
//     command->fds = fds;
//     tare_error *error = tare_sandbox_spawn(sandbox, command, out, NULL);
//     free(list);
//     return error;
// }
import "C"

import (
	"syscall"
	"unsafe"
)

// wrong takes over an error of the library; nil for none.
func wrong(e *C.tare_error) error {
	if e == nil {
		return nil
	}
	defer C.tare_error_free(e)
	return &Error{
		Kind:    C.GoString(C.tare_error_kind_name(e)),
		Step:    C.GoString(C.tare_error_step(e)),
		Subject: C.GoString(C.tare_error_subject(e)),
		Cure:    C.GoString(C.tare_error_cure(e)),
		Errno:   syscall.Errno(C.tare_error_errno(e)),
		message: C.GoString(C.tare_error_message(e)),
	}
}

// arena holds C memory for the time of a call.
type arena []unsafe.Pointer

func (a *arena) free() {
	for _, p := range *a {
		C.free(p)
	}
}

// text is NULL for an empty string. A NUL would cut it: the callers check for that.
func (a *arena) text(s string) *C.char {
	if s == "" {
		return nil
	}
	p := C.CString(s)
	*a = append(*a, unsafe.Pointer(p))
	return p
}

func taken(b *C.tare_bytes) []byte {
	defer C.tare_bytes_free(b)
	return C.GoBytes(unsafe.Pointer(C.tare_bytes_data(b)), C.int(C.tare_bytes_len(b)))
}

type storeHandle struct{ c *C.tare_store }
type sandboxHandle struct{ c *C.tare_sandbox }
type poolHandle struct{ c *C.tare_pool }
type processHandle struct{ c *C.tare_process }

// Version is the version of the library that is running.
func Version() string { return C.GoString(C.tare_version()) }

// Doctor looks at what this machine can do for the calling user: a JSON object.
func Doctor() ([]byte, error) {
	var out *C.tare_bytes
	if err := wrong(C.tare_doctor(nil, &out)); err != nil {
		return nil, err
	}
	return taken(out), nil
}

func openStore(path string) (storeHandle, error) {
	var a arena
	defer a.free()
	var h storeHandle
	err := wrong(C.tare_store_open(a.text(path), &h.c))
	return h, err
}

func (h storeHandle) free() { C.tare_store_free(h.c) }

func (h storeHandle) open(spec []byte) (sandboxHandle, error) {
	var s sandboxHandle
	text := (*C.char)(C.CBytes(spec))
	defer C.free(unsafe.Pointer(text))
	err := wrong(C.tare_sandbox_open(h.c, text, C.size_t(len(spec)), &s.c))
	return s, err
}

func (h storeHandle) openPool(spec []byte, size PoolSize) (poolHandle, error) {
	var p poolHandle
	text := (*C.char)(C.CBytes(spec))
	defer C.free(unsafe.Pointer(text))
	err := wrong(C.tare_pool_open(h.c, nil, text, C.size_t(len(spec)), C.uint64_t(size.Min), C.uint64_t(size.Max), &p.c))
	return p, err
}

func (h poolHandle) take() (sandboxHandle, error) {
	var s sandboxHandle
	err := wrong(C.tare_pool_take(h.c, &s.c))
	return s, err
}

func (h poolHandle) ready() (int, error) {
	var n C.uint64_t
	err := wrong(C.tare_pool_ready(h.c, &n))
	return int(n), err
}

func (h poolHandle) close() error { return wrong(C.tare_pool_close(h.c)) }
func (h poolHandle) free()        { C.tare_pool_free(h.c) }

func (h sandboxHandle) close() error { return wrong(C.tare_sandbox_close(h.c)) }
func (h sandboxHandle) free()        { C.tare_sandbox_free(h.c) }
func (h sandboxHandle) reset() error { return wrong(C.tare_sandbox_reset(h.c)) }

func (h sandboxHandle) effective() ([]byte, error) {
	var out *C.tare_bytes
	if err := wrong(C.tare_sandbox_effective(h.c, &out)); err != nil {
		return nil, err
	}
	return taken(out), nil
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

// start is a command as the library takes it.
type start struct {
	argv, env             []string
	dir, user             string
	stdin, stdout, stderr stream
	extra                 []int
	timeout               uint64
}

func (h sandboxHandle) spawn(s start) (processHandle, error) {
	c := C.tare_command{size: C.sizeof_tare_command}
	var words []byte
	for _, list := range [][]string{s.argv, s.env, {s.dir, s.user}} {
		for _, word := range list {
			words = append(append(words, word...), 0)
		}
	}
	c.stdin_mode, c.stdin_fd = C.uint32_t(s.stdin.mode), C.int32_t(s.stdin.fd)
	c.stdout_mode, c.stdout_fd = C.uint32_t(s.stdout.mode), C.int32_t(s.stdout.fd)
	c.stderr_mode, c.stderr_fd = C.uint32_t(s.stderr.mode), C.int32_t(s.stderr.fd)
	// One more, for there to be a first.
	fds := make([]C.tare_fd, len(s.extra)+1)
	for i, fd := range s.extra {
		fds[i] = C.tare_fd{fd: C.int32_t(fd), number: C.uint32_t(3 + i)}
	}
	c.fds_len = C.uint64_t(len(s.extra))
	c.timeout_ns = C.uint64_t(s.timeout)
	var p processHandle
	argc, envc := C.uint64_t(len(s.argv)), C.uint64_t(len(s.env))
	text := (*C.char)(unsafe.Pointer(&words[0]))
	err := wrong(C.tare_go_spawn(h.c, &c, text, argc, envc, &fds[0], &p.c))
	return p, err
}

func (h processHandle) wait() (status, error) {
	var s C.tare_status
	s.size = C.sizeof_tare_status
	err := wrong(C.tare_process_wait(h.c, &s))
	return endOf(s), err
}

// output waits, too, and gives what was written to the pipes that nobody took.
func (h processHandle) output() (s status, out, errs []byte, err error) {
	var o *C.tare_output
	if err = wrong(C.tare_process_output(h.c, &o)); err != nil {
		return
	}
	defer C.tare_output_free(o)
	var ended C.tare_status
	ended.size = C.sizeof_tare_status
	err = wrong(C.tare_output_status(o, &ended))
	var n C.size_t
	data := C.tare_output_stdout(o, &n)
	out = C.GoBytes(unsafe.Pointer(data), C.int(n))
	data = C.tare_output_stderr(o, &n)
	errs = C.GoBytes(unsafe.Pointer(data), C.int(n))
	return endOf(ended), out, errs, err
}

func endOf(s C.tare_status) status {
	return status{
		reason:     C.GoString(C.tare_reason_name(s.reason)),
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

func (h processHandle) kill() error { return wrong(C.tare_process_kill(h.c)) }
func (h processHandle) free()       { C.tare_process_free(h.c) }

func (h sandboxHandle) openFile(path string, flags int, mode uint32) (int, error) {
	var a arena
	defer a.free()
	var fd C.int32_t
	err := wrong(C.tare_file_open(h.c, a.text(path), C.int32_t(flags), C.uint32_t(mode), &fd))
	return int(fd), err
}

func (h sandboxHandle) readFile(path string) ([]byte, error) {
	var a arena
	defer a.free()
	var out *C.tare_bytes
	if err := wrong(C.tare_file_read(h.c, a.text(path), 0, &out)); err != nil {
		return nil, err
	}
	return taken(out), nil
}

func statOf(s C.tare_stat) stat {
	return stat{mode: uint32(s.mode), size: int64(s.bytes), mtime: int64(s.mtime), mtimeNs: int64(s.mtime_ns)}
}

func (h sandboxHandle) stat(path string, follow bool) (stat, error) {
	var a arena
	defer a.free()
	var s C.tare_stat
	s.size = C.sizeof_tare_stat
	flags := C.uint64_t(C.TARE_FILE_NO_FOLLOW)
	if follow {
		flags = 0
	}
	err := wrong(C.tare_file_stat(h.c, a.text(path), flags, &s))
	return statOf(s), err
}

func (h sandboxHandle) readlink(path string) (string, error) {
	var a arena
	defer a.free()
	var out *C.tare_bytes
	if err := wrong(C.tare_file_readlink(h.c, a.text(path), &out)); err != nil {
		return "", err
	}
	return string(taken(out)), nil
}

func (h sandboxHandle) list(path string) ([]entry, error) {
	var a arena
	defer a.free()
	var dir *C.tare_dir
	if err := wrong(C.tare_dir_open(h.c, a.text(path), &dir)); err != nil {
		return nil, err
	}
	defer C.tare_dir_free(dir)
	var all []entry
	for {
		var s C.tare_stat
		s.size = C.sizeof_tare_stat
		var name *C.char
		if err := wrong(C.tare_dir_next(dir, &s, &name)); err != nil {
			return nil, err
		}
		if name == nil {
			return all, nil
		}
		all = append(all, entry{name: C.GoString(name), stat: statOf(s)})
	}
}

func (h sandboxHandle) mkdir(path string, mode uint32, parents bool) error {
	var a arena
	defer a.free()
	flags := C.uint64_t(0)
	if parents {
		flags = C.TARE_FILE_PARENTS
	}
	return wrong(C.tare_file_mkdir(h.c, a.text(path), C.uint32_t(mode), flags))
}

// What may be removed.
const (
	removeFile      = 0
	removeDirectory = C.TARE_FILE_DIRECTORY
	removeTree      = C.TARE_FILE_TREE
)

func (h sandboxHandle) remove(path string, flags uint64) error {
	var a arena
	defer a.free()
	return wrong(C.tare_file_remove(h.c, a.text(path), C.uint64_t(flags)))
}
