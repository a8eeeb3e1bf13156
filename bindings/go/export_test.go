// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build cgo

package tare

// Handles is how many the library holds for this program.
var Handles = handles
