"""What the peers' scripts share: their common options, and how a piece of work is timed."""
import argparse
import math
import statistics
import time
from typing import Callable

import torch

GPU_SECONDS = 0.02  # least length of a measurement on a GPU: of shorter ones the launch would be what is measured


def common_options(parser: argparse.ArgumentParser, repeats: int, precision: bool = True) -> None:
    """--threads and --repeats; with `precision` --dtype and --device as well."""
    if precision:
        parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
        parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=repeats)


def timed(run: Callable[[], None], repeats: int, device: str = "cpu", gflop: float | None = None) -> dict[str, float]:
    """Seconds of a run (`timed_in_turns`); with its operations (`gflop`, 1e9) also its rate."""
    result = timed_in_turns({"": run}, repeats, device)[""]
    if gflop is not None:
        result |= {"gflop": round(gflop, 3), "gflops": round(gflop / result["seconds_median"], 3)}
    return result


def timed_in_turns(works: dict[str, Callable[[], None]], repeats: int, device: str = "cpu") -> dict[str, dict[str, float]]:
    """Runs each work once to warm up, then measures all in turns, `repeats` times: seconds of a run by the clock and of all
    cores together. A measurement ends with the device's work; on a GPU it is several runs of a short one, and there are also
    the seconds until the device was given the work."""
    runs = {name: _warm_up(run, device) for name, run in works.items()}
    spans = {name: [] for name in works}
    for _ in range(repeats):
        for name, run in works.items():
            spans[name].append([span / runs[name] for span in _measure(run, runs[name], device)])
    results = {}
    for name, measured in spans.items():
        seconds, cpu_seconds, host_seconds = zip(*measured)
        results[name] = {
            "seconds_median": statistics.median(seconds), "seconds_min": min(seconds), "seconds_max": max(seconds),
            "cpu_seconds_median": statistics.median(cpu_seconds), "runs_a_measurement": runs[name]}
        if device != "cpu":
            results[name]["host_seconds_median"] = statistics.median(host_seconds)
    return results


def _measure(run: Callable[[], None], runs: int, device: str) -> tuple[float, float, float]:
    start, cpu_start = time.perf_counter(), time.process_time()
    for _ in range(runs):
        run()
    host_seconds = time.perf_counter() - start
    if device != "cpu":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start, time.process_time() - cpu_start, host_seconds


def _warm_up(run: Callable[[], None], device: str) -> int:
    """How many runs make a measurement: one, on a GPU as many as take GPU_SECONDS."""
    _measure(run, 1, device)
    runs = 1
    # The shorter of two, or a hiccup would pass for long work.
    while device != "cpu" and (seconds := min(_measure(run, runs, device)[0] for _ in range(2))) < GPU_SECONDS:
        # A tenth more than the rate asks for. A first rate may mislead: at most ten times as many.
        runs = min(max(math.ceil(1.1 * runs * GPU_SECONDS / seconds), runs + 1), 10 * runs)
    return runs
