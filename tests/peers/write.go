// SPDX-License-Identifier: MIT OR Apache-2.0

// Writes the current directory as a tar archive to standard output: FORMAT
// [WITHOUT].
//
// FORMAT is ustar, gnu or pax; WITHOUT is a directory to leave out.
package main

import (
	"archive/tar"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

var formats = map[string]tar.Format{"ustar": tar.FormatUSTAR, "gnu": tar.FormatGNU, "pax": tar.FormatPAX}

func main() {
	archive := tar.NewWriter(os.Stdout)
	names := map[uint64]string{}
	check(filepath.Walk(".", func(path string, info fs.FileInfo, err error) error {
		check(err)
		if len(os.Args) > 2 && path == os.Args[2] {
			return fs.SkipDir
		}
		target := ""
		if info.Mode()&fs.ModeSymlink != 0 {
			target, err = os.Readlink(path)
			check(err)
		}
		header, err := tar.FileInfoHeader(info, target)
		check(err)
		header.Name, header.Format = path, formats[os.Args[1]]
		switch header.Format {
		case tar.FormatUSTAR:
			header.AccessTime, header.ChangeTime = time.Time{}, time.Time{}
		case tar.FormatGNU:
			header.AccessTime = header.AccessTime.Truncate(time.Second)
			header.ChangeTime = header.ChangeTime.Truncate(time.Second)
		}
		if info.IsDir() {
			header.Name += "/"
		}
		inode := info.Sys().(*syscall.Stat_t).Ino
		if first, known := names[inode]; known && header.Typeflag == tar.TypeReg {
			header.Typeflag, header.Linkname, header.Size = tar.TypeLink, first, 0
		}
		names[inode] = path
		check(archive.WriteHeader(header))
		if header.Typeflag == tar.TypeReg {
			file, err := os.Open(path)
			check(err)
			_, err = io.Copy(archive, file)
			check(err)
			check(file.Close())
		}
		return nil
	}))
	check(archive.Close())
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
