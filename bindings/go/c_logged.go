// SPDX-License-Identifier: MIT OR Apache-2.0

package tare

// #include <tare.h>
import "C"

// tareGoLog is called by the library, in the thread of the logged call, or in a
// thread that Go did not make.
//
//export tareGoLog
func tareGoLog(level C.uint32_t, text *C.char) { tell(uint32(level), C.GoString(text)) }
