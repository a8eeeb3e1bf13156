// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare

import (
	"encoding/json"
	"io"
	"runtime"
)

// ImageStore is images on disk, shared by any number of processes. Sandboxes of
// the same directory, by the option [Store], use the same store.
//
// All methods may be called from any goroutine.
type ImageStore struct {
	holder
}

// OpenStore opens a store, and makes a missing store. An empty dir stands for
// $TARE_STORE, else /var/lib/tare for root and $XDG_DATA_HOME/tare for others.
func OpenStore(dir string) (*ImageStore, error) {
	if err := valid(dir); err != nil {
		return nil, err
	}
	held, err := holdStore(dir)
	if err != nil {
		return nil, err
	}
	s := &ImageStore{holder{store: held}}
	runtime.SetFinalizer(s, (*ImageStore).drop)
	return s, nil
}

// unopened returns whether this is nil or a zero value.
func (s *ImageStore) unopened() bool { return s == nil || s.store == nil }

// told explains an error of the library where the store was closed, or never
// opened.
func (s *ImageStore) told(err error) error {
	switch {
	case err == nil:
		return nil
	case s.unopened():
		return unopened("use store", "tare.OpenStore")
	}
	return s.holder.told("use store", err)
}

// with makes a call. The store stays open as long, also when Close comes in
// between.
func (s *ImageStore) with(do func(storeHandle) error) error {
	if s.unopened() {
		return s.told(errUnopened)
	}
	held, err := s.use("use store")
	if err != nil {
		return err
	}
	defer held.release()
	return do(held.storeHandle)
}

// fromStore makes a call that returns a value.
func fromStore[T any](s *ImageStore, do func(storeHandle) (T, error)) (value T, err error) {
	err = s.with(func(h storeHandle) (err error) {
		value, err = do(h)
		return err
	})
	return value, err
}

// Close releases the store. Images and sandboxes live on. Closing a closed
// store does nothing.
func (s *ImageStore) Close() error {
	if s.unopened() {
		return s.told(errUnopened)
	}
	runtime.SetFinalizer(s, nil)
	s.drop()
	return nil
}

// drop is for a store that is out of reach.
func (s *ImageStore) drop() { _ = s.end(func() error { return nil }) }

// Path is the store's directory, absolute; empty for a store that was closed.
func (s *ImageStore) Path() string {
	// An error means closed, or never opened.
	path, _ := fromStore(s, func(h storeHandle) (string, error) { return h.path(), nil })
	return path
}

// Doctor is as [Doctor], for this store's directory.
func (s *ImageStore) Doctor() (json.RawMessage, error) {
	return fromStore(s, func(h storeHandle) (json.RawMessage, error) { return doctor(h.path()) })
}

// Recovered is the result of Recover.
type Recovered struct {
	// Scratch is how many directories of work in progress were removed, Cgroups
	// how many cgroups.
	Scratch, Cgroups int
	// Left is how many of both should be removed and could not be.
	Left int
}

// Recover removes leftovers of killed processes. Opening a store does the same.
func (s *ImageStore) Recover() (Recovered, error) { return fromStore(s, storeHandle.recover) }

// Images lists the images of the store, once for each name.
func (s *ImageStore) Images() (list []StoredImage, err error) {
	said, err := fromStore(s, storeHandle.list)
	if err == nil {
		err = json.Unmarshal(said, &list)
	}
	return list, err
}

// Tag files an image of the store, by name or digest, under an additional name,
// "NAME[:TAG]". Another image with this name loses it.
func (s *ImageStore) Tag(reference, name string) error {
	if err := valid(reference + name); err != nil {
		return err
	}
	return s.with(func(h storeHandle) error { return h.tag(reference, name) })
}

// Collected is the result of Remove and GC.
type Collected struct {
	// Blobs is how many were removed, with so many Bytes.
	Blobs int
	Bytes int64
	// Layers is how many unpacked layers were removed.
	Layers int
	// InUse is how many more no image needs, but something uses; a later
	// collection takes them.
	InUse int
}

