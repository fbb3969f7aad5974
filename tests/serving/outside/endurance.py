#!/usr/bin/env python3
"""A stream that runs for long: time and memory of its chunks, from its viewer's side.

    endurance.py MONARCH [--model DIR] [--attention NAME] [--latent-frames 2000] [--save FILE] [--strict]

Prints medians; with --strict ends with 1 unless the last 100 chunks take as long as chunks 50 to 150 (5 %) in as much
memory (2 %). Times need a quiet machine, so that is no test of the suite.
"""
import argparse
import json
import signal
import statistics
import sys
import tempfile
import time

from server import Server
from websocket import WebSocket


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("monarch")
    parser.add_argument("--model", default="models/shapes_stream")
    parser.add_argument("--attention", default="monarchrt")
    parser.add_argument("--latent-frames", type=int, default=2000)
    parser.add_argument("--save", help="the video")
    parser.add_argument("--strict", action="store_true")
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as videos, \
            Server([a.monarch, "serve", "--model", a.model, "--attention", a.attention, "--port", "0", "--videos", videos],
                   signal.SIGINT) as server:
        server.wait_until_ready()
        live = WebSocket(f"ws://{server.address}/v1/live")
        hello = json.loads(live.receive())
        chunks, times = [], []
        began = time.perf_counter()
        live.send(json.dumps({"type": "start", "prompt": "a red circle moving right", "seed": 1}))
        first_video = None
        video = open(a.save, "wb") if a.save else None
        frames = 0
        while (frames + 3) // 4 < a.latent_frames:
            message = live.receive()
            if isinstance(message, bytes):
                first_video = first_video or time.perf_counter() - began
                if video:
                    video.write(message)
                continue
            chunk = json.loads(message)
            assert chunk["type"] == "chunk" and chunk["first_frame"] == frames, chunk
            frames += chunk["frames"]
            chunks.append(chunk)
            times.append(time.perf_counter() - began)
        live.close()
    cost = [c["denoise_seconds"] + c["decode_seconds"] + c["encode_seconds"] for c in chunks]
    early, late = slice(50, 150), slice(max(0, len(chunks) - 100), len(chunks))
    if len(chunks) <= 50:
        early = slice(0, None)
    early_time, late_time = statistics.median(cost[early]), statistics.median(cost[late])
    early_memory, late_memory = (statistics.median([c["memory_bytes"] for c in chunks[s]]) for s in (early, late))
    rate = (frames - chunks[0]["frames"]) / (times[-1] - times[0])
    result = {
        "model": hello["model"], "size": f"{hello['width']}x{hello['height']}", "attention": a.attention,
        "latent_frames": (frames + 3) // 4, "frames": frames, "chunks": len(chunks),
        "first_frame_seconds": first_video, "frames_per_second_with_delivery": rate,
        "chunk_seconds_50_150": early_time, "chunk_seconds_last_100": late_time, "time_ratio": late_time / early_time,
        "denoise": statistics.median(c["denoise_seconds"] for c in chunks),
        "decode": statistics.median(c["decode_seconds"] for c in chunks),
        "encode": statistics.median(c["encode_seconds"] for c in chunks),
        "chunk_seconds_by_hundreds": [round(statistics.median(cost[i:i + 100]), 4) for i in range(0, len(cost), 100)],
        "memory_by_hundreds": [chunks[i]["memory_bytes"] >> 20 for i in range(0, len(chunks), 100)],
        "memory_50_150": early_memory, "memory_last_100": late_memory, "memory_ratio": late_memory / early_memory}
    print(json.dumps(result, indent=1))
    steady = abs(result["time_ratio"] - 1) <= 0.05 and abs(result["memory_ratio"] - 1) <= 0.02
    return 0 if steady or not a.strict else 1


if __name__ == "__main__":
    sys.exit(main())
