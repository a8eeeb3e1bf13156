// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// spec is the source of sandboxes.
type spec struct {
	text   []byte
	once   sync.Once
	output uint64
	err    error
}

// CheckSpec reads the specification of a sandbox without opening one, and
// returns every key with its default filled in, as a JSON object.
func CheckSpec(image string, opts ...Option) (json.RawMessage, error) {
	_, text, err := specOf(image, opts)
	if err != nil {
		return nil, err
	}
	return checkSpec(text)
}

func newSpec(text []byte) *spec { return &spec{text: text} }

// outputLimit is limits.output with the library's default, read once.
func (s *spec) outputLimit() (uint64, error) {
	s.once.Do(func() {
		var whole []byte
		if whole, s.err = checkSpec(s.text); s.err != nil {
			return
		}
		var read struct {
			Limits struct{ Output string }
		}
		if s.err = json.Unmarshal(whole, &read); s.err == nil {
			s.output, s.err = byteSize(read.Limits.Output)
		}
	})
	return s.output, s.err
}

// byteSize reads a size in the library's form: a number, and at most a letter
// for a power of 1024.
func byteSize(text string) (uint64, error) {
	shift := 0
	if text != "" {
		shift = 10 * (1 + strings.IndexByte("kmgt", text[len(text)-1]))
	}
	if shift > 0 {
		text = text[:len(text)-1]
	}
	number, err := strconv.ParseUint(text, 10, 64-shift)
	if err != nil {
		return 0, fmt.Errorf("tare: read limits.output: %w", err)
	}
	return number << shift, nil
}
