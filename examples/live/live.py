#!/usr/bin/env python3
"""Saves a live stream and changes its prompt on the way.

    bin/monarch serve &
    examples/live/live.py "a red circle moving right" --then "a blue square" --at 4 --seconds 8 --output live.mp4
"""
import argparse
import json

from websocket import WebSocket


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompt")
    parser.add_argument("--then", help="a second prompt")
    parser.add_argument("--at", type=float, default=4, help="seconds of video before it (default 4)")
    parser.add_argument("--blend", type=int, default=0, help="chunks over which it takes over")
    parser.add_argument("--seconds", type=float, default=8, help="of video (default 8)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--attention", help="dense, monarchrt, ... (default: the server's)")
    parser.add_argument("--output", default="live.mp4")
    parser.add_argument("--server", default="ws://127.0.0.1:8080")
    parser.add_argument("--token", default="")
    a = parser.parse_args()

    live = WebSocket(f"{a.server}/v1/live", a.token)
    hello = json.loads(live.receive())
    print(f"{hello['model']}: {hello['width']}x{hello['height']} at {hello['frames_per_second']} frames a second")
    start = {"type": "start", "prompt": a.prompt, "seed": a.seed}
    if a.attention:
        start["attention"] = a.attention
    live.send(json.dumps(start))
    frames, changed = 0, False
    with open(a.output, "wb") as output:
        while frames < a.seconds * hello["frames_per_second"]:
            message = live.receive()
            if isinstance(message, bytes):
                output.write(message)
                continue
            message = json.loads(message)
            if message["type"] == "error":
                raise SystemExit(message["message"])
            if message["type"] != "chunk":
                continue
            frames = message["first_frame"] + message["frames"]
            print(f"{frames} frames: {message['settings']['prompt']}, denoised in {message['denoise_seconds']:.2f} s, "
                  f"decoded in {message['decode_seconds']:.2f} s, first frame after {message['first_frame_seconds']:.2f} s")
            if a.then and not changed and frames >= a.at * hello["frames_per_second"]:
                live.send(json.dumps({"type": "change", "prompt": a.then, "blend": a.blend}))
                changed = True
    live.close()
    print(a.output)


if __name__ == "__main__":
    main()
