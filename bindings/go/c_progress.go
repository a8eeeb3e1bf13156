// SPDX-License-Identifier: MIT OR Apache-2.0

package tare

// #include <tare.h>
import "C"

import "runtime/cgo"

// tareGoProgress is called by the library in the thread of the call that is
// told of.
//
//export tareGoProgress
func tareGoProgress(told C.uintptr_t, p *C.tare_progress) C.int32_t {
	t := cgo.Handle(told).Value().(*teller)
	var progress *Progress
	if p != nil {
		progress = &Progress{
			Layer: int(p.layer), Layers: int(p.layers), Done: int64(p.bytes_done), Total: int64(p.bytes_total),
			Digest: C.GoString(p.digest),
		}
	}
	if t.goesOn(progress) {
		return 0
	}
	return 1
}
