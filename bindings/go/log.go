// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare

import (
	"sync"
	"sync/atomic"
)

// LogLevel is the importance of a line of the log: more with a greater number.
// The numbers are those of log/slog; convert with Level(level).
type LogLevel int

const (
	// LogDebug is of what is opened, run, reset, closed and imported.
	LogDebug LogLevel = -4
	// LogWarning is of a note of an image, or a key of best_effort that was
	// left out.
	LogWarning LogLevel = 4
)

// logLevels are those of log/slog, by the numbers of tare.h: an error is 1.
var logLevels = [...]LogLevel{1: 8, 2: LogWarning, 3: 0, 4: LogDebug, 5: -8}

var logging struct {
	// Serializes changes.
	sync.Mutex
	told atomic.Pointer[func(LogLevel, string)]
}

// SetLog registers a function that receives a line for each action of the
// library in this program, from a level up. Lines name programs, never
// arguments or values of an environment. There is a single function; a later
// call replaces it, and nil ends the log. Running calls of other goroutines may
// still use the earlier function.
//
//	tare.SetLog(func(level tare.LogLevel, line string) {
//		slog.Log(context.Background(), slog.Level(level), line, "from", "libtare")
//	}, tare.LogDebug)
//
// The function runs in the goroutine of the logged call, or in a thread of the
// library, on several at once, and may use this package. A panic in the
// function ends the program, because it must not pass the frames of the
// library.
func SetLog(told func(level LogLevel, line string), least LogLevel) {
	logging.Lock()
	defer logging.Unlock()
	most := uint32(0)
	if told != nil {
		for n, level := range logLevels[1:] {
			if level >= least {
				most = uint32(n + 1)
			}
		}
		logging.told.Store(&told)
	} else {
		logging.told.Store(nil)
	}
	setLog(most)
}

// tell tells a line of a level of tare.h.
func tell(level uint32, line string) {
	told := logging.told.Load()
	if told == nil {
		return
	}
	if last := uint32(len(logLevels) - 1); level > last {
		level = last
	}
	defer func() {
		if said := recover(); said != nil {
			go panic(said)
		}
	}()
	(*told)(logLevels[level], line)
}
