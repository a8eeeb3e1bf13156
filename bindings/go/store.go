// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// heldStore is an open store with its helper process, shared by all users of
// the same directory at a time. The last store stays open, for programs that
// open a sandbox after another.
type heldStore struct {
	storeHandle
	key   string
	users int
}

var stores struct {
	sync.Mutex
	open map[string]*heldStore
	idle *heldStore
}

// holdStore opens the store in a directory, or the default one, unless it is
// open.
func holdStore(dir string) (*heldStore, error) {
	key := dir
	if dir != "" {
		// The working directory may change.
		var err error
		if key, err = filepath.Abs(dir); err != nil {
			return nil, err
		}
	} else {
		// The default directory may change.
		for _, name := range []string{"TARE_STORE", "XDG_DATA_HOME", "HOME"} {
			key += "\x00" + os.Getenv(name)
		}
	}
	stores.Lock()
	defer stores.Unlock()
	if held := stores.open[key]; held != nil {
		held.users++
		if stores.idle == held {
			stores.idle = nil
		}
		return held, nil
	}
	store, err := openStore(dir)
	if err != nil {
		return nil, err
	}
	if stores.open == nil {
		stores.open = map[string]*heldStore{}
	}
	held := &heldStore{storeHandle: store, key: key, users: 1}
	stores.open[key] = held
	return held, nil
}

// again adds a user beside a present user.
func (held *heldStore) again() *heldStore {
	stores.Lock()
	defer stores.Unlock()
	held.users++
	return held
}

// release is for each holdStore and each again.
func (held *heldStore) release() {
	stores.Lock()
	defer stores.Unlock()
	if held.users--; held.users > 0 {
		return
	}
	if last := stores.idle; last != nil {
		delete(stores.open, last.key)
		last.free()
	}
	stores.idle = held
}

// holder keeps a store open until its end, which comes once.
type holder struct {
	mu     sync.Mutex
	closed bool
	store  *heldStore
}

// use adds a user of the store, unless the holder was closed.
func (held *holder) use(step string) (*heldStore, error) {
	held.mu.Lock()
	defer held.mu.Unlock()
	if held.closed {
		return nil, closed(step)
	}
	return held.store.again(), nil
}

// end ends the holder in this way, unless ended before.
func (held *holder) end(how func() error) error {
	held.mu.Lock()
	ended := held.closed
	held.closed = true
	held.mu.Unlock()
	if ended {
		return nil
	}
	err := how()
	held.store.release()
	return err
}

// told explains an error of a closed object. The library only sees a stale
// handle.
func (held *holder) told(step string, err error) error {
	var wrong *Error
	if !errors.As(err, &wrong) || wrong.Kind != "invalid" {
		return err
	}
	held.mu.Lock()
	defer held.mu.Unlock()
	if !held.closed {
		return err
	}
	return closed(step)
}

// closed is the error of a closed object.
func closed(step string) error {
	const subject, cure = "it was closed", "open another"
	message := step + ": " + subject + "; try: " + cure
	return &Error{Kind: "invalid", Step: step, Subject: subject, Cure: cure, message: message, closed: true}
}

var (
	errUnopened  = errors.New("tare: a zero value")
	errNoContext = fmt.Errorf("tare: nil Context: %w", syscall.EINVAL)
)

// done returns why a context is done. A nil context is an error.
func done(ctx context.Context) error {
	if ctx == nil {
		return errNoContext
	}
	return ctx.Err()
}

// unopened is the error of nil and of a zero value.
func unopened(step, cure string) error {
	const subject = "it was never opened"
	message := step + ": " + subject + "; try: " + cure
	return &Error{Kind: "invalid", Step: step, Subject: subject, Cure: cure, message: message}
}

// askOn is ask for an object made from an image, in its store.
func askOn(ctx context.Context, image *Image, opts []Option) (*heldStore, *spec, error) {
	if err := done(ctx); err != nil {
		return nil, nil, err
	}
	if image.unopened() {
		return nil, nil, image.told(errUnopened)
	}
	dir, text, err := specWith(map[string]any{}, opts)
	if err == nil && dir != "" {
		err = fmt.Errorf("tare: option Store: an image is of its own store: %w", syscall.EINVAL)
	}
	if err != nil {
		return nil, nil, err
	}
	store, err := image.use("use image")
	return store, newSpec(text), err
}

// ask begins each open: returns the store in use, and the specification of
// these keys and options.
func ask(ctx context.Context, keys map[string]any, opts []Option) (*heldStore, *spec, error) {
	if err := done(ctx); err != nil {
		return nil, nil, err
	}
	dir, text, err := specWith(keys, opts)
	if err == nil {
		err = valid(dir)
	}
	if err != nil {
		return nil, nil, err
	}
	store, err := holdStore(dir)
	return store, newSpec(text), err
}
