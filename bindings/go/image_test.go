// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	tare "github.com/libtare/libtare/bindings/go"
)

// file is an entry of a layer.
type file struct {
	name, link string
	mode       int64
	data       []byte
}

func layerOf(t *testing.T, files ...file) []byte {
	t.Helper()
	var to bytes.Buffer
	archive := tar.NewWriter(&to)
	for _, f := range files {
		header := tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.data)), Typeflag: tar.TypeReg}
		switch {
		case f.link != "":
			header.Typeflag, header.Linkname = tar.TypeSymlink, f.link
		case strings.HasSuffix(f.name, "/"):
			header.Typeflag = tar.TypeDir
		}
		ok(t, archive.WriteHeader(&header))
		ok(t, errOf(archive.Write(f.data)))
	}
	ok(t, archive.Close())
	return to.Bytes()
}

// shell is a layer with busybox for a shell.
func shell(t *testing.T) []byte {
	t.Helper()
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatal("this test needs a static busybox in /bin: ", err)
	}
	return layerOf(t, file{name: "bin/", mode: 0o755}, file{name: "bin/busybox", mode: 0o755, data: busybox},
		file{name: "bin/sh", link: "busybox"}, file{name: "bin/cat", link: "busybox"}, file{name: "tmp/", mode: 0o1777},
		file{name: "proc/", mode: 0o755}, file{name: "sys/", mode: 0o755}, file{name: "dev/", mode: 0o755})
}

// noise is a layer that takes a while.
func noise(t *testing.T) []byte {
	t.Helper()
	data := make([]byte, 8<<20)
	ok(t, errOf(rand.Read(data)))
	return layerOf(t, file{name: "noise", mode: 0o644, data: data})
}

