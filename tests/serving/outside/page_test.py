#!/usr/bin/env python3
"""The page of the server in a real browser.

    page_test.py TEST_SERVER [--screenshots FOLDER]

Exit code 77: there is no browser here (CTest says so).
"""
import argparse
import sys
import tempfile

from server import Server
from browser import Browser, find_browser

# Mean colour [r, g, b] of a video's present picture, its bar left out, and the column of the bar.
PICTURE = """(video) => {
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  const context = canvas.getContext('2d');
  context.drawImage(video, 0, 0);
  const {data, width, height} = context.getImageData(0, 0, canvas.width, canvas.height);
  const row = Math.floor(height / 2) * width;
  let bar = -1;
  const sum = [0, 0, 0, 0];
  for (let x = 0; x < width; ++x) {
    const [r, g, b] = data.slice(4 * (row + x), 4 * (row + x) + 3);
    if (r > 170 && g > 170 && b > 170) { if (bar < 0) bar = x; continue; }
    [r, g, b, 1].forEach((value, i) => { sum[i] += value; });
  }
  return {colour: sum.slice(0, 3).map((s) => s / sum[3]), bar};
}"""


def picture(browser: Browser, video: str = "document.getElementById('video-0')") -> dict:
    return browser.run(f"({PICTURE})({video})")


def is_colour(browser: Browser, name: str, video: str = "document.getElementById('video-0')") -> str:
    return f"(() => {{ const c = ({PICTURE})({video}).colour; return c[{'rgb'.index(name[0])}] === Math.max(...c); }})()"


def statistic(name: str) -> str:
    return f"[...document.querySelectorAll('#stats div')].find((d) => d.textContent.startsWith('{name}'))?.lastChild.textContent"


def check(condition: bool, what: str):
    print(("ok   " if condition else "FAIL ") + what, flush=True)
    if not condition:
        raise SystemExit(1)


def watch(browser: Browser):
    """Moving video, a change of prompt in the pixels, statistics that move."""
    browser.run("document.getElementById('prompt').value = 'a red thing'")
    browser.run("document.getElementById('send').click()")
    browser.wait_for("document.getElementById('video-0').currentTime > 0.3")
    browser.wait_for(is_colour(browser, "red"))
    bars = set()
    while len(bars) < 4:  # a video that stands still would never end; CTest's limit ends it
        bars.add(picture(browser)["bar"])
    check(True, f"the video moves: the bar was at {sorted(bars)}")
    frames = int(browser.run(statistic("Frames so far")))
    browser.wait_for(f"Number({statistic('Frames so far')}) > {frames}")
    browser.wait_for(f"Number({statistic('Frames a second')}) > 0")
    check(True, "the statistics move")
    browser.run("document.getElementById('prompt').value = 'a blue thing'")
    browser.run("document.getElementById('send').click()")
    browser.wait_for(is_colour(browser, "blue"))
    check(True, "a new prompt shows in the pixels")


def pause(browser: Browser):
    browser.run("document.activeElement.blur()")
    browser.press(" ", 32)
    browser.wait_for("document.getElementById('pause').textContent === 'Go on'")
    browser.wait_for("document.getElementById('video-0').paused")
    at = browser.run("document.getElementById('video-0').currentTime")
    browser.press(" ", 32)
    browser.wait_for(f"document.getElementById('video-0').currentTime > {at} + 0.2")
    check(True, "the space key pauses and goes on")


def record(browser: Browser):
    browser.run("document.getElementById('record').click()")
    frames = int(browser.run(statistic("Frames so far")))
    browser.wait_for(f"Number({statistic('Frames so far')}) > {frames} + 16")
    browser.run("document.getElementById('record').click()")
    clip = "document.querySelector('#clips .recording video')"
    browser.wait_for(f"{clip} !== null")
    browser.run(f"{clip}.play()")
    browser.wait_for(f"{clip}.currentTime > 0.3")
    browser.wait_for(is_colour(browser, "blue", clip))
    length = browser.run(f"{clip}.duration")
    check(0.5 < length < 20, f"the recording plays, {length:.1f} s long")
    check(browser.run("document.querySelector('#clips .recording a').download").endswith(".mp4"), "and can be saved")


def side_by_side(browser: Browser):
    browser.run("document.getElementById('side').click()")
    browser.wait_for("document.getElementById('video-1').currentTime > 0.2")
    browser.wait_for("document.getElementById('name-0').textContent === 'dense'")
    browser.wait_for("document.getElementById('name-1').textContent === 'monarchrt'")
    for pane in (0, 1):  # they begin anew with the prompt that is written there
        browser.wait_for(is_colour(browser, "green", f"document.getElementById('video-{pane}')"))
    check(True, "dense and Monarch side by side")
    both = "[0, 1].map((i) => document.getElementById(`video-${i}`).currentTime)"
    browser.wait_for(f"(([a, b]) => a > 0.5 && Math.abs(a - b) < 0.1)({both})")
    check(True, "and at the same time")


def clip(browser: Browser):
    browser.run("document.getElementById('prompt').value = 'a green thing'")
    browser.run("document.getElementById('clip').click()")
    made = "document.querySelector('#clips figure:not(.recording) video')"
    browser.wait_for(f"{made} !== null")
    browser.run(f"{made}.play()")
    browser.wait_for(f"{made}.currentTime > 0.2")
    browser.wait_for(is_colour(browser, "green", made))
    check(True, "a clip of the server appears in the gallery and plays")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("test_server")
    parser.add_argument("--screenshots")
    a = parser.parse_args()
    if find_browser() is None:
        print("SKIPPED: no Chromium here (Debian: apt install chromium); the page was not tested")
        return 77
    with tempfile.TemporaryDirectory() as videos, Server([a.test_server, videos]) as server, Browser() as browser:
        browser.look(1100, 1000)
        browser.open(server.url)
        browser.wait_for("!document.getElementById('send').disabled")
        watch(browser)
        pause(browser)
        record(browser)
        clip(browser)
        if a.screenshots:
            for name, width, dark in (("light", 1100, False), ("dark", 1100, True), ("phone", 390, True)):
                browser.look(width, 1000, dark)
                browser.screenshot(f"{a.screenshots}/{name}.png")
            browser.look(1100, 1000)
        side_by_side(browser)
        if a.screenshots:
            browser.screenshot(f"{a.screenshots}/two.png")
        check(server.stop() == 0, "the server ends")
        browser.wait_for("document.getElementById('status').textContent.startsWith('The stream ended')")
        check(not browser.problems, f"nothing went wrong on the page {browser.problems}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
