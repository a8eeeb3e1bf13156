// SPDX-License-Identifier: MIT OR Apache-2.0

package tare

// #include <stdlib.h>
// #include <tare.h>
import "C"

type eventsHandle struct{ c *C.tare_events }

func (h sandboxHandle) events() (eventsHandle, error) {
	var e eventsHandle
	err := wrong(C.tare_sandbox_events(h.c, &e.c))
	return e, err
}

func (h eventsHandle) fd() int { return int(C.tare_events_fd(h.c)) }
func (h eventsHandle) free()   { C.tare_events_free(h.c) }

const (
	eventOOM  = C.TARE_EVENT_OOM
	eventGone = C.TARE_EVENT_GONE
)

// next returns the next event, and the number of killed processes. Never waits.
func (h eventsHandle) next() (kind, kills uint64, err error) {
	event := C.tare_event{size: C.sizeof_tare_event}
	err = wrong(C.tare_events_next(h.c, &event))
	return uint64(event.kind), uint64(event.oom_kills), err
}
