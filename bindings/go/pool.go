// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare

import (
	"context"
	"runtime"
)

// PoolSize bounds the number of waiting sandboxes of a pool, which follows the
// demand. The zero value stands for 2 and 16.
type PoolSize struct {
	// The number that waits without demand.
	Min int
	// No more than so many wait, however many are taken. 0 stands for 16, or
	// for Min if that is more.
	Max int
}

// Pool is sandboxes made ahead, each used once. The library's helper process
// makes them, without a goroutine or thread. A taken sandbox does not return to
// the pool; closing it starts its replacement.
//
// All methods may be called from any goroutine.
type Pool struct {
	holder
	h    poolHandle
	spec *spec
}

// OpenPool opens a pool of sandboxes as Open makes them, and returns when the
// first is ready.
func OpenPool(ctx context.Context, image string, size PoolSize, opts ...Option) (*Pool, error) {
	store, spec, err := ask(ctx, map[string]any{"image": image}, opts)
	if err != nil {
		return nil, err
	}
	return openPool(ctx, store, spec, imageHandle{}, size)
}

// OpenPoolOn opens a pool of sandboxes as OpenOn makes them.
func OpenPoolOn(ctx context.Context, image *Image, size PoolSize, opts ...Option) (*Pool, error) {
	store, spec, err := askOn(ctx, image, opts)
	if err != nil {
		return nil, err
	}
	pool, err := openPool(ctx, store, spec, image.h, size)
	return pool, image.told(err)
}

// openPool takes over the store.
func openPool(ctx context.Context, store *heldStore, spec *spec, image imageHandle, size PoolSize) (*Pool, error) {
	if size.Max == 0 && size.Min > 0 {
		size.Max = 16
		if size.Min > size.Max {
			size.Max = size.Min
		}
	}
	h, err := store.openPool(image, spec.text, size)
	if err != nil {
		store.release()
		return nil, err
	}
	pool := &Pool{holder: holder{store: store}, h: h, spec: spec}
	runtime.SetFinalizer(pool, (*Pool).drop)
	if err := done(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	return pool, nil
}

// Take returns a new sandbox: a waiting one, else a sandbox opened now. The
// sandbox may outlive the pool.
func (pool *Pool) Take(ctx context.Context) (*Sandbox, error) {
	if err := done(ctx); err != nil {
		return nil, err
	}
	if pool.unopened() {
		return nil, pool.told("take from pool", errUnopened)
	}
	store, err := pool.use("take from pool")
	if err != nil {
		return nil, err
	}
	h, err := pool.h.take()
	if err != nil {
		store.release()
		return nil, pool.told("take from pool", err)
	}
	sb := newSandbox(store, h, pool.spec)
	runtime.KeepAlive(pool)
	return sb, nil
}

// Ready says how many could be taken now without waiting.
func (pool *Pool) Ready() (int, error) {
	ready, err := pool.handle().ready()
	err = pool.told("use pool", err)
	runtime.KeepAlive(pool)
	return ready, err
}

// unopened returns whether this is nil or a zero value.
func (pool *Pool) unopened() bool { return pool == nil || pool.store == nil }

// handle is NULL where there is no pool. The library refuses that.
func (pool *Pool) handle() poolHandle {
	if pool == nil {
		return poolHandle{}
	}
	return pool.h
}

// told explains an error of the library where the pool was closed, or never
// opened.
func (pool *Pool) told(step string, err error) error {
	switch {
	case err == nil:
		return nil
	case pool.unopened():
		return unopened(step, "tare.OpenPool")
	}
	return pool.holder.told(step, err)
}

// Close ends all waiting sandboxes and returns when they are gone; taken
// sandboxes live on. Closing a closed pool does nothing.
func (pool *Pool) Close() error {
	if pool.unopened() {
		return pool.told("use pool", errUnopened)
	}
	runtime.SetFinalizer(pool, nil)
	return pool.end(pool.h.close)
}

// drop ends a pool that is out of reach, without waiting for its end.
func (pool *Pool) drop() {
	_ = pool.end(func() error {
		pool.h.free()
		return nil
	})
}
