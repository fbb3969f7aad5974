#!/usr/bin/env bash
# fuzz/run_all.sh SECONDS BUILD_DIR [RANDOM_SEED]: runs every fuzz target that long from its seed inputs (cmake --preset fuzz).
# Without RANDOM_SEED each run draws other inputs. Ends with 1 if one fails; the input that did it stays in BUILD_DIR/fuzz.
set -euo pipefail
if [ $# -lt 2 ] || [ $# -gt 3 ]; then
  echo "usage: fuzz/run_all.sh SECONDS BUILD_DIR [RANDOM_SEED]" >&2
  exit 2
fi
seconds=$1
build=$2
random_seed=${3:-0}
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0
found=0
for program in "$build"/fuzz/fuzz_*; do
  [ -f "$program" ] && [ -x "$program" ] || continue
  found=1
  name=$(basename "$program")
  name=${name#fuzz_}
  # New inputs go to the scratch folder; the seeds are only read.
  mkdir -p "$scratch/$name"
  if "$program" -seed="$random_seed" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=3072 -max_len=65536 \
      -artifact_prefix="$build/fuzz/$name-" "$scratch/$name" "$here/corpus/$name" \
      > "$scratch/$name.log" 2>&1; then
    echo "fuzz $name: ok, $(grep -o 'Done [0-9]* runs' "$scratch/$name.log" || true)"
  else
    failed=1
    echo "fuzz $name: FAILED; input in $build/fuzz/$name-*"
    tail -n 40 "$scratch/$name.log"
  fi
done
if [ $found -eq 0 ]; then
  echo "no fuzz targets in $build/fuzz; build them with cmake --preset fuzz && cmake --build --preset fuzz" >&2
  exit 2
fi
exit $failed
