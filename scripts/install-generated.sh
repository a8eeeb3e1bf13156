#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# install-generated.sh TARE SHARE: writes manual pages and completions, as TARE
# itself generates them, below SHARE.
set -eu

tare=$1 share=$2
mkdir -p "$share/man/man1" "$share/bash-completion/completions" \
    "$share/zsh/site-functions" "$share/fish/vendor_completions.d"
"$tare" man "$share/man/man1"
"$tare" completion bash >"$share/bash-completion/completions/tare"
"$tare" completion zsh >"$share/zsh/site-functions/_tare"
"$tare" completion fish >"$share/fish/vendor_completions.d/tare.fish"
