// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"syscall"
	"time"
)

// ImportOptions are the options of an import or an unpack. Nil and the zero
// value are the defaults.
type ImportOptions struct {
	// Names are the names to file the image under, "NAME[:TAG]" each. Default:
	// none.
	Names []string
	// SourceNames also uses the image's names in an archive, as docker-load(1)
	// does.
	SourceNames bool
	// Select names the image of a source with several, by its name there or the
	// digest of its manifest. Default: the only image.
	Select string
	// Platform is "OS/ARCHITECTURE[/VARIANT]" of an index. Default: this
	// machine's.
	Platform string
	// NoSync leaves out the sync(2) at the end: faster, and a power cut may
	// leave the image broken.
	NoSync bool
	// Patience is the longest wait for a process that builds the same layer; a
	// negative patience is refused. Default: 10 minutes.
	Patience time.Duration
	// Progress receives the progress, several times a second, in the calling
	// goroutine.
	Progress func(Progress)
}

// Progress is the progress of a layer of an image.
type Progress struct {
	// Layer is the layer's place in the image, from 0, bottom first, of so many
	// Layers.
	Layer, Layers int
	// Done and Total are bytes of the layer as kept, so usually compressed.
	Done, Total int64
	// Digest is the layer's, for example "sha256:...".
	Digest string
}

// teller connects a call that brings an image with its context and its
// progress.
type teller struct {
	ctx      context.Context
	progress func(Progress)
	panicked any
}

// newTeller returns nil without a context and without progress.
func newTeller(ctx context.Context, o ImportOptions) *teller {
	if ctx.Done() == nil && o.Progress == nil {
		return nil
	}
	return &teller{ctx: ctx, progress: o.Progress}
}

// goesOn reports the progress, nil without news, and returns whether the call
// continues. A panic stops the call, because it must not pass the frames of C.
func (t *teller) goesOn(p *Progress) (on bool) {
	defer func() {
		if t.panicked = recover(); t.panicked != nil {
			on = false
		}
	}()
	if p != nil && t.progress != nil {
		t.progress(*p)
	}
	return t.ctx.Err() == nil
}

// bring makes a call that brings an image. A context that is done stops the
// call and undoes its work.
func (s *ImageStore) bring(ctx context.Context, b bring, options *ImportOptions) (h imageHandle, said []byte, err error) {
	if err = done(ctx); err != nil {
		return h, nil, err
	}
	if options != nil {
		b.options = *options
	}
	for _, text := range append([]string{b.reference, b.dir, b.options.Select, b.options.Platform}, b.options.Names...) {
		if err = valid(text); err != nil {
			return h, nil, err
		}
	}
	if b.options.Patience < 0 {
		return h, nil, fmt.Errorf("tare: Patience: %v is no time to wait: %w", b.options.Patience, syscall.EINVAL)
	}
	b.told = newTeller(ctx, b.options)
	waits := b.what == bringImport && b.options.Progress == nil
	if waits {
		// The call has a thread of the library, and the wait holds no thread of
		// Go.
		b.what, b.told = bringBegin, nil
	}
	do := func(store storeHandle) error {
		got, err := store.do(b)
		if err == nil && waits {
			got.image, err = got.importing.await(ctx)
		}
		h, said = got.image, got.said
		return err
	}
	if b.alone {
		err = do(storeHandle{})
	} else {
		err = s.with(do)
	}
	if b.told != nil && b.told.panicked != nil {
		panic(b.told.panicked)
	}
	if errors.Is(err, syscall.ECANCELED) && ctx.Err() != nil {
		err = ctx.Err()
	}
	return h, said, err
}

// Image is an image ready for use, and held: its layers stay in the store until
// Close.
//
// All methods may be called from any goroutine.
type Image struct {
	holder
	h                 imageHandle
	reference, digest string
}

// image is a call that gives an image.
func (s *ImageStore) image(ctx context.Context, b bring, options *ImportOptions) (*Image, error) {
	h, _, err := s.bring(ctx, b, options)
	if err != nil {
		return nil, err
	}
	store, err := s.use("use store")
	if err != nil {
		h.free()
		return nil, err
	}
	image := &Image{holder: holder{store: store}, h: h, reference: h.reference(), digest: h.digest()}
	runtime.SetFinalizer(image, (*Image).drop)
	return image, nil
}

