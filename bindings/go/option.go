// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare

import (
	"encoding/json"
	"time"
)

// Option changes one key of the specification that a sandbox is made from, the same in every language.
type Option func(*options)

type options struct {
	store string
	spec  map[string]any
}

// table is the object under a key, made if it is not there.
func (o *options) table(key string) map[string]any {
	inner, ok := o.spec[key].(map[string]any)
	if !ok {
		inner = map[string]any{}
		o.spec[key] = inner
	}
	return inner
}

func (o *options) append(key string, value any) {
	list, _ := o.spec[key].([]any)
	o.spec[key] = append(list, value)
}

func set(key string, value any) Option {
	return func(o *options) { o.spec[key] = value }
}

func limit(key string, value any) Option {
	return func(o *options) { o.table("limits")[key] = value }
}

// Store says which directory holds images and scratch. Default: $TARE_STORE, else /var/lib/tare for
// root and $XDG_DATA_HOME/tare for others.
func Store(dir string) Option { return func(o *options) { o.store = dir } }

// Memory limits memory, in bytes.
func Memory(bytes int64) Option { return limit("memory", bytes) }

// CPUs limits processor time, in processors.
func CPUs(n float64) Option { return limit("cpus", n) }

// Pids limits how many processes and threads there are at once.
func Pids(n int64) Option { return limit("pids", n) }

// Output limits how many bytes of a command's output are kept, in bytes.
func Output(bytes int64) Option { return limit("output", bytes) }

// Env adds an environment variable over the image's own.
func Env(name, value string) Option {
	return func(o *options) { o.table("env")[name] = value }
}

// Workdir is the directory in which commands start; made if it is missing.
func Workdir(dir string) Option { return set("workdir", dir) }

// User is who commands run as, "NAME|UID[:GROUP|GID]".
func User(user string) Option { return set("user", user) }

// Hostname is the name of the host inside.
func Hostname(name string) Option { return set("hostname", name) }

// Mount adds one, "SOURCE:TARGET[:ro|rw|cow]".
func Mount(mount string) Option { return func(o *options) { o.append("mounts", mount) } }

// Network is "none" (the default) or "host".
func Network(network string) Option { return set("network", network) }

// Write says where writes to the root go: "memory" (the default), "disk" or "none".
func Write(where string) Option { return set("write", where) }

// Storage is the copy-on-write back end: "auto" (the default), "overlay" or "copy".
func Storage(backend string) Option { return set("storage", backend) }

// Spec sets any key of the specification, as encoding/json writes the value. A key that does not
// exist is refused by Open, with the nearest one that does.
func Spec(key string, value any) Option { return set(key, value) }

func specOf(image string, more []Option) (string, []byte, error) {
	o := options{spec: map[string]any{"image": image}}
	for _, option := range more {
		option(&o)
	}
	text, err := json.Marshal(o.spec)
	return o.store, text, err
}

// nanoseconds is a time limit as the library takes it; one that is over already is the shortest.
func nanoseconds(d time.Duration) uint64 {
	if d < 0 {
		return 1
	}
	return uint64(d)
}
