// SPDX-License-Identifier: MIT OR Apache-2.0

package tare

// #include <stdlib.h>
// #include <tare.h>
import "C"

type openingHandle struct{ c *C.tare_opening }

// begin begins to open a sandbox: on an image, unless that is a zero value; in
// a root directory, unless that is empty; else as the specification says.
func (h storeHandle) begin(image imageHandle, root string, spec []byte) (o openingHandle, err error) {
	err = call(func(a *arena) *C.tare_error {
		return C.tare_sandbox_begin(h.c, image.c, a.text(root), a.bytes(spec), C.size_t(len(spec)), &o.c)
	})
	return o, err
}

func (h openingHandle) fd() int     { return int(C.tare_opening_fd(h.c)) }
func (h openingHandle) ready() bool { return C.tare_opening_ready(h.c) != 0 }
func (h openingHandle) free()       { C.tare_opening_free(h.c) }

func (h openingHandle) finish() (sandboxHandle, error) {
	var s sandboxHandle
	err := wrong(C.tare_opening_finish(h.c, &s.c))
	return s, err
}
