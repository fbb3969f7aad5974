#!/usr/bin/env python3
"""A stream that runs for long: time and memory of its chunks, from its viewer's side.

    endurance.py MONARCH [--model DIR] [--attention NAME] [--latent-frames 2000] [--save FILE] [--beside] [--strict]

Prints medians. A machine's own speed wanders by more than 5 % within minutes; --beside takes that out: when the stream
is done, a second one begins at the same server, and chunks 50 to 150 of the new one are compared with those that the old
one makes in the same minutes, turn by turn. With --strict it ends with 1 unless the last 100 chunks (with --beside: the old
stream's) take as long as chunks 50 to 150 (5 %) in as much memory (2 %). Times need a quiet machine, so that is no test of
the suite.
"""
import argparse
import json
import statistics
import sys
import threading
import time

from server import CHUNK_PARTS, Server, add_server_options, chunk_seconds, serving
from websocket import WebSocket


class Viewer:
    """Starts a stream and watches it; what it is told of each chunk is in `chunks`, when it was told in `times`."""

    def __init__(self, server: Server, video=None):
        self.live = WebSocket(f"ws://{server.address}/v1/live")
        self.hello = json.loads(self.live.receive())
        self.video = video
        self.chunks, self.times, self.first_video, self.frames = [], [], None, 0
        self.began = time.perf_counter()
        self.live.send(json.dumps({"type": "start", "prompt": "a red circle moving right", "seed": 1}))

    def watch_until(self, enough):
        while not enough():
            message = self.live.receive()
            if isinstance(message, bytes):
                self.first_video = self.first_video or time.perf_counter() - self.began
                if self.video:
                    self.video.write(message)
                continue
            chunk = json.loads(message)
            if chunk["type"] != "chunk" or chunk["first_frame"] != self.frames:
                raise SystemExit(f"after frame {self.frames} the server said {message}")
            self.frames += chunk["frames"]
            self.chunks.append(chunk)
            self.times.append(time.perf_counter() - self.began)


def cost(chunks):
    return [chunk_seconds(chunk) for chunk in chunks]


def beside(server, old):
    """Seconds of the old stream's next chunks and of chunks 50 to 150 of a new one, made in turns."""
    new = Viewer(server)
    done, since = threading.Event(), [None]

    def watch_new():
        try:
            new.watch_until(lambda: len(new.chunks) >= 50)
            since[0] = len(old.chunks)
            new.watch_until(lambda: len(new.chunks) >= 150)
        finally:
            done.set()

    thread = threading.Thread(target=watch_new)
    thread.start()
    old.watch_until(done.is_set)
    thread.join()
    new.live.close()
    if since[0] is None or len(new.chunks) < 150:
        raise SystemExit("the new stream ended early")
    return cost(old.chunks[since[0]:]), cost(new.chunks[50:150])


def main():
    parser = argparse.ArgumentParser()
    add_server_options(parser)
    parser.add_argument("--latent-frames", type=int, default=2000)
    parser.add_argument("--save", help="the video")
    parser.add_argument("--beside", action="store_true", help="compare with a new stream, too")
    parser.add_argument("--strict", action="store_true")
    a = parser.parse_args()
    with serving(a) as server:
        viewer = Viewer(server, open(a.save, "wb") if a.save else None)
        viewer.watch_until(lambda: (viewer.frames + 3) // 4 >= a.latent_frames)
        chunks, times, frames = list(viewer.chunks), list(viewer.times), viewer.frames
        old, new = beside(server, viewer) if a.beside else (None, None)
        viewer.live.close()
    took = cost(chunks)
    early = slice(50, 150) if len(chunks) > 50 else slice(0, None)
    late = slice(max(0, len(chunks) - 100), len(chunks))
    early_time, late_time = statistics.median(took[early]), statistics.median(took[late])
    early_memory, late_memory = (statistics.median([c["memory_bytes"] for c in chunks[s]]) for s in (early, late))
    rate = (frames - chunks[0]["frames"]) / (times[-1] - times[0])
    result = {
        "model": viewer.hello["model"], "size": f"{viewer.hello['width']}x{viewer.hello['height']}",
        "attention": a.attention, "latent_frames": (frames + 3) // 4, "frames": frames, "chunks": len(chunks),
        "first_frame_seconds": viewer.first_video, "frames_per_second_with_delivery": rate,
        **{part: statistics.median(c[part] for c in chunks) for part in CHUNK_PARTS},
        "chunk_seconds_50_150": early_time, "chunk_seconds_last_100": late_time, "time_ratio": late_time / early_time,
        "chunk_seconds_by_hundreds": [round(statistics.median(took[i:i + 100]), 4) for i in range(0, len(took), 100)],
        "memory_by_hundreds": [chunks[i]["memory_bytes"] >> 20 for i in range(0, len(chunks), 100)],
        "memory_50_150": early_memory, "memory_last_100": late_memory, "memory_ratio": late_memory / early_memory}
    ratio = result["time_ratio"]
    if a.beside:
        ratio = statistics.median(old) / statistics.median(new)
        result |= {"beside_old_seconds": statistics.median(old), "beside_new_seconds": statistics.median(new),
                   "beside_chunks": [len(old), len(new)], "beside_time_ratio": ratio}
    print(json.dumps(result, indent=1))
    steady = abs(ratio - 1) <= 0.05 and abs(result["memory_ratio"] - 1) <= 0.02
    return 0 if steady or not a.strict else 1


if __name__ == "__main__":
    sys.exit(main())
