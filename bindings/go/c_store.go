// SPDX-License-Identifier: MIT OR Apache-2.0

package tare

// #include <stdlib.h>
// #include <tare.h>
import "C"

type storeHandle struct{ c *C.tare_store }

func openStore(path string) (h storeHandle, err error) {
	err = call(func(a *arena) *C.tare_error { return C.tare_store_open(a.text(path), &h.c) })
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
	return answer(func(_ *arena, out **C.tare_bytes) *C.tare_error { return C.tare_store_list(h.c, out) })
}

func (h storeHandle) tag(reference, name string) error {
	return call(func(a *arena) *C.tare_error { return C.tare_store_tag(h.c, a.text(reference), a.text(name)) })
}

func collected(c C.tare_collected) Collected {
	return Collected{Blobs: int(c.blobs), Bytes: int64(c.bytes), Layers: int(c.layers), InUse: int(c.in_use)}
}

func (h storeHandle) remove(reference string) (Collected, error) {
	c := C.tare_collected{size: C.sizeof_tare_collected}
	err := call(func(a *arena) *C.tare_error { return C.tare_store_remove(h.c, a.text(reference), &c) })
	return collected(c), err
}

func (h storeHandle) gc() (Collected, error) {
	c := C.tare_collected{size: C.sizeof_tare_collected}
	err := wrong(C.tare_store_gc(h.c, &c))
	return collected(c), err
}

func (h storeHandle) check() ([]byte, error) {
	return answer(func(_ *arena, out **C.tare_bytes) *C.tare_error { return C.tare_store_check(h.c, out) })
}

func (h storeHandle) repair() (int, error) {
	var n C.uint64_t
	err := wrong(C.tare_store_repair(h.c, &n))
	return int(n), err
}

func (h storeHandle) mount(reference, dir string, options []byte) error {
	return call(func(a *arena) *C.tare_error {
		return C.tare_tree_mount(h.c, a.text(reference), a.text(dir), a.bytes(options), C.size_t(len(options)))
	})
}

func (h storeHandle) unmount(dir string, lazy bool) error {
	flags := C.uint64_t(0)
	if lazy {
		flags = C.TARE_UNMOUNT_LAZY
	}
	return call(func(a *arena) *C.tare_error { return C.tare_tree_unmount(h.c, a.text(dir), flags) })
}

// openPool opens a pool on an image, or on that of the specification if the
// handle is a zero value.
func (h storeHandle) openPool(image imageHandle, spec []byte, size PoolSize) (p poolHandle, err error) {
	least, most := C.uint64_t(size.Min), C.uint64_t(size.Max)
	err = call(func(a *arena) *C.tare_error {
		return C.tare_pool_open(h.c, image.c, a.bytes(spec), C.size_t(len(spec)), least, most, &p.c)
	})
	return p, err
}

// bytes is a copy in C's memory; NULL for no bytes.
func (a *arena) bytes(data []byte) *C.char {
	if len(data) == 0 {
		return nil
	}
	p := C.CBytes(data)
	*a = append(*a, p)
	return (*C.char)(p)
}