// Import brings an image from an OCI layout ("oci:PATH[:TAG]") or an archive
// ("archive:FILE") into the store. Both digests of every layer are verified
// before the image is visible. A context that is done stops the import; after
// an error no part of the image is visible.
func (s *ImageStore) Import(ctx context.Context, reference string, options *ImportOptions) (*Image, error) {
	return s.image(ctx, bring{what: bringImport, reference: reference}, options)
}

// Image opens an image by any reference: a name or a digest in the store;
// "oci:" and "archive:", imported if they are not there yet; "dir:PATH" and
// "host", in place. A context that is done stops an import.
func (s *ImageStore) Image(ctx context.Context, reference string, options *ImportOptions) (*Image, error) {
	return s.image(ctx, bring{what: bringImage, reference: reference}, options)
}

// Load brings every image of an OCI layout or an archive into the store, each
// under its names there, as docker-load(1) does. Options may have no Names.
// Images before a failing image stay. The images are not held.
func (s *ImageStore) Load(ctx context.Context, reference string, options *ImportOptions) ([]ImageInfo, error) {
	_, said, err := s.bring(ctx, bring{what: bringLoad, reference: reference}, options)
	if err != nil {
		return nil, err
	}
	return readInfos(said)
}

// LoadFrom is Load of an archive that is read to its end, from a file, a pipe
// or any other reader. After a context is done, a blocked reader is not waited
// for.
func (s *ImageStore) LoadFrom(ctx context.Context, archive io.Reader, options *ImportOptions) ([]ImageInfo, error) {
	if err := done(ctx); err != nil {
		return nil, err
	}
	if s.unopened() {
		return nil, s.told(errUnopened)
	}
	var said []byte
	err := reading(ctx, archive, func(fd int) (err error) {
		_, said, err = s.bring(ctx, bring{what: bringLoadFd, fd: fd}, options)
		return err
	})
	if err != nil {
		return nil, err
	}
	return readInfos(said)
}

// Unpack unpacks all layers of an image into a new or empty directory and
// verifies both digests of each. The store resolves names; an ordinary user's
// files belong to subordinate ids. After an error, and when the context is
// done, the directory is unchanged.
func (s *ImageStore) Unpack(ctx context.Context, reference, dir string, options *ImportOptions) (*UnpackedImage, error) {
	_, said, err := s.bring(ctx, bring{what: bringUnpack, reference: reference, dir: dir}, options)
	return parsed[UnpackedImage](said, err)
}

// Unpack is as [ImageStore.Unpack], without a store: for "oci:" and "archive:".
func Unpack(ctx context.Context, reference, dir string, options *ImportOptions) (*UnpackedImage, error) {
	_, said, err := (*ImageStore)(nil).bring(ctx, bring{what: bringUnpack, reference: reference, dir: dir, alone: true}, options)
	return parsed[UnpackedImage](said, err)
}

// unopened returns whether this is nil or a zero value.
func (image *Image) unopened() bool { return image == nil || image.store == nil }

// told explains an error of the library where the image was closed, or never
// opened.
func (image *Image) told(err error) error {
	switch {
	case err == nil:
		return nil
	case image.unopened():
		return unopened("use image", "Image or Import of a store")
	}
	return image.holder.told("use image", err)
}

// handle is NULL where there is no image. The library refuses that.
func (image *Image) handle() imageHandle {
	if image == nil {
		return imageHandle{}
	}
	return image.h
}

// Reference is the reference that opened the image.
func (image *Image) Reference() string {
	if image == nil {
		return ""
	}
	return image.reference
}

// Digest is that of the image's manifest, for example "sha256:..."; empty for a
// directory and for the host.
func (image *Image) Digest() string {
	if image == nil {
		return ""
	}
	return image.digest
}

// Inspect returns the image's description.
func (image *Image) Inspect() (*ImageInfo, error) {
	said, err := image.handle().inspect()
	if err != nil {
		return nil, image.told(err)
	}
	runtime.KeepAlive(image)
	return readInfo(said)
}

// Close releases the image. Sandboxes keep their layers. Closing a closed image
// does nothing.
func (image *Image) Close() error {
	if image.unopened() {
		return image.told(errUnopened)
	}
	runtime.SetFinalizer(image, nil)
	image.drop()
	return nil
}

// drop is for an image that is out of reach.
func (image *Image) drop() {
	_ = image.end(func() error {
		image.h.free()
		return nil
	})
}
