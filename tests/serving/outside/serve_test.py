#!/usr/bin/env python3
"""`monarch serve` with a tiny random model, from outside.

    serve_test.py MONARCH
"""
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

from server import Server
from websocket import WebSocket

STREAMING = "causal: true\ndenoising_step_list: [1000, 500]\nnum_frame_per_block: 3\ntimestep_shift: 5.0\n"


def stream(server: Server, prompt: str, chunks: int) -> tuple[bytes, list[dict]]:
    live = WebSocket(f"ws://{server.address}/v1/live")
    assert json.loads(live.receive())["type"] == "hello"
    live.send(json.dumps({"type": "start", "prompt": prompt, "seed": 3}))
    video, reports = b"", []
    while len(reports) < chunks:
        message = live.receive()
        if isinstance(message, bytes):
            video += message
        else:
            reports.append(json.loads(message))
            assert reports[-1]["type"] == "chunk", reports[-1]
    live.close()
    return video, reports


def make_video(server: Server, request: dict) -> bytes:
    video = server.json("/v1/videos", request)
    while video["status"] in ("queued", "in_progress"):
        time.sleep(0.05)  # the server allows 50 requests a second
        video = server.json(f"/v1/videos/{video['id']}")
    assert video["status"] == "completed", video
    return server.get(f"/v1/videos/{video['id']}/content")


def main():
    monarch = sys.argv[1]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        subprocess.run([monarch, "init", folder / "model", "--preset", "tiny"], check=True, capture_output=True)
        (folder / "stream.yaml").write_text(STREAMING)
        command = [monarch, "serve", "--model", str(folder / "model"), "--size", "64x64", "--port", "0",
                   "--frames", "21", "--threads", "1", "--videos", str(folder / "videos")]

        with Server([*command, "--config", str(folder / "stream.yaml")], signal.SIGINT) as server:
            server.wait_until_ready()
            video, reports = stream(server, "a red circle", 3)
            assert [r["frames"] for r in reports] == [9, 12, 12], reports
            assert video[4:8] == b"ftyp" and video.count(b"moof") >= 3
            again, _ = stream(server, "a red circle", 3)
            assert again == video, "the same seed must give the same stream"
            other, _ = stream(server, "a blue square", 3)
            assert other != video
            clip = make_video(server, {"prompt": "a red circle", "frames": 21})
            assert clip[4:8] == b"ftyp"
            assert server.stop() == 0

        with Server(command, signal.SIGTERM) as server:  # a model of whole videos
            clips = make_video(server, {"prompt": "a red circle", "frames": 5, "steps": 2})
            assert clips[4:8] == b"ftyp"
            assert len(server.json("/v1/videos")["data"]) == 2  # and the clip of the run before
            assert server.stop() == 0

        for arguments, text in ((["--address", "0.0.0.0"], "token"), (["--port", "99999"], "--port"),
                                (["--max-viewers", "0"], "--max-viewers")):
            failed = subprocess.run([*command, *arguments], capture_output=True, text=True)
            assert failed.returncode == 2 and text in failed.stderr, (arguments, failed)
            assert failed.stderr.count("\n") == 1, failed.stderr
    print("ok")


if __name__ == "__main__":
    main()
