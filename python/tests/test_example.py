"""The example runs, and what it prints is of a known kind."""

import re
import subprocess
import sys
from pathlib import Path


def test_against_sdpa():
    example = Path(__file__).parents[1] / "examples" / "against_sdpa.py"
    call = [sys.executable, example, "--frames", "3", "--grid", "4x6", "--head-dim", "16", "--repeats", "1", "--threads", "1"]
    out = subprocess.run(call, check=True, capture_output=True, text=True).stdout
    number = r"([0-9.e+-]+)"
    lines = re.findall(rf"^(dense|monarchrt|vmonarch) +{number} +{number}", out, re.M)
    errors = {name: float(mean) for name, _, mean in lines}
    assert errors["dense"] < 1e-5
    assert 1e-3 < errors["monarchrt"] < 1 and 1e-3 < errors["vmonarch"] < 1
    assert "monarchrt forward: cpu-" in out
