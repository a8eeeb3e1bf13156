#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# Compiles with defences that TARE_WEAK switches off: RUSTC_WORKSPACE_WRAPPER of
# tests/weakened.sh. Cargo keeps what a wrapper compiles apart, and gives it to
# the workspace's own packages alone.
exec "$@" --cfg tare_weak
