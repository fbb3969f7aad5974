#!/usr/bin/env python3
"""Runs clang-tidy (.clang-tidy) on the sources a build directory compiles, several at a time.

    tools/tidy.py BUILD_DIR [--jobs N] [--only PART]

Sources compiled several times, as the kernels are for each instruction set, are looked at once, as the last of their
commands compiles them: for the widest vectors. Sources that a build would generate are left out.
Prints each finding once. Ends with 1 if there is one.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

FINDING = re.compile(r"^\S+:\d+:\d+: (warning|error): .*$", re.M)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build_dir", type=pathlib.Path)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--only", default="", help="only files with this in their path")
    arguments = parser.parse_args()
    if not shutil.which("clang-tidy"):
        sys.exit("clang-tidy is not installed")
    database = arguments.build_dir / "compile_commands.json"
    if not database.exists():
        sys.exit(f"there is no {database}; configure that build first: cmake --preset tidy")
    commands = json.loads(database.read_text())
    one_each = {command["file"]: command for command in commands
                if arguments.only in command["file"] and os.path.exists(command["file"])}
    if not one_each:
        sys.exit(f"{arguments.build_dir} compiles no file named like '{arguments.only}'")

    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "compile_commands.json").write_text(json.dumps(list(one_each.values())))

        def run(file: str) -> subprocess.CompletedProcess:
            return subprocess.run(["clang-tidy", "--quiet", "-p", folder, file], capture_output=True, text=True)

        findings = set()  # those in headers come with every file that includes them
        failed = 0
        with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
            for file, result in zip(one_each, pool.map(run, one_each)):
                failed += result.returncode != 0
                found = {match.group(0) for match in FINDING.finditer(result.stdout)}
                if result.returncode != 0 and not found:
                    print(f"{file}: clang-tidy ended with {result.returncode}\n{result.stderr}", flush=True)
                elif not found <= findings:
                    print(result.stdout, flush=True)
                findings |= found
    print(f"clang-tidy: {len(findings)} findings in {len(one_each)} files")
    return 1 if failed or findings else 0


if __name__ == "__main__":
    sys.exit(main())
