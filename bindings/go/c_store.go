// SPDX-License-Identifier: MIT OR Apache-2.0

package tare

// #include <stdlib.h>
// #include <tare.h>
import "C"

import "unsafe"

type storeHandle struct{ c *C.tare_store }

func openStore(path string) (storeHandle, error) {
	var a arena
	defer a.free()
	var h storeHandle
	err := wrong(C.tare_store_open(a.text(path), &h.c))
	return h, err
}

func (h storeHandle) free() { C.tare_store_free(h.c) }

func (h storeHandle) path() string { return C.GoString(C.tare_store_path(h.c)) }

func (h storeHandle) recover() (Recovered, error) {
	r := C.tare_recovered{size: C.sizeof_tare_recovered}
	err := wrong(C.tare_store_recover(h.c, &r))
	return Recovered{Scratch: int(r.scratch), Cgroups: int(r.cgroups), Left: int(r.left)}, err
}

func (h storeHandle) list() ([]byte, error) {
	var out *C.tare_bytes
	if err := wrong(C.tare_store_list(h.c, &out)); err != nil {
		return nil, err
	}
	return taken(out), nil
}

func (h storeHandle) tag(reference, name string) error {
	var a arena
	defer a.free()
	return wrong(C.tare_store_tag(h.c, a.text(reference), a.text(name)))
}

func collected(c C.tare_collected) Collected {
	return Collected{Blobs: int(c.blobs), Bytes: int64(c.bytes), Layers: int(c.layers), InUse: int(c.in_use)}
}

func (h storeHandle) remove(reference string) (Collected, error) {
	var a arena
	defer a.free()
	c := C.tare_collected{size: C.sizeof_tare_collected}
	err := wrong(C.tare_store_remove(h.c, a.text(reference), &c))
	return collected(c), err
}

func (h storeHandle) gc() (Collected, error) {
	c := C.tare_collected{size: C.sizeof_tare_collected}
	err := wrong(C.tare_store_gc(h.c, &c))
	return collected(c), err
}

func (h storeHandle) check() ([]byte, error) {
	var out *C.tare_bytes
	if err := wrong(C.tare_store_check(h.c, &out)); err != nil {
		return nil, err
	}
	return taken(out), nil
}

func (h storeHandle) repair() (int, error) {
	var n C.uint64_t
	err := wrong(C.tare_store_repair(h.c, &n))
	return int(n), err
}

func (h storeHandle) mount(reference, dir string, options []byte) error {
	var a arena
	defer a.free()
	text := (*C.char)(a.bytes(options))
	return wrong(C.tare_tree_mount(h.c, a.text(reference), a.text(dir), text, C.size_t(len(options))))
}

func (h storeHandle) unmount(dir string, lazy bool) error {
	var a arena
	defer a.free()
	flags := C.uint64_t(0)
	if lazy {
		flags = C.TARE_UNMOUNT_LAZY
	}
	return wrong(C.tare_tree_unmount(h.c, a.text(dir), flags))
}

// openPool opens a pool on an image, or on that of the specification if the
// handle is a zero value.
func (h storeHandle) openPool(image imageHandle, spec []byte, size PoolSize) (poolHandle, error) {
	var a arena
	defer a.free()
	var p poolHandle
	text, length := (*C.char)(a.bytes(spec)), C.size_t(len(spec))
	err := wrong(C.tare_pool_open(h.c, image.c, text, length, C.uint64_t(size.Min), C.uint64_t(size.Max), &p.c))
	return p, err
}

// bytes is a copy in C's memory; NULL for no bytes.
func (a *arena) bytes(data []byte) unsafe.Pointer {
	if len(data) == 0 {
		return nil
	}
	p := C.CBytes(data)
	*a = append(*a, p)
	return p
}