// layout makes an OCI layout of an image with the tag latest, and returns its
// directory.
func layout(t *testing.T, layers ...[]byte) string {
	t.Helper()
	dir := t.TempDir()
	ok(t, os.MkdirAll(filepath.Join(dir, "blobs/sha256"), 0o755))
	type descriptor struct {
		MediaType   string            `json:"mediaType"`
		Digest      string            `json:"digest"`
		Size        int               `json:"size"`
		Annotations map[string]string `json:"annotations,omitempty"`
	}
	const prefix = "application/vnd.oci.image."
	put := func(name string, data []byte) {
		ok(t, os.WriteFile(filepath.Join(dir, name), data, 0o644))
	}
	blob := func(kind string, data []byte) descriptor {
		sum := fmt.Sprintf("%x", sha256.Sum256(data))
		put("blobs/sha256/"+sum, data)
		return descriptor{MediaType: prefix + kind, Digest: "sha256:" + sum, Size: len(data)}
	}
	text := func(value any) []byte {
		data, err := json.Marshal(value)
		ok(t, err)
		return data
	}
	var descriptors []descriptor
	var ids []string
	for _, layer := range layers {
		d := blob("layer.v1.tar", layer)
		descriptors, ids = append(descriptors, d), append(ids, d.Digest)
	}
	config := blob("config.v1+json", text(map[string]any{
		"architecture": "amd64", "os": "linux", "created": "2020-01-02T03:04:05Z",
		"rootfs": map[string]any{"type": "layers", "diff_ids": ids},
		"config": map[string]any{
			"Env": []string{"PATH=/bin", "A=b"}, "Entrypoint": []string{"/bin/sh", "-c"}, "Cmd": []string{"echo of the image"},
			"WorkingDir": "/tmp", "Labels": map[string]string{"x": "y"}, "Volumes": map[string]any{"data": struct{}{}},
		},
	}))
	manifest := blob("manifest.v1+json", text(map[string]any{
		"schemaVersion": 2, "mediaType": prefix + "manifest.v1+json", "config": config, "layers": descriptors,
	}))
	manifest.Annotations = map[string]string{"org.opencontainers.image.ref.name": "latest"}
	put("index.json", text(map[string]any{"schemaVersion": 2, "manifests": []descriptor{manifest}}))
	put("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	return dir
}

func TestImagesAreImportedListedTaggedAndRemoved(t *testing.T) {
	ctx, store := context.Background(), openStore(t)
	source := "oci:" + layout(t, shell(t), noise(t))
	var seen []tare.Progress
	options := tare.ImportOptions{
		Names:    []string{"box", "box:two"},
		NoSync:   true,
		Progress: func(p tare.Progress) { seen = append(seen, p) },
	}
	image, err := store.Import(ctx, source, &options)
	ok(t, err)
	defer image.Close()
	if len(seen) == 0 || seen[0].Layers != 2 || seen[0].Total == 0 || !strings.HasPrefix(seen[0].Digest, "sha256:") {
		t.Fatalf("%+v", seen)
	}
	info, err := image.Inspect()
	ok(t, err)
	if info.Digest != image.Digest() || info.Architecture != "amd64" || info.OS != "linux" || len(info.Layers) != 2 ||
		len(info.Roots) != 2 || info.Config.Workdir != "/tmp" || info.Config.Labels["x"] != "y" || info.Config.Env[1] != "A=b" ||
		len(info.Notes) != 1 || info.Size < 8<<20 || info.Created != "2020-01-02T03:04:05Z" {
		t.Fatalf("%+v", info)
	}
	ok(t, store.Tag("box", "again:1"))
	list, err := store.Images()
	names := []string{}
	for _, one := range list {
		names = append(names, one.Name)
		if one.Digest != image.Digest() || one.Layers != 2 || one.Damage != "" {
			t.Errorf("%+v", one)
		}
	}
	if err != nil || strings.Join(names, " ") != "box:latest box:two again:1" {
		t.Fatal(names, err)
	}
	report, err := store.Check()
	if err != nil || report.Images != 3 || report.Blobs < 4 || len(report.Problems) != 0 {
		t.Fatalf("%+v, %v", report, err)
	}
	if removed, err := store.Repair(); err != nil || removed != 0 {
		t.Fatal(removed, err)
	}
	// A held image keeps its layers.
	collected, err := store.Remove(image.Digest())
	if err != nil || collected.Blobs < 4 || collected.Layers != 0 || collected.InUse != 2 {
		t.Fatalf("%+v, %v", collected, err)
	}
	ok(t, image.Close())
	if collected, err = store.GC(); err != nil || collected.Layers != 2 {
		t.Fatalf("%+v, %v", collected, err)
	}
	fails(t, errOf(store.Image(ctx, "box", nil)), fs.ErrNotExist)
	fails(t, errOf(image.Inspect()), fs.ErrClosed)
	ok(t, errOf(store.Recover()))
	if path := store.Path(); !filepath.IsAbs(path) {
		t.Fatal(path)
	}
	if doctor, err := store.Doctor(); err != nil || !strings.Contains(string(doctor), `"checks"`) {
		t.Fatalf("%s, %v", doctor, err)
	}
}

func TestSandboxesAndPoolsOnAnImage(t *testing.T) {
	ctx, store := context.Background(), openStore(t)
	image, err := store.Image(ctx, "oci:"+layout(t, shell(t)), nil)
	ok(t, err)
	sb, err := tare.OpenOn(ctx, image, tare.Env("C", "d"))
	ok(t, err)
	defer sb.Close()
	pool, err := tare.OpenPoolOn(ctx, image, tare.PoolSize{Min: 1}, tare.Env("C", "d"))
	ok(t, err)
	defer pool.Close()
	fails(t, errOf(tare.OpenOn(ctx, image, tare.Store(t.TempDir()))), syscall.EINVAL)
	ok(t, image.Close())
	fails(t, errOf(tare.OpenOn(ctx, image)), fs.ErrClosed)
	taken, err := pool.Take(ctx)
	ok(t, err)
	defer taken.Close()
	for _, sb := range []*tare.Sandbox{sb, taken} {
		if out, err := sb.Command("sh", "-c", "echo $A $C; pwd").Output(); err != nil || string(out) != "b d\n/tmp\n" {
			t.Fatalf("%q, %v", out, err)
		}
	}
}

func TestAContextStopsAnImport(t *testing.T) {
	store, source := openStore(t), "oci:"+layout(t, shell(t), noise(t), noise(t))
	here := t.TempDir()
	calls := map[string]func(context.Context, *tare.ImportOptions) error{
		"Import": func(ctx context.Context, o *tare.ImportOptions) error { return errOf(store.Import(ctx, source, o)) },
		"Image":  func(ctx context.Context, o *tare.ImportOptions) error { return errOf(store.Image(ctx, source, o)) },
		"Load":   func(ctx context.Context, o *tare.ImportOptions) error { return errOf(store.Load(ctx, source, o)) },
		"Unpack": func(ctx context.Context, o *tare.ImportOptions) error {
			return errOf(tare.Unpack(ctx, source, filepath.Join(here, "a"), o))
		},
		"Unpack of a store": func(ctx context.Context, o *tare.ImportOptions) error {
			return errOf(store.Unpack(ctx, source, filepath.Join(here, "b"), o))
		},
	}
	for name, call := range calls {
		ctx, cancel := context.WithCancel(context.Background())
		err := call(ctx, &tare.ImportOptions{Progress: func(tare.Progress) { cancel() }})
		if err != context.Canceled {
			t.Errorf("%s, stopped: %v", name, err)
		}
		if err := call(ctx, nil); err != context.Canceled {
			t.Errorf("%s, stopped before: %v", name, err)
		}
		func() {
			defer func() {
				if why := recover(); why != "of the test" {
					t.Errorf("%s panics with %v", name, why)
				}
			}()
			call(context.Background(), &tare.ImportOptions{Progress: func(tare.Progress) { panic("of the test") }})
			t.Errorf("%s hides a panic", name)
		}()
		if err := call(context.Background(), &tare.ImportOptions{Patience: -1}); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%s without patience: %v", name, err)
		}
		if err := call(context.Background(), &tare.ImportOptions{Select: "a\x00b"}); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%s with a NUL: %v", name, err)
		}
	}
	if list, err := store.Images(); err != nil || len(list) != 0 {
		t.Fatal(list, err)
	}
	if entries, err := os.ReadDir(here); err != nil || len(entries) != 0 {
		t.Fatal(entries, err)
	}
}

