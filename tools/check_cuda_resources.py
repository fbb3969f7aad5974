#!/usr/bin/env python3
"""Compiles one instantiation of each CUDA kernel and checks what it takes of a GPU against a committed table.

    check_cuda_resources.py [--update] [--jobs N]

For sm_80 and sm_90a: registers, stack, spilled bytes and static shared memory a thread block, as ptxas reports them,
may not exceed tools/cuda_resources.txt. --update writes the table anew. Needs nvcc (PATH, CUDA_HOME or
/usr/local/cuda); without it the check is skipped and says so, and against another nvcc than the table's nothing fails.
(Dynamic shared memory is chosen at run time: the plans' tests check it.)
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
TABLE = ROOT / "tools" / "cuda_resources.txt"
ARCHITECTURES = ("sm_80", "sm_90a")
# One element type and head_dim of each kernel: the largest.
SOURCES = ("monarch/attention/cuda/sm80/monarch_backward_bf16_128.cu",
           "monarch/attention/cuda/sm80/monarch_forward_bf16_128.cu",
           "monarch/attention/cuda/sm80/modulate.cu",
           "monarch/attention/cuda/sm80/modulate_gradient.cu",
           "monarch/attention/cuda/sm80/norm_rope.cu",
           "monarch/attention/cuda/sm80/norm_rope_gradient.cu",
           "monarch/attention/cuda/sm80/step_backward_bf16_128.cu",
           "monarch/attention/cuda/sm80/step_forward_bf16_128.cu")
SM90_SOURCES = ("monarch/attention/cuda/sm90/monarch_forward_bf16_128.cu", )
FIGURES = ("registers", "stack", "spill_stores", "spill_loads", "shared")


def find_nvcc() -> str | None:
    folders = [os.environ.get("CUDA_HOME", ""), "/usr/local/cuda"]
    return shutil.which("nvcc") or next(
        (path for folder in folders if folder and (path := shutil.which("nvcc", path=f"{folder}/bin"))), None)


def short_name(mangled: str) -> str:
    """monarch_forward<Bf16, 128, 2> from its mangled name; enough for templates over our types, integers and enums."""
    name, rest = "", mangled.removeprefix("_ZN")
    while found := re.match(r"\d+", rest):
        end = found.end() + int(found.group())
        name, rest = rest[found.end():end], rest[end:]
    wrapped = re.match(r"INS\w_(\d+)(?!Bf16|F16)", rest)  # kernel<Class<...>>: the class says more
    if wrapped:
        name = rest[wrapped.end():wrapped.end() + int(wrapped.group(1))]
    arguments = re.findall(r"\d+(Bf16|F16)E|L(?:[ib]|N\w*?(?:FlashKind|ColumnPass|GradientKind)E)(\d+)E", rest)
    return f"{name}<{', '.join(a or b for a, b in arguments)}>"


def parse(report: str, architecture: str) -> dict[tuple[str, str], list[int]]:
    rows = {}
    for part in report.split("Compiling entry function")[1:]:
        def figure(pattern: str) -> int:
            found = re.search(pattern, part)
            return int(found.group(1)) if found else 0
        rows[architecture, short_name(part.split("'")[1])] = [
            figure(r"Used (\d+) registers"), figure(r"(\d+) bytes stack frame"), figure(r"(\d+) bytes spill stores"),
            figure(r"(\d+) bytes spill loads"), figure(r"(\d+) bytes smem")]
    return rows


def compile_one(nvcc: str, source: str, architecture: str) -> dict[tuple[str, str], list[int]]:
    with tempfile.TemporaryDirectory() as folder:
        command = [nvcc, "-std=c++20", f"-I{ROOT}", "--expt-relaxed-constexpr", f"-arch={architecture}", "-cubin",
                   "-Xptxas", "-v", "-o", f"{folder}/kernel.cubin", str(ROOT / source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    rows = parse(done.stdout + done.stderr, architecture)
    if not rows:
        sys.exit(f"ptxas reported no kernel for {source}:\n{done.stdout}{done.stderr}")
    return rows


def read_table() -> dict[tuple[str, str], list[int]]:
    rows = {}
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            architecture, kernel, *figures = (field.strip() for field in line.split("|"))
            rows[architecture, kernel] = [int(figure) for figure in figures]
    return rows


def write_table(rows: dict[tuple[str, str], list[int]], version: str) -> None:
    lines = ["# What the CUDA kernels take of a GPU; tools/check_cuda_resources.py --update writes it.", f"# {version}",
             "# architecture | kernel | " + " | ".join(FIGURES)]
    lines += [" | ".join([*key, *map(str, figures)]) for key, figures in sorted(rows.items())]
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def compare(rows: dict[tuple[str, str], list[int]], table: dict[tuple[str, str], list[int]]) -> list[str]:
    problems = [f"{' '.join(key)}: in the table, but not compiled" for key in sorted(table.keys() - rows.keys())]
    for key, figures in sorted(rows.items()):
        if key not in table:
            problems.append(f"{' '.join(key)}: not in the table")
            continue
        problems += [f"{' '.join(key)}: {name} {now}, the table allows {most}"
                     for name, now, most in zip(FIGURES, figures, table[key]) if now > most]
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true", help="write the table instead of checking against it")
    parser.add_argument("--jobs", type=int, default=2, help="compilers at once")
    options = parser.parse_args()
    nvcc = find_nvcc()
    if nvcc is None:
        print("SKIPPED: no nvcc on PATH, in CUDA_HOME or in /usr/local/cuda; the CUDA kernels were not compiled")
        return 0
    jobs = [(source, architecture) for source in SOURCES for architecture in ARCHITECTURES]
    jobs += [(source, "sm_90a") for source in SM90_SOURCES]
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        parts = pool.map(lambda job: compile_one(nvcc, *job), jobs)
        rows = {key: figures for part in parts for key, figures in part.items()}
    version = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[-1]
    if options.update:
        write_table(rows, version)
        print(f"wrote {len(rows)} kernels to {TABLE.relative_to(ROOT)}")
        return 0
    problems = compare(rows, read_table())
    for problem in problems:
        print(problem)
    made_by = TABLE.read_text(encoding="utf-8").splitlines()[1].removeprefix("# ")
    if problems and version != made_by:
        print(f"SKIPPED: the table is of {made_by}, this is {version}, so these figures are no finding")
        return 0
    if problems:
        print(f"compiled by {version}; if the change is meant, run tools/check_cuda_resources.py --update")
    else:
        print(f"{len(rows)} kernels within tools/cuda_resources.txt")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
