// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"time"
)

// keeper reads a command's output into memory, without a thread, up to the
// limit of output. tare_process_output() does the same, but holds its thread to
// the end.
type keeper struct {
	streams [2]*keptStream
	ended   sync.WaitGroup

	mu   sync.Mutex
	room uint64
	over bool
	// Ends the command.
	kill func() error
}

// keptStream is standard output or standard error; the file may be nil.
type keptStream struct {
	file *os.File
	data []byte
}

// Bytes that are read at once: at first, and of a stream that has more.
const (
	readFirst = 4 << 10
	readMost  = 64 << 10
)

// keep takes over the ends of pipes, -1 for no pipe. After an error both are
// closed.
func keep(fds [2]int, room uint64, kill func() error) (*keeper, error) {
	k := &keeper{room: room, kill: kill}
	var failed error
	for n, fd := range fds {
		k.streams[n] = &keptStream{}
		if fd < 0 {
			continue
		}
		file, err := polled(fd, "output")
		k.streams[n].file = file
		if failed == nil {
			failed = err
		}
	}
	if failed != nil {
		k.close()
		return nil, failed
	}
	for _, one := range k.streams {
		if one.file != nil {
			k.ended.Add(1)
			go k.read(one)
		}
	}
	return k, nil
}

// read reads a stream to its end, to the limit, or until finish reports the
// command's end.
func (k *keeper) read(one *keptStream) {
	defer k.ended.Done()
	chunk := make([]byte, readFirst)
	for {
		n, err := one.file.Read(chunk)
		if !k.take(one, chunk[:n]) {
			// The pipe stays open, or SIGPIPE would come before the kill.
			return
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			k.drain(one, chunk)
			return
		}
		if err != nil {
			return
		}
		if n == len(chunk) && n < readMost {
			chunk = make([]byte, readMost)
		}
	}
}

// drain reads the present bytes.
func (k *keeper) drain(one *keptStream, chunk []byte) {
	conn, err := one.file.SyscallConn()
	if err != nil {
		return
	}
	// An error means that the file is closed, which finish does later.
	_ = conn.Control(func(fd uintptr) {
		for {
			n, err := syscall.Read(int(fd), chunk)
			if err == syscall.EINTR {
				continue
			}
			if n <= 0 || !k.take(one, chunk[:n]) {
				return
			}
		}
	})
}

// take keeps bytes up to the limit. More bytes end the command, and the
// reading.
func (k *keeper) take(one *keptStream, data []byte) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.over {
		return false
	}
	if uint64(len(data)) > k.room {
		k.over = true
		data = data[:k.room]
	}
	one.data = append(one.data, data...)
	k.room -= uint64(len(data))
	if k.over {
		// If the kill fails, the command has ended or its sandbox is gone.
		_ = k.kill()
	}
	return !k.over
}

// finish returns the output of an ended command, and whether the output was
// cut. Later output of background processes is not waited for.
func (k *keeper) finish() (out, errs []byte, cut bool) {
	for _, one := range k.streams {
		if one.file != nil {
			// polled has checked that deadlines work.
			_ = one.file.SetReadDeadline(time.Unix(1, 0))
		}
	}
	k.ended.Wait()
	k.close()
	return k.streams[0].data, k.streams[1].data, k.over
}

func (k *keeper) close() {
	for _, one := range k.streams {
		if one.file != nil {
			one.file.Close()
		}
	}
}

// cutOutput is the status of a command with cut output, a failure even if the
// command ended first.
func (s status) cutOutput() status {
	s.reason, s.exitCode, s.signal = "output", -1, int(syscall.SIGKILL)
	return s
}