func TestArchivesAreLoadedFromReaders(t *testing.T) {
	ctx, store := context.Background(), openStore(t)
	var files []file
	dir := os.DirFS(layout(t, shell(t)))
	ok(t, fs.WalkDir(dir, ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			data, err := fs.ReadFile(dir, name)
			ok(t, err)
			files = append(files, file{name: name, mode: 0o644, data: data})
		}
		return err
	}))
	whole := layerOf(t, files...)
	loaded, err := store.LoadFrom(ctx, bytes.NewReader(whole), nil)
	if err != nil || len(loaded) != 1 || len(loaded[0].Layers) != 1 || loaded[0].Config.Workdir != "/tmp" {
		t.Fatalf("%+v, %v", loaded, err)
	}
	path := filepath.Join(t.TempDir(), "a.tar")
	ok(t, os.WriteFile(path, whole, 0o600))
	again, err := store.Load(ctx, "archive:"+path, nil)
	if err != nil || again[0].Digest != loaded[0].Digest {
		t.Fatalf("%+v, %v", again, err)
	}
	fails(t, errOf(store.LoadFrom(ctx, &broken{left: 10}, nil)), errOfTest)
	// A blocked reader does not delay a stopped call.
	r, w := io.Pipe()
	defer w.Close()
	stopped, cancel := context.WithCancel(ctx)
	go func() {
		w.Write(whole[:512])
		cancel()
	}()
	if _, err := store.LoadFrom(stopped, r, nil); err != context.Canceled {
		t.Fatal(err)
	}
}

func TestImagesAndLayersAreUnpackedAlone(t *testing.T) {
	ctx, dir := context.Background(), filepath.Join(t.TempDir(), "root")
	layer := layerOf(t, file{name: "a", mode: 0o640, data: []byte("text")})
	image, err := tare.Unpack(ctx, "oci:"+layout(t, layer), dir, nil)
	if err != nil || image.Workdir != "/tmp" || len(image.Notes) != 1 || len(image.Cmd) != 1 {
		t.Fatalf("%+v, %v", image, err)
	}
	says(t, "text")(os.ReadFile(filepath.Join(dir, "a")))
	fails(t, errOf(tare.Unpack(ctx, "oci:"+layout(t, layer), dir, nil)), fs.ErrExist)
	for _, options := range []*tare.LayerOptions{nil, {Overlay: true, UserXattr: true}} {
		into := t.TempDir()
		unpacked, err := tare.UnpackLayer(bytes.NewReader(layer), into, options)
		if err != nil || unpacked.Entries != 1 || unpacked.DiffID != fmt.Sprintf("sha256:%x", sha256.Sum256(layer)) ||
			unpacked.BlobDigest != unpacked.DiffID || unpacked.BlobBytes != int64(len(layer)) {
			t.Fatalf("%+v, %v", unpacked, err)
		}
	}
	if _, err := tare.UnpackLayer(bytes.NewReader(layer), t.TempDir(), &tare.LayerOptions{UserXattr: true}); err == nil {
		t.Fatal("user xattrs without an overlay")
	}
}

func TestViewsOfAnImageAreMountedForRootAlone(t *testing.T) {
	store, dir := openStore(t), t.TempDir()
	reference := "oci:" + layout(t, layerOf(t, file{name: "a", mode: 0o644, data: []byte("text")}))
	err := store.Mount(reference, dir, &tare.MountOptions{Write: "memory", Size: 1 << 20})
	if !isMachineRoot(t) {
		if !errors.Is(err, fs.ErrPermission) {
			t.Fatal(err)
		}
		return
	}
	ok(t, err)
	text, err := os.ReadFile(filepath.Join(dir, "a"))
	if err != nil || string(text) != "text" {
		t.Errorf("%q, %v", text, err)
	}
	open, err := os.Open(filepath.Join(dir, "a"))
	ok(t, err)
	if err := store.Unmount(dir); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("a view in use: %v", err)
	}
	ok(t, store.UnmountLazily(dir))
	open.Close()
	fails(t, store.Unmount(dir), fs.ErrNotExist)
}
