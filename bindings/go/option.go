// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare

import (
	"bytes"
	"encoding/json"
	"fmt"
	"syscall"
)

// Option changes a key of the specification of a sandbox, the same in every
// language.
//
// Options never remove each other's values: limits (and its rlimits), security,
// namespaces, sysctls, env and labels are merged key by key; mounts, groups,
// extra_hosts and best_effort are appended. If a key is given twice, the last
// value counts. option_keys.go has an option for each key.
type Option func(*options)

type options struct {
	store string
	spec  map[string]any
	err   error
}

func has(keys []string, path string) bool {
	for _, key := range keys {
		if key == path {
			return true
		}
	}
	return false
}

// put puts a value under a key; path is the place in the specification. A value
// of a wrong type stays, for Open to refuse by name.
func put(at map[string]any, path, key string, value any) {
	old, given := at[key]
	switch value := value.(type) {
	case map[string]any:
		if !has(tables, path) {
			break
		}
		if !given {
			old = map[string]any{}
			at[key] = old
		}
		if inner, ok := old.(map[string]any); ok {
			for name, one := range value {
				put(inner, path+"."+name, name, one)
			}
		}
		return
	case []any:
		if list, ok := old.([]any); has(lists, path) && given {
			if ok {
				at[key] = append(list, value...)
			}
			return
		}
	}
	at[key] = value
}

// plain converts a value to JSON's types: the caller's own is not shared, and
// may be of any type.
func plain(value any) (any, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var read any
	err = decoder.Decode(&read)
	return read, err
}

// Store names the directory of images and scratch. Default: $TARE_STORE, else
// /var/lib/tare for root and $XDG_DATA_HOME/tare for others.
func Store(dir string) Option { return func(o *options) { o.store = dir } }

// Spec sets any key of the specification, with the value in the form of
// encoding/json: the way to tables, such as {"join": "/run/netns/a"} of
// network. Open refuses an unknown key, with the nearest known.
func Spec(key string, value any) Option {
	return func(o *options) {
		value, err := plain(value)
		if err != nil && o.err == nil {
			o.err = fmt.Errorf("tare: option %s: %w", key, err)
		}
		put(o.spec, key, key, value)
	}
}

func specOf(image string, more []Option) (string, []byte, error) {
	return specWith(map[string]any{"image": image}, more)
}

// specWith returns the store and the specification with these options.
func specWith(keys map[string]any, more []Option) (string, []byte, error) {
	o := options{spec: keys}
	for _, option := range more {
		if option == nil {
			return "", nil, fmt.Errorf("tare: nil Option: %w", syscall.EINVAL)
		}
		option(&o)
	}
	if o.err != nil {
		return "", nil, o.err
	}
	text, err := json.Marshal(o.spec)
	return o.store, text, err
}
