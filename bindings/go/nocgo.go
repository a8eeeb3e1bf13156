// SPDX-License-Identifier: MIT OR Apache-2.0

//go:build !cgo

package tare

// Package tare calls libtare, a C library: set CGO_ENABLED=1 and install a C
// compiler.
var _ = package_tare_needs_cgo_set_CGO_ENABLED_1_and_install_a_C_compiler
