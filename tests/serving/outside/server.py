"""Starts a server for a test, and says where it is."""
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "examples" / "live"))


class Server:
    """`command` prints "... http://127.0.0.1:PORT ..." when it listens. End it with stop() or kill().

    `end`: the signal that asks it to; without one it ends when its standard input does."""

    def __init__(self, command: list[str], end: signal.Signals | None = None, **options):
        self.end = end
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)
        line = self.process.stdout.readline()
        found = re.search(r"http://(127\.0\.0\.1:\d+)", line)
        if not found:
            raise SystemExit(f"{command[0]} did not start: {line!r}")
        self.address = found[1]
        self.url = f"http://{self.address}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def wait_until_ready(self, seconds: float = 120):
        deadline = time.monotonic() + seconds
        while True:
            try:
                return self.get("/ready")
            except urllib.error.HTTPError as error:
                if error.code != 503 or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return answer.read()

    def json(self, path: str, body: dict | None = None) -> dict:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data), timeout=60) as answer:
            return json.load(answer)

    def resident_bytes(self) -> int:
        text = pathlib.Path(f"/proc/{self.process.pid}/statm").read_text()
        return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.stdin.close()
            if self.end is not None:
                self.process.send_signal(self.end)
        return self.process.wait(60)

    def kill(self):
        self.process.kill()
        self.process.wait(60)


def add_server_options(parser):
    """Those of serving()."""
    parser.add_argument("monarch")
    parser.add_argument("--model", default="models/shapes_stream")
    parser.add_argument("--attention", default="monarchrt")


@contextlib.contextmanager
def serving(options):
    """`monarch serve` with these options, ready, its videos in a folder that goes with it."""
    with tempfile.TemporaryDirectory() as videos, \
            Server([options.monarch, "serve", "--model", options.model, "--attention", options.attention, "--port", "0",
                    "--videos", videos], signal.SIGINT) as server:
        server.wait_until_ready()
        yield server


CHUNK_PARTS = ("denoise_seconds", "decode_seconds", "encode_seconds")


def chunk_seconds(chunk: dict) -> float:
    """What a chunk took, by the server's message."""
    return sum(chunk[part] for part in CHUNK_PARTS)
