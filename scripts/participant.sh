#!/usr/bin/env bash
# Proves that the participant which teams copy builds by itself: as docs/participant/README.md says to copy it, outside of
# this workspace, with the versions that are tested here. What it is built of is kept, so the next time takes seconds.
set -euo pipefail
cd "$(dirname "$0")/.."

copy=target/participant/documents
rm -rf "$copy"
mkdir -p target/participant
cp -r docs/participant "$copy"
cp -r proto "$copy/"
cp Cargo.lock "$copy/"
cargo check --quiet --manifest-path "$copy/Cargo.toml" --target-dir target/participant/build
