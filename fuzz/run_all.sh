#!/usr/bin/env bash
# fuzz/run_all.sh SECONDS BUILD_DIR [JOBS] [RANDOM_SEED]: runs every fuzz target that long from its seed inputs, JOBS at once
# (cmake --preset fuzz). Without RANDOM_SEED each run draws other inputs. Ends with 1 if one fails; the input that did it
# stays in BUILD_DIR/fuzz.
set -euo pipefail
if [ $# -lt 2 ] || [ $# -gt 4 ]; then
  echo "usage: fuzz/run_all.sh SECONDS BUILD_DIR [JOBS] [RANDOM_SEED]" >&2
  exit 2
fi
export seconds=$1 build=$2 random_seed=${4:-0}
jobs=${3:-1}
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
export here scratch
trap 'rm -rf "$scratch"' EXIT

fuzz_one() {  # PROGRAM
  local name
  name=$(basename "$1")
  name=${name#fuzz_}
  # New inputs go to the scratch folder; the seeds are only read.
  mkdir -p "$scratch/$name"
  if "$1" -seed="$random_seed" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=3072 -max_len=65536 \
      -artifact_prefix="$build/fuzz/$name-" "$scratch/$name" "$here/corpus/$name" \
      > "$scratch/$name.log" 2>&1; then
    echo "fuzz $name: ok, $(grep -o 'Done [0-9]* runs' "$scratch/$name.log" || true)"
  else
    echo "fuzz $name: FAILED; input in $build/fuzz/$name-*"
    tail -n 40 "$scratch/$name.log"
    return 1
  fi
}
export -f fuzz_one

mapfile -t programs < <(find "$build/fuzz" -maxdepth 1 -type f -executable -name 'fuzz_*' 2>/dev/null | sort)
if [ ${#programs[@]} -eq 0 ]; then
  echo "no fuzz targets in $build/fuzz; build them with cmake --preset fuzz && cmake --build --preset fuzz" >&2
  exit 2
fi
printf '%s\0' "${programs[@]}" | xargs -0 -P "$jobs" -n 1 bash -c 'fuzz_one "$1"' _ || exit 1
