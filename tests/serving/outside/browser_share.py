#!/usr/bin/env python3
"""What the page costs where browser and server share the cores.

    browser_share.py MONARCH [--model DIR] [--attention NAME] [--seconds 30] [--strict]

The page of `monarch serve` plays a stream in headless Chromium, and its prompt is changed halfway. Prints, from the moment
the video moves: the processor time of server and browser as shares of all cores, how long after the click the first
picture moved, and the frame rate that the server could hold (frames of a chunk over its time) beside the browser. With
--strict it ends with 1 unless the page was free of errors and the rate above 16. For a quiet machine.
"""
import argparse
import json
import os
import pathlib
import statistics
import sys
import time

from server import add_server_options, chunk_seconds, serving
from browser import Browser, find_browser


def processor_seconds(process: int) -> float:
    """Of a process and all its descendants that live."""
    ticks, children = {}, {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            number, rest = stat.read_text().split(" (", 1)
        except OSError:  # it ended
            continue
        fields = rest.rsplit(") ", 1)[1].split()
        children.setdefault(int(fields[1]), []).append(int(number))
        ticks[int(number)] = sum(map(int, fields[11:13]))
    total, waiting = 0, [process]
    while waiting:
        one = waiting.pop()
        total += ticks.get(one, 0)
        waiting += children.get(one, [])
    return total / os.sysconf("SC_CLK_TCK")


def main():
    parser = argparse.ArgumentParser()
    add_server_options(parser)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--strict", action="store_true")
    a = parser.parse_args()
    if find_browser() is None:
        raise SystemExit("there is no Chromium here (Debian: apt install chromium)")
    with serving(a) as server, Browser() as browser:
        browser.open(server.url)
        browser.wait_for("!document.getElementById('send').disabled")
        # Every chunk message that the page gets is kept, too.
        browser.run("""{
          globalThis.chunks = [];
          const send = WebSocket.prototype.send;
          WebSocket.prototype.send = function (text) {
            if (!this.kept) {
              this.kept = true;
              this.addEventListener('message', ({data}) => {
                if (typeof data === 'string' && JSON.parse(data).type === 'chunk') chunks.push(JSON.parse(data));
              });
            }
            return send.call(this, text);
          };
        }""")
        browser.run("document.getElementById('prompt').value = 'a red circle moving right'")
        began = time.perf_counter()
        browser.run("document.getElementById('send').click()")
        browser.wait_for("document.getElementById('video-0').currentTime > 0")
        plays_after = time.perf_counter() - began
        since, server_before, browser_before = (time.perf_counter(), processor_seconds(server.process.pid),
                                                processor_seconds(browser.process.pid))
        time.sleep(a.seconds / 2)
        browser.run("document.getElementById('prompt').value = 'a blue square moving left'")
        browser.run("document.getElementById('send').click()")
        time.sleep(a.seconds / 2)
        capacity = (time.perf_counter() - since) * os.cpu_count()
        server_share = (processor_seconds(server.process.pid) - server_before) / capacity
        browser_share = (processor_seconds(browser.process.pid) - browser_before) / capacity
        played = browser.run("document.getElementById('video-0').currentTime")
        chunks = browser.run("chunks")
        problems = browser.problems
    rates = [c["frames"] / chunk_seconds(c) for c in chunks[1:]]
    rate = statistics.median(rates)
    print(json.dumps({"plays_after_seconds": plays_after, "played_seconds": played, "server_share": server_share,
                      "browser_share": browser_share, "chunks": len(chunks), "frames_per_second_possible": rate,
                      "least_and_most": [min(rates), max(rates)], "problems": problems}, indent=1))
    return 0 if not a.strict or (not problems and rate > 16) else 1


if __name__ == "__main__":
    sys.exit(main())
