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
// namespaces, sysctls, env and labels are merged key by key; mounts, groups and
// extra_hosts are appended. If a key is given twice, the last value counts.
type Option func(*options)

type options struct {
	store string
	spec  map[string]any
	err   error
}

// tables are the keys whose values are merged key by key.
var tables = map[string]bool{
	"env": true, "labels": true, "limits": true, "limits.rlimits": true, "namespaces": true, "security": true,
	"sysctls": true,
}

// lists are the keys whose values are appended.
var lists = map[string]bool{"extra_hosts": true, "groups": true, "mounts": true}

// put puts a value under a key; path is the place in the specification. A value
// of a wrong type stays, for Open to refuse by name.
func put(at map[string]any, path, key string, value any) {
	old, given := at[key]
	switch value := value.(type) {
	case map[string]any:
		if !tables[path] {
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
		if list, ok := old.([]any); lists[path] && given {
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

func limit(key string, value any) Option {
	return Spec("limits", map[string]any{key: value})
}

// Store names the directory of images and scratch. Default: $TARE_STORE, else
// /var/lib/tare for root and $XDG_DATA_HOME/tare for others.
func Store(dir string) Option { return func(o *options) { o.store = dir } }

// Memory limits memory, in bytes.
func Memory(bytes int64) Option { return limit("memory", bytes) }

// Swap limits swap beside memory, in bytes.
func Swap(bytes int64) Option { return limit("swap", bytes) }

// CPUs limits processor time, in processors.
func CPUs(n float64) Option { return limit("cpus", n) }

// Pids limits how many processes and threads there are at once.
func Pids(n int64) Option { return limit("pids", n) }

// Shm is the size of /dev/shm, in bytes.
func Shm(bytes int64) Option { return limit("shm", bytes) }

// Disk limits the root where that is in memory, in bytes.
func Disk(bytes int64) Option { return limit("disk", bytes) }

// Output limits how many bytes of a command's output are kept, in bytes.
func Output(bytes int64) Option { return limit("output", bytes) }

// Env adds an environment variable over the image's own.
func Env(name, value string) Option { return Spec("env", map[string]string{name: value}) }

// Workdir is the directory in which commands start; a missing one is made in an
// image, not in "host".
func Workdir(dir string) Option { return Spec("workdir", dir) }

// User is who commands run as, "NAME|UID[:GROUP|GID]".
func User(user string) Option { return Spec("user", user) }

// Hostname is the name of the host inside.
func Hostname(name string) Option { return Spec("hostname", name) }

// Mount adds one, "SOURCE:TARGET[:ro|rw|cow]".
func Mount(mount string) Option { return Spec("mounts", []string{mount}) }

// Network is "none" (the default) or "host".
func Network(network string) Option { return Spec("network", network) }

// Write says where writes to the root go: "memory" (the default), "disk" or
// "none".
func Write(where string) Option { return Spec("write", where) }

// Storage is the copy-on-write back end: "auto" (the default), "overlay" or
// "copy".
func Storage(backend string) Option { return Spec("storage", backend) }

// Label adds a free text for the caller's own use, which Effective shows.
func Label(name, value string) Option { return Spec("labels", map[string]string{name: value}) }

// Spec sets any key of the specification, with the value in the form of
// encoding/json: the way to keys without an own option. Open refuses an unknown
// key, with the nearest known.
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
