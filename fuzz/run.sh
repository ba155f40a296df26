#!/usr/bin/env bash
# Fuzzes each target for some time: run.sh [SECONDS] [TARGET…]. Stops at the first that finds something.
set -euo pipefail
cd "$(dirname "$0")"

seconds=${1:-120}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- rule flagd framing context
python3 seeds.py
for target; do
    arguments=(-max_total_time="$seconds" -max_len=4096 -timeout=5 -print_final_stats=1)
    [ ! -e "$target.dict" ] || arguments+=(-dict="$target.dict")
    cargo +nightly fuzz run --features fuzzing "$target" -- "${arguments[@]}"
done
