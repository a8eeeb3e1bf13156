// SPDX-License-Identifier: MIT OR Apache-2.0

// Package taretest gives a test its own sandbox.
package taretest

import (
	"context"
	"testing"

	tare "github.com/libtare/libtare/bindings/go"
)

// Open opens a sandbox that ends with the test. A sandbox that cannot be opened
// fails the test.
func Open(t testing.TB, image string, opts ...tare.Option) *tare.Sandbox {
	t.Helper()
	sb, err := tare.Open(context.Background(), image, opts...)
	if err != nil {
		t.Fatalf("open sandbox: %v", err)
	}
	t.Cleanup(func() {
		if err := sb.Close(); err != nil {
			t.Errorf("close sandbox: %v", err)
		}
	})
	return sb
}
