// SPDX-License-Identifier: MIT OR Apache-2.0

// Lists archives with archive/tar, for the comparison of tar readers in
// src/image/tar/tests/.
//
// Standard input holds archives, each behind its length as 8 big-endian bytes.
// For each, standard output gets a line per entry (see list.py) and a last
// line: "." or "!" and an error.
package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"
)

// Bytes of a file that are compared; sparse ones may claim to be huge.
const contentMax = 64 << 10

func main() {
	in, out := bufio.NewReader(os.Stdin), bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for {
		var size uint64
		if err := binary.Read(in, binary.BigEndian, &size); err == io.EOF {
			return
		} else if err != nil {
			panic(err)
		}
		archive := make([]byte, size)
		if _, err := io.ReadFull(in, archive); err != nil {
			panic(err)
		}
		if err := list(out, archive); err != nil {
			fmt.Fprintf(out, "! %q\n", err.Error())
		} else {
			fmt.Fprintln(out, ".")
		}
	}
}

func list(out io.Writer, archive []byte) error {
	reader := tar.NewReader(bytes.NewReader(archive))
	for {
		header, err := reader.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if header.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		content := sha256.New()
		if _, err := io.CopyN(content, reader, contentMax); err != nil && err != io.EOF {
			return err
		}
		kind := kind(header.Typeflag)
		link, device, size := "", "0:0", int64(0)
		switch kind {
		case "link", "symlink":
			link = header.Linkname
		case "char", "block":
			device = fmt.Sprintf("%d:%d", header.Devmajor, header.Devminor)
		case "file":
			size = header.Size
		}
		fmt.Fprintf(out, "%s %s %s %d %o %d %d %d %s %x\n", kind, text(header.Name), text(link), size,
			header.Mode&0o7777, header.Uid, header.Gid, header.ModTime.Unix(), device, content.Sum(nil)[:8])
	}
}

func text(s string) string { return "x" + hex.EncodeToString([]byte(s)) }

func kind(flag byte) string {
	switch flag {
	case tar.TypeReg, 0, tar.TypeCont, tar.TypeGNUSparse:
		return "file"
	case tar.TypeLink:
		return "link"
	case tar.TypeSymlink:
		return "symlink"
	case tar.TypeChar:
		return "char"
	case tar.TypeBlock:
		return "block"
	case tar.TypeDir:
		return "dir"
	case tar.TypeFifo:
		return "fifo"
	}
	return fmt.Sprintf("type-%02x", flag)
}
