// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare

import "encoding/json"

// ImageInfo is the description of an image.
type ImageInfo struct {
	// Reference is the reference that opened the image.
	Reference string `json:"reference"`
	// Digest is the manifest's; empty for a directory and for the host.
	Digest string `json:"digest"`
	// Created is the creation time, RFC 3339, from the image's configuration;
	// may be empty.
	Created string `json:"created"`
	// Size is the bytes of the blobs, as kept.
	Size int64 `json:"size"`
	// Architecture and OS are in Go's words.
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	// Config is the configuration for running.
	Config ImageConfig `json:"config"`
	// Notes list dropped parts, and why.
	Notes []string `json:"notes"`
	// Layers are bottom first.
	Layers []ImageLayer `json:"layers"`
	// Roots are the unpacked layers, bottom first, or the single directory.
	Roots []string `json:"-"`
}

// ImageConfig is an image's configuration for running.
type ImageConfig struct {
	// Env is "NAME=VALUE" each.
	Env        []string `json:"env"`
	Entrypoint []string `json:"entrypoint"`
	Cmd        []string `json:"cmd"`
	// Workdir and User are empty if the image has none.
	Workdir      string            `json:"workdir"`
	User         string            `json:"user"`
	ExposedPorts []string          `json:"exposed_ports"`
	Volumes      []string          `json:"volumes"`
	Labels       map[string]string `json:"labels"`
	// StopSignal is 0 if the image has none.
	StopSignal int `json:"stop_signal"`
}

// ImageLayer is a layer's place in an image.
type ImageLayer struct {
	// Digest is that of the layer as kept, compressed or not, and Size its
	// bytes.
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
	// DiffID is the digest of the plain tar.
	DiffID string `json:"diff_id"`
}

// StoredImage is a line of the list of images.
type StoredImage struct {
	// Name is "NAME:TAG"; empty for an image without a name.
	Name string `json:"name"`
	// Digest is the manifest's.
	Digest string `json:"digest"`
	// Size is the bytes of the blobs, as kept.
	Size int64 `json:"size"`
	// Created is the creation time, RFC 3339, from the image's configuration;
	// may be empty.
	Created string `json:"created"`
	// Architecture is in Go's words; empty if the image does not say.
	Architecture string `json:"architecture"`
	// Layers is the number of layers.
	Layers int `json:"layers"`
	// Damage is the reason of an unusable image; empty for a sound image. With
	// a damage only Name and Digest are set.
	Damage string `json:"damage"`
}

// UnpackedImage is an image that was unpacked into a directory.
type UnpackedImage struct {
	ImageConfig
	// Notes list dropped parts, and why.
	Notes []string `json:"notes"`
}

// UnpackedLayer is a layer that was unpacked.
type UnpackedLayer struct {
	// BlobDigest is the digest of the blob as read, and BlobBytes its size.
	BlobDigest string `json:"blob_digest"`
	BlobBytes  int64  `json:"blob_bytes"`
	// DiffID is the digest of the plain archive, and DiffBytes its size.
	DiffID    string `json:"diff_id"`
	DiffBytes int64  `json:"diff_bytes"`
	// Entries is how many the archive has.
	Entries int `json:"entries"`
	// OpaqueRoot tells that the layers below must stay hidden, because
	// overlayfs does not check a root.
	OpaqueRoot bool `json:"opaque_root"`
	// Notes list the names left out, and why.
	Notes []string `json:"notes"`
}

// told is an image in the library's form.
type told struct {
	ImageInfo
	Root json.RawMessage `json:"root"`
}

// info is the image with its roots; a directory is a single text.
func (t told) info() (ImageInfo, error) {
	info := t.ImageInfo
	var one string
	if json.Unmarshal(t.Root, &one) == nil {
		info.Roots = []string{one}
		return info, nil
	}
	err := json.Unmarshal(t.Root, &info.Roots)
	return info, err
}

func readInfo(said []byte) (*ImageInfo, error) {
	var t told
	if err := json.Unmarshal(said, &t); err != nil {
		return nil, err
	}
	info, err := t.info()
	if err != nil {
		return nil, err
	}
	return &info, nil
}

func readInfos(said []byte) ([]ImageInfo, error) {
	var all []told
	if err := json.Unmarshal(said, &all); err != nil {
		return nil, err
	}
	infos := make([]ImageInfo, 0, len(all))
	for _, t := range all {
		info, err := t.info()
		if err != nil {
			return nil, err
		}
		infos = append(infos, info)
	}
	return infos, nil
}
