#!/usr/bin/env python3
"""Many viewers at once, viewers that misbehave, and a server that is killed.

    load_test.py TEST_SERVER [--seconds 20] [--viewers 32] [--command "bin/monarch serve --port 0 ..."]

With --command the viewers watch that server; its videos are decoded, but their colours are not known. Five minutes
with MONARCH_LONG_TESTS=1; --only-long does nothing without (exit code 77, as CTest takes it).
"""
import argparse
import json
import os
import pathlib
import random
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from server import Server
from websocket import WebSocket

COLOURS = ("red", "green", "blue")


def check(condition: bool, what: str):
    print(("ok   " if condition else "FAIL ") + what, flush=True)
    if not condition:
        raise SystemExit(1)


class Viewer(threading.Thread):
    """Watches for some seconds at the video's rate, checks every report, and keeps the video."""

    def __init__(self, address: str, number: int, seconds: float):
        super().__init__()
        self.address, self.number, self.seconds = address, number, seconds
        self.colour = COLOURS[number % 3]
        self.video, self.frames, self.problem, self.first_frame = b"", 0, None, 0.0

    def run(self):
        try:
            self.watch()
        except Exception as error:  # shown by the test; a thread's own would be lost
            self.problem = f"{type(error).__name__}: {error}"

    def watch(self):
        live = WebSocket(f"ws://{self.address}/v1/live", timeout=600)
        rate = json.loads(live.receive())["frames_per_second"]
        prompt = f"a {self.colour} thing, viewer {self.number}"
        live.send(json.dumps({"type": "played", "frame": 0}))
        live.send(json.dumps({"type": "start", "prompt": prompt, "seed": self.number}))
        began, left = time.monotonic(), threading.Event()

        def play():  # at the video's rate, whether messages come or not
            while not left.wait(0.2):
                frame = min(int((time.monotonic() - began) * rate), self.frames)
                try:
                    live.send(json.dumps({"type": "played", "frame": frame}))
                except OSError:
                    return

        playing = threading.Thread(target=play)
        playing.start()
        try:
            self.receive_until(live, prompt, began + self.seconds)
        finally:
            left.set()
            playing.join()
        live.close()

    def receive_until(self, live: WebSocket, prompt: str, end: float):
        chunk = 0
        while True:  # until a report, which tells what came before it
            message = live.receive()
            if isinstance(message, bytes):
                self.video += message
                continue
            report = json.loads(message)
            if report["type"] != "chunk":
                raise AssertionError(message)
            if (report["chunk"], report["first_frame"], report["settings"]["prompt"]) != (chunk, self.frames, prompt):
                raise AssertionError(f"chunk {chunk} from frame {self.frames} was expected, not {message}")
            chunk += 1
            self.frames += report["frames"]
            self.first_frame = report["first_frame_seconds"]
            if time.monotonic() > end:
                return


