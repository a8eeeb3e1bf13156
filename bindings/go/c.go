// SPDX-License-Identifier: MIT OR Apache-2.0

// Package tare runs commands in fresh, isolated, disposable environments,
// without a daemon, as SQLite stores data without a server. The package feels
// like os/exec:
//
//	sb, err := tare.Open(ctx, "host", tare.Memory(256<<20))
//	if err != nil { ... }
//	defer sb.Close()
//	out, err := sb.CommandContext(ctx, "id", "-u").Output()
//
// The methods of [Sandbox] read and write files inside, [Sandbox.As] with the
// rights of a user inside. SetLog reports the actions of the library.
//
// The package calls libtare by cgo, found by pkg-config; with the build tag
// tare_static, CGO_CFLAGS and CGO_LDFLAGS name the places of tare.h and
// libtare.a.
package tare

// #cgo !tare_static pkg-config: tare
// #include <stdlib.h>
// #include <tare.h>
import "C"

import (
	"encoding/json"
	"strings"
	"syscall"
	"unsafe"
)

// wrong takes over an error of the library; nil for NULL.
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

// text is NULL for an empty string. A NUL would cut the string: the callers
// check.
func (a *arena) text(s string) *C.char {
	if s == "" {
		return nil
	}
	p := C.CString(s)
	*a = append(*a, unsafe.Pointer(p))
	return p
}

// call makes a call of the library, with texts that live as long.
func call(do func(a *arena) *C.tare_error) error {
	var a arena
	defer a.free()
	return wrong(do(&a))
}

// answer makes a call that returns bytes.
func answer(do func(a *arena, out **C.tare_bytes) *C.tare_error) ([]byte, error) {
	var out *C.tare_bytes
	if err := call(func(a *arena) *C.tare_error { return do(a, &out) }); err != nil {
		return nil, err
	}
	return taken(out), nil
}

// parsed reads the JSON of a call, unless the call failed.
func parsed[T any](said []byte, err error) (*T, error) {
	if err != nil {
		return nil, err
	}
	value := new(T)
	return value, json.Unmarshal(said, value)
}

func taken(b *C.tare_bytes) []byte {
	defer C.tare_bytes_free(b)
	return C.GoBytes(unsafe.Pointer(C.tare_bytes_data(b)), C.int(C.tare_bytes_len(b)))
}

type sandboxHandle struct{ c *C.tare_sandbox }
type poolHandle struct{ c *C.tare_pool }

// Version is the version of the library that is running.
func Version() string { return C.GoString(C.tare_version()) }

// Features are the library's built-in features: back ends, sources of images,
// compressions.
func Features() []string { return strings.Fields(C.GoString(C.tare_features())) }

// HasFeature returns whether a word is among Features.
func HasFeature(feature string) bool {
	var a arena
	defer a.free()
	return valid(feature) == nil && C.tare_has_feature(a.text(feature)) != 0
}

// handles is how many the library holds for this program.
func handles() uint64 { return uint64(C.tare_handle_count()) }

// Doctor examines this machine for the calling user and returns a JSON object.
func Doctor() ([]byte, error) { return doctor("") }

func doctor(store string) ([]byte, error) {
	return answer(func(a *arena, out **C.tare_bytes) *C.tare_error {
		return C.tare_doctor(a.text(store), out)
	})
}

// checkSpec gives a specification with every default filled in.
func checkSpec(spec []byte) ([]byte, error) {
	return answer(func(a *arena, out **C.tare_bytes) *C.tare_error {
		return C.tare_spec_check((*C.char)(a.bytes(spec)), C.size_t(len(spec)), out)
	})
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

func (h sandboxHandle) pidfd() (int, error) {
	var fd C.int32_t
	err := wrong(C.tare_sandbox_pidfd(h.c, &fd))
	return int(fd), err
}

func (h sandboxHandle) freeze() error { return wrong(C.tare_sandbox_freeze(h.c)) }
func (h sandboxHandle) thaw() error   { return wrong(C.tare_sandbox_thaw(h.c)) }

func (h sandboxHandle) setLimits(json []byte) error {
	text := C.CString(string(json))
	defer C.free(unsafe.Pointer(text))
	return wrong(C.tare_sandbox_set_limits(h.c, text, C.size_t(len(json))))
}

func (h sandboxHandle) usage() ([]byte, error) {
	return answer(func(_ *arena, out **C.tare_bytes) *C.tare_error { return C.tare_sandbox_usage(h.c, out) })
}

func (h sandboxHandle) commands() ([]byte, error) {
	return answer(func(_ *arena, out **C.tare_bytes) *C.tare_error { return C.tare_sandbox_commands(h.c, out) })
}

func (h sandboxHandle) effective() ([]byte, error) {
	return answer(func(_ *arena, out **C.tare_bytes) *C.tare_error { return C.tare_sandbox_effective(h.c, out) })
}
