#!/usr/bin/env python3
"""Checks that a kernel object offers the linker nothing but functions of its instruction set.

    check_kernel_symbols.py NAMESPACE OBJECT...

An inline function compiled with the flags of AVX-512 and not inlined becomes a weak symbol that the linker may take for
every caller, on machines without AVX-512 too. So every symbol an object defines must live in NAMESPACE.
"""
import subprocess
import sys

# Weak by the compiler's own doing; data, no code.
HARMLESS = ("DW.ref.", "__asan_", "__odr_asan", "__ubsan_", "__sancov_", "typeinfo ", "vtable for __")


def strangers(namespace: str, path: str) -> list[str]:
    lines = subprocess.run(["nm", "-C", "--defined-only", path], check=True, capture_output=True, text=True).stdout
    found = []
    for line in lines.splitlines():
        _, kind, name = line.split(" ", 2)
        if kind.islower() and kind not in "uvw":  # local to the object
            continue
        if f"{namespace}::" not in name and not name.startswith(HARMLESS):
            found.append(f"{path}: {kind} {name}")
    return found


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    problems = [problem for path in sys.argv[2:] for problem in strangers(sys.argv[1], path)]
    print("\n".join(problems) if problems else f"{len(sys.argv) - 2} objects define symbols of {sys.argv[1]} only")
    sys.exit(1 if problems else 0)