// Remove takes a name, or by a digest the whole image, out of the store, with
// unneeded blobs and layers.
func (s *ImageStore) Remove(reference string) (c Collected, err error) {
	if err = valid(reference); err != nil {
		return c, err
	}
	return fromStore(s, func(h storeHandle) (Collected, error) { return h.remove(reference) })
}

// GC removes blobs and layers that no image of the store needs and no process
// uses.
func (s *ImageStore) GC() (Collected, error) { return fromStore(s, storeHandle.gc) }

// StoreReport is the result of a check of a store.
type StoreReport struct {
	// Images are names and unnamed images; Blobs were read, with so many Bytes;
	// Layers are unpacked.
	Images int   `json:"images"`
	Blobs  int   `json:"blobs"`
	Bytes  int64 `json:"bytes"`
	Layers int   `json:"layers"`
	// Problems is empty for a sound store.
	Problems []StoreProblem `json:"problems"`
}

// StoreProblem is a fault in a store.
type StoreProblem struct {
	// Subject is the file, below the store's directory.
	Subject string `json:"subject"`
	// Why is the fault.
	Why string `json:"why"`
}

// Check reads every blob and compares the digest, and checks that every image
// has its parts. Check changes nothing.
func (s *ImageStore) Check() (*StoreReport, error) {
	return parsed[StoreReport](fromStore(s, storeHandle.check))
}

// Repair checks the store and removes damaged parts, so that the next import
// brings them again. Repair returns the number of removed blobs and layers.
func (s *ImageStore) Repair() (int, error) { return fromStore(s, storeHandle.repair) }

// MountOptions is how a view of an image is mounted. The zero value, and nil,
// have the defaults of a sandbox.
type MountOptions struct {
	// Write is "memory", "disk" or "none".
	Write string `json:"write,omitempty"`
	// Storage is "auto", "overlay" or "copy".
	Storage string `json:"storage,omitempty"`
	// Size is of the writable layer in memory, in bytes.
	Size int64 `json:"size,omitempty"`
}

// Mount mounts a copy-on-write view of an image on a directory. Mount needs
// root. The mount outlives this process until Unmount.
func (s *ImageStore) Mount(reference, dir string, options *MountOptions) error {
	if err := valid(reference + dir); err != nil {
		return err
	}
	var text []byte
	if options != nil {
		var err error
		if text, err = json.Marshal(options); err != nil {
			return err
		}
	}
	return s.with(func(h storeHandle) error { return h.mount(reference, dir, text) })
}

// Unmount undoes Mount, and removes writes from the disk. A view in use is
// EBUSY.
func (s *ImageStore) Unmount(dir string) error { return s.unmount(dir, false) }

// UnmountLazily unmounts a view that may be in use: out of sight at once, gone
// when its last user has ended.
func (s *ImageStore) UnmountLazily(dir string) error { return s.unmount(dir, true) }

func (s *ImageStore) unmount(dir string, lazily bool) error {
	if err := valid(dir); err != nil {
		return err
	}
	return s.with(func(h storeHandle) error { return h.unmount(dir, lazily) })
}

// LayerOptions are the options for a single layer. The zero value, and nil, are
// for a separate tree.
type LayerOptions struct {
	// Overlay turns whiteouts into those of overlayfs, so that the directory
	// holds this layer alone; without, they delete existing files of the
	// directory.
	Overlay bool
	// UserXattr, with Overlay, is for overlays mounted with `userxattr`.
	UserXattr bool
}

// UnpackLayer unpacks a layer, a tar archive compressed by gzip, zstd or not at
// all, into an existing directory without other writers. Compare both digests
// with the image's before the files are used. After an error the directory
// holds a part of the layer.
func UnpackLayer(blob io.Reader, dir string, options *LayerOptions) (*UnpackedLayer, error) {
	if err := valid(dir); err != nil {
		return nil, err
	}
	flags := uint64(0)
	if options != nil && options.Overlay {
		flags |= layerOverlay
	}
	if options != nil && options.UserXattr {
		flags |= layerUserXattr
	}
	var said []byte
	err := reading(nil, blob, func(fd int) (err error) {
		said, err = unpackLayer(fd, dir, flags)
		return err
	})
	return parsed[UnpackedLayer](said, err)
}