def load(server: Server, checker: str, viewers: int, seconds: float, colours: bool, judge_memory: bool):
    watching = [Viewer(server.address, i, seconds) for i in range(viewers)]
    for viewer in watching:
        viewer.start()
    memory = []
    while any(viewer.is_alive() for viewer in watching):
        time.sleep(min(0.5, seconds / 10))
        memory.append(server.resident_bytes())
    for viewer in watching:
        viewer.join()
    problems = [f"viewer {v.number}: {v.problem}" for v in watching if v.problem]
    check(not problems, f"{viewers} viewers saw every chunk in order {problems[:3]}")
    with tempfile.TemporaryDirectory() as name:
        for viewer in watching:
            path = pathlib.Path(name) / f"{viewer.number}.mp4"
            path.write_bytes(viewer.video)
            result = subprocess.run([checker, "check", path, viewer.colour if colours else "any", str(viewer.frames)],
                                    capture_output=True, text=True)
            if result.returncode != 0:
                check(False, f"video of viewer {viewer.number}: {result.stderr}")
    frames = sum(viewer.frames for viewer in watching)
    check(True, f"none of their videos is corrupt: {frames} frames, {frames / seconds:.0f} a second, first frame after at "
          f"most {max(v.first_frame for v in watching):.2f} s")
    half = memory[len(memory) // 2:]
    check(not judge_memory or max(half) <= 1.1 * half[0] + (16 << 20),
          f"memory in the second half: {half[0] >> 20} MiB at its start, at most {max(half) >> 20} MiB")


def misbehave(address: str, how: int):
    host, port = address.split(":")
    if how == 0:  # comes and goes
        live = WebSocket(f"ws://{address}/v1/live")
        live.receive()
        live.send(json.dumps({"type": "start", "prompt": "a red thing"}))
        live.receive()
        live.socket.close()
    elif how == 1:  # stalls: reads nothing, then goes without a word
        live = WebSocket(f"ws://{address}/v1/live")
        live.send(json.dumps({"type": "start", "prompt": "a green thing"}))
        time.sleep(0.2)
        live.socket.close()
    elif how == 2:  # garbage instead of HTTP
        with socket.create_connection((host, int(port))) as raw:
            raw.sendall(os.urandom(random.randrange(1, 5000)))
    elif how == 3:  # garbage instead of messages
        live = WebSocket(f"ws://{address}/v1/live")
        for message in ("", "{", "[]", '{"type": 1}', '{"type": "change"}', "x" * 20000, b"\0\1\2"):
            live.send(message)
        while True:
            live.receive()  # errors, then the end
    elif how == 4:  # half a frame, then nothing
        live = WebSocket(f"ws://{address}/v1/live")
        live.socket.sendall(b"\x81\xfe\x10\x00abcd")
        live.socket.close()
    else:  # requests that end in the middle
        with socket.create_connection((host, int(port))) as raw:
            raw.sendall(b"POST /v1/videos HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{")


def soak(server: Server, seconds: float, judge_memory: bool):
    def round_of(count: int):
        for i in range(count):
            try:
                misbehave(server.address, i % 6)
            except (ConnectionError, OSError):
                pass  # that is how the server answers
            time.sleep(0.025)  # the server allows 50 requests a second
    calm = Viewer(server.address, 0, seconds)
    calm.start()
    round_of(60)
    before = server.resident_bytes()
    count = 60
    while calm.is_alive():
        round_of(6)
        count += 6
    after = server.resident_bytes()
    check(calm.problem is None, f"a viewer saw every chunk beside {count} that came, went, stalled or sent garbage "
          f"{calm.problem or ''}")
    deadline = time.monotonic() + 30
    while b"monarch_live_viewers 0\n" not in server.get("/metrics"):
        check(time.monotonic() < deadline, "viewers that went are forgotten")
        time.sleep(0.1)
    check(not judge_memory or after <= 1.1 * before + (8 << 20), f"memory is flat: {before >> 20} MiB, then {after >> 20} MiB")


def kill(command: list[str], checker: str, videos: pathlib.Path):
    with Server(command) as server:
        finished = server.json("/v1/videos", {"prompt": "a red thing", "frames": 17})["id"]
        while server.json(f"/v1/videos/{finished}")["status"] != "completed":
            time.sleep(0.05)
        server.json("/v1/videos", {"prompt": "an endless blue thing", "frames": 17})
        while not list(videos.glob(".video_*.part.mp4")):
            time.sleep(0.01)
        server.kill()
    check(len(list(videos.glob(".video_*.part.mp4"))) == 1, "the killed server leaves half a clip under a hidden name")
    subprocess.run([checker, "check", videos / f"{finished}.mp4", "red", "17"], check=True)
    with Server(command) as server:
        listed = server.json("/v1/videos")["data"]
        check([video["id"] for video in listed] == [finished], "the next server has the finished clip")
        (videos / "content.mp4").write_bytes(server.get(f"/v1/videos/{finished}/content"))
        subprocess.run([checker, "check", videos / "content.mp4", "red", "17"], check=True)
        check(not list(videos.glob(".video_*.part.mp4")), "and removed the other")
        check(server.stop() == 0, "and ends when it is asked to")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("test_server")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--viewers", type=int, default=32)
    parser.add_argument("--command")
    parser.add_argument("--only-long", action="store_true")
    parser.add_argument("--sanitized", action="store_true", help="freed memory is kept for a while: do not judge it")
    a = parser.parse_args()
    long = os.environ.get("MONARCH_LONG_TESTS") == "1"
    if a.only_long and not long:
        print("SKIPPED: a long test; ./quickstart test --long")
        return 77
    seconds = a.seconds or (300 if long else 20)
    with tempfile.TemporaryDirectory() as name:
        videos = pathlib.Path(name)
        own = [a.test_server, str(videos)]
        command, end = (shlex.split(a.command), signal.SIGINT) if a.command else (own, None)
        with Server(command, end) as server:
            server.wait_until_ready()
            load(server, a.test_server, a.viewers, seconds, colours=not a.command, judge_memory=not a.sanitized)
            soak(server, seconds / 3, judge_memory=not a.sanitized)
        if not a.command:
            kill(own, a.test_server, videos)
    return 0


if __name__ == "__main__":
    sys.exit(main())
