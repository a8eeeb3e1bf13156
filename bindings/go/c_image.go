// SPDX-License-Identifier: MIT OR Apache-2.0

package tare

// #include <stdlib.h>
// #include <tare.h>
//
// extern int32_t tareGoProgress(uintptr_t told, tare_progress *progress);
//
// static int32_t tare_go_progress(void *told, const tare_progress *progress) {
//     return tareGoProgress((uintptr_t)told, (tare_progress *)progress);
// }
//
// enum { TARE_GO_IMPORT, TARE_GO_IMAGE, TARE_GO_LOAD, TARE_GO_LOAD_FD, TARE_GO_UNPACK, TARE_GO_BEGIN };
//
// typedef struct {
//     int what;
//     const tare_store *store;
//     int32_t fd;
//     uint64_t flags, names, patience_ns;
//     uintptr_t told;
// } tare_go_import;
//
// /* Makes the call that *call says. Its words are one piece of memory, each with its NUL: reference, directory, select,
//    platform, names. */
// static tare_error *tare_go_bring(const tare_go_import *call, const char *words, tare_image **image, tare_bytes **said,
//                                  tare_importing **importing) {
//     const char *at[4];
//     for (int n = 0; n < 4; n++) {
//         at[n] = *words ? words : NULL;
//         while (*words++) {}
//     }
//     const char **names = calloc(call->names + 1, sizeof *names);
//     for (uint64_t n = 0; names && n < call->names; n++) {
//         names[n] = words;
//         while (*words++) {}
//     }
//     if (!names) return tare_store_list(NULL, NULL);
//     tare_import_options options = {0};
//     options.size = sizeof options;
//     options.flags = call->flags;
//     options.names = names;
//     options.select = at[2];
//     options.platform = at[3];
//     options.patience_ns = call->patience_ns;
//     options.progress = call->told ? tare_go_progress : NULL;
//     options.progress_data = (void *)call->told;
//     tare_error *error = NULL;
//     switch (call->what) {
//     case TARE_GO_IMPORT: error = tare_store_import(call->store, at[0], &options, image); break;
//     case TARE_GO_IMAGE: error = tare_store_image(call->store, at[0], &options, image); break;
//     case TARE_GO_LOAD: error = tare_store_load(call->store, at[0], &options, said); break;
//     case TARE_GO_LOAD_FD: error = tare_store_load_fd(call->store, call->fd, &options, said); break;
//     case TARE_GO_BEGIN: error = tare_store_begin_import(call->store, at[0], &options, importing); break;
//     case TARE_GO_UNPACK: error = tare_unpack(call->store, at[0], at[1], &options, said); break;
//     }
//     free(names);
//     return error;
// }
import "C"

import (
	"runtime/cgo"
	"unsafe"
)

type imageHandle struct{ c *C.tare_image }

func (h imageHandle) free() { C.tare_image_free(h.c) }

func (h imageHandle) reference() string { return C.GoString(C.tare_image_reference(h.c)) }
func (h imageHandle) digest() string    { return C.GoString(C.tare_image_digest(h.c)) }

func (h imageHandle) inspect() ([]byte, error) {
	return answer(func(_ *arena, out **C.tare_bytes) *C.tare_error { return C.tare_image_inspect(h.c, out) })
}

// The calls that bring images take the same options.
const (
	bringImport = C.TARE_GO_IMPORT
	bringImage  = C.TARE_GO_IMAGE
	bringLoad   = C.TARE_GO_LOAD
	bringLoadFd = C.TARE_GO_LOAD_FD
	bringUnpack = C.TARE_GO_UNPACK
	bringBegin  = C.TARE_GO_BEGIN
)

// bring is a call of these.
type bring struct {
	what           int
	reference, dir string
	fd             int
	options        ImportOptions
	told           *teller
	// Without a store.
	alone bool
}

type importingHandle struct{ c *C.tare_importing }

func (h importingHandle) fd() int { return int(C.tare_importing_fd(h.c)) }
func (h importingHandle) free()   { C.tare_importing_free(h.c) }

func (h importingHandle) finish() (imageHandle, error) {
	var image imageHandle
	err := wrong(C.tare_importing_finish(h.c, &image.c))
	return image, err
}

// brought is the result of a call.
type brought struct {
	image     imageHandle
	said      []byte
	importing importingHandle
}

// do makes the call.
func (h storeHandle) do(b bring) (brought, error) {
	o := b.options
	var words []byte
	for _, word := range append([]string{b.reference, b.dir, o.Select, o.Platform}, o.Names...) {
		words = append(append(words, word...), 0)
	}
	call := C.tare_go_import{what: C.int(b.what), store: h.c, fd: C.int32_t(b.fd), names: C.uint64_t(len(o.Names))}
	if o.SourceNames {
		call.flags |= C.TARE_IMPORT_SOURCE_NAMES
	}
	if o.NoSync {
		call.flags |= C.TARE_IMPORT_NO_SYNC
	}
	call.patience_ns = C.uint64_t(o.Patience)
	if b.told != nil {
		handle := cgo.NewHandle(b.told)
		defer handle.Delete()
		call.told = C.uintptr_t(handle)
	}
	var got brought
	var said *C.tare_bytes
	text := (*C.char)(unsafe.Pointer(&words[0]))
	err := wrong(C.tare_go_bring(&call, text, &got.image.c, &said, &got.importing.c))
	if err == nil && said != nil {
		got.said = taken(said)
	}
	return got, err
}

func unpackLayer(fd int, dir string, flags uint64) ([]byte, error) {
	return answer(func(a *arena, out **C.tare_bytes) *C.tare_error {
		return C.tare_unpack_layer(C.int32_t(fd), a.text(dir), C.uint64_t(flags), out)
	})
}

const (
	layerOverlay   = C.TARE_LAYER_OVERLAY
	layerUserXattr = C.TARE_LAYER_USER_XATTR
)
