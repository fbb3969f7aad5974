#!/usr/bin/env python3
"""Checks the one rule of the house: a room includes rooms of lower floors only (docs/architecture.md).

Also refuses Torch headers below floor 2, and fmt or spdlog in any file that includes Torch (their fmt versions clash).
"""
import pathlib
import re
import sys

FLOORS = {
    "base": 0,
    "attention": 1, "io": 1,
    "ops": 2, "parallel": 2,
    "models": 3, "sampling": 3,
    "pipelines": 4, "evaluation": 4,
    "training": 5, "serving": 5,
}
INCLUDE = re.compile(r'^\s*#\s*include\s+[<"]([^>"]+)[>"]', re.M)


def room_of(include: str) -> str | None:
    parts = include.split("/")
    return parts[1] if len(parts) > 2 and parts[0] == "monarch" else None


def check(root: pathlib.Path) -> list[str]:
    problems = []
    sources = [p for p in sorted((root / "monarch").rglob("*")) if p.suffix in (".h", ".cpp", ".cu", ".cuh")]
    for path in sources:
        where = path.relative_to(root)
        room = where.parts[1]
        if room not in FLOORS:
            problems.append(f"{where}: room '{room}' is not in tools/check_layers.py")
            continue
        includes = INCLUDE.findall(path.read_text(encoding="utf-8"))
        torch = any(i.startswith(("torch/", "ATen/", "c10/")) for i in includes)
        if torch and FLOORS[room] < 2:
            problems.append(f"{where}: includes Torch below floor 2")
        for include in includes:
            target = room_of(include)
            if target is not None and target != room and FLOORS.get(target, 99) >= FLOORS[room]:
                problems.append(f"{where}: '{room}' (floor {FLOORS[room]}) includes {include} "
                                f"('{target}', floor {FLOORS.get(target, '?')})")
            if include.startswith("apps/"):
                problems.append(f"{where}: a library includes {include}")
            if FLOORS[room] >= 2 and include.startswith(("fmt/", "spdlog/")):
                problems.append(f"{where}: includes {include} beside Torch; log through monarch/base/log.h")
    if not sources:
        problems.append("no sources found")
    return problems


if __name__ == "__main__":
    found = check(pathlib.Path(__file__).resolve().parent.parent)
    print("\n".join(found) if found else "layers: every include points downwards")
    sys.exit(1 if found else 0)
