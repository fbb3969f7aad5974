"""What the peers' scripts share: their common options, and how a piece of work is timed."""
import argparse
import statistics
import time
from typing import Callable

import torch


def common_options(parser: argparse.ArgumentParser, repeats: int, precision: bool = True) -> None:
    """--threads and --repeats; with `precision` --dtype and --device as well."""
    if precision:
        parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
        parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=repeats)


def timed(run: Callable[[], None], repeats: int, device: str = "cpu", gflop: float | None = None) -> dict[str, float]:
    """Runs once to warm up, then `repeats` times: seconds by the clock and of all cores together; with the operations of a
    run (`gflop`, 1e9) also its rate."""

    def finish() -> None:
        run()
        if device != "cpu":
            torch.cuda.synchronize()

    finish()
    seconds, cpu_seconds = [], []
    for _ in range(repeats):
        start, cpu_start = time.perf_counter(), time.process_time()
        finish()
        seconds.append(time.perf_counter() - start)
        cpu_seconds.append(time.process_time() - cpu_start)
    median = statistics.median(seconds)
    result = {"seconds_median": median, "seconds_min": min(seconds), "seconds_max": max(seconds),
              "cpu_seconds_median": statistics.median(cpu_seconds)}
    return result if gflop is None else {**result, "gflop": round(gflop, 3), "gflops": round(gflop / median, 3)}
