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

// checkSpec gives a specification with every default filled in.
func checkSpec(spec []byte) ([]byte, error) {
	text := (*C.char)(C.CBytes(spec))
	defer C.free(unsafe.Pointer(text))
	var out *C.tare_bytes
	if err := wrong(C.tare_spec_check(text, C.size_t(len(spec)), &out)); err != nil {
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
