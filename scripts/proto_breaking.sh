#!/usr/bin/env bash
# Holds the contract in proto/ against the one that clients already have: the newest release, else the main branch, else
# the commit before. A break on purpose says so: a commit since then has a line `Breaking-Contract: <why>`.
set -euo pipefail
cd "$(dirname "$0")/.."

buf=tools/node_modules/.bin/buf
head=$(git rev-parse HEAD)

base_of() {
    local tag main
    tag=$(git describe --tags --abbrev=0 --match 'v*' 2>/dev/null) && { echo "$tag"; return; }
    for main in origin/main main; do
        main=$(git merge-base HEAD "$main" 2>/dev/null) || continue
        [ "$main" != "$head" ] && { echo "$main"; return; }
    done
    git rev-parse --verify --quiet 'HEAD^1' || true
}

base=$(base_of)
if [ -z "$base" ]; then
    echo "buf breaking: this clone has no earlier commit, so there is nothing to compare with."
    exit 0
fi
if ! git cat-file -e "$base:proto/tenantry" 2>/dev/null; then
    echo "buf breaking: $base has no contract yet."
    exit 0
fi
reasons=$(git log --format='%(trailers:key=Breaking-Contract,valueonly,separator=%x0A)' "$base..HEAD" | sed '/^$/d')
if [ -n "$reasons" ]; then
    echo "buf breaking: broken on purpose since $base: $reasons"
    exit 0
fi
before=$(mktemp -d)
trap 'rm -rf "$before"' EXIT
git archive "$base" proto | tar -x -C "$before"
cp buf.yaml "$before"
if ! "$buf" breaking . --against "$before"; then
    echo "The contract breaks clients of $base. Add instead of changing; or give a commit a line" >&2
    echo "'Breaking-Contract: <why>' if every client is to follow." >&2
    exit 1
fi
