#!/usr/bin/env bash
# installation_test.sh BUILD_DIR GENERATOR CC CXX: installs the operator library, moves the installation, then builds and runs the
# examples against it through CMake and through pkg-config.
set -euo pipefail
build=$1 cc=$3 cxx=$4
export CMAKE_GENERATOR=$2
root=$(cd "$(dirname "$0")/../.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

cmake --install "$build" --prefix "$scratch/first" --component attention >/dev/null
prefix=$scratch/moved
mv "$scratch/first" "$prefix"

for compiler in c:C_COMPILER="$cc" cpp:CXX_COMPILER="$cxx"; do
  language=${compiler%%:*}
  echo "-- examples/$language, CMake"
  cmake -S "$root/examples/$language" -B "$scratch/$language" -DCMAKE_PREFIX_PATH="$prefix" \
    -DCMAKE_"${compiler#*:}" >/dev/null
  cmake --build "$scratch/$language"
done
"$scratch/c/attention"
"$scratch/cpp/streaming"

echo "-- pkg-config"
description=$(find "$prefix" -name monarch.pc)
export PKG_CONFIG_PATH=${description%/*}
export LD_LIBRARY_PATH=${description%/pkgconfig/*}
read -ra flags <<<"$(pkg-config --cflags --libs monarch)"
"$cc" -std=c99 -Wall -Wextra -pedantic -Werror "$root/examples/c/attention.c" "${flags[@]}" -lm -o "$scratch/attention"
"$scratch/attention"
"$cxx" -std=c++20 -Wall -Wextra -Werror "$root/examples/cpp/streaming.cpp" "${flags[@]}" -o "$scratch/streaming"
"$scratch/streaming"

echo "-- every installed header stands alone"
include=$(pkg-config --variable=includedir monarch)
headers=$(cd "$include" && find . -name '*.h')
[ -n "$headers" ]
for header in $headers; do
  echo "#include \"$header\"" | "$cxx" -std=c++20 -fsyntax-only -I"$include" -x c++ -
done
