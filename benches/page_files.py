#!/usr/bin/env python3
"""Files between the page of `rtckit signal` and rtckit, each way, and between two pages, through headless Chromium.

    benches/page_files.py [--mebibytes 50] [--rounds 3]

Needs scripts/setup build bench and a build, RTCKIT or the release build. Each figure is from the consent or the choice to the words of the
page that the hash is right; what arrived is compared with what was sent by SHA-256, outside of the protocol. For comparison as many
bytes by a bare data channel of Chromium, with both ends in one page.
"""

import argparse
import contextlib
import hashlib
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
RTCKIT = os.environ.get("RTCKIT", str(TARGET / "release" / "rtckit"))
PATIENCE = 120
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]


# What Chromium takes without us: messages as large as the page's, as much of them waiting.
BARE = """const [bytes, done] = arguments;
(async () => {
  const [from, to] = [new RTCPeerConnection(), new RTCPeerConnection()];
  from.onicecandidate = ({ candidate }) => candidate && to.addIceCandidate(candidate);
  to.onicecandidate = ({ candidate }) => candidate && from.addIceCandidate(candidate);
  const channel = from.createDataChannel('bare');
  const arrived = new Promise((all) => {
    let count = 0;
    to.ondatachannel = ({ channel }) => {
      channel.onmessage = ({ data }) => { if ((count += data.byteLength ?? data.size) >= bytes) all(); };
    };
  });
  await from.setLocalDescription();
  await to.setRemoteDescription(from.localDescription);
  await to.setLocalDescription();
  await from.setRemoteDescription(to.localDescription);
  await new Promise((open) => { channel.onopen = open; });
  const begin = performance.now();
  channel.bufferedAmountLowThreshold = 1 << 18;
  for (let sent = 0; sent < bytes; sent += 65564) {
    if (channel.bufferedAmount > 1 << 20) await new Promise((low) => { channel.onbufferedamountlow = low; });
    channel.send(new Uint8Array(65564));
  }
  await arrived;
  done((performance.now() - begin) / 1000);
})()"""


class Browser:
    """Chromium, by the few commands of WebDriver that this needs."""

    def __init__(self):
        self.driver = subprocess.Popen(["chromedriver", "--port=0", "--log-level=SEVERE"], stdout=subprocess.PIPE, text=True)
        port = next(found for found in (re.search(r"successfully on port (\d+)", line) for line in self.driver.stdout) if found)
        self.base = f"http://127.0.0.1:{port[1]}/session"
        options = {"browserName": "chrome", "timeouts": {"script": PATIENCE * 1000}, "goog:chromeOptions": {"args": FLAGS}}
        self.base += "/" + self.ask("POST", "", {"capabilities": {"alwaysMatch": options}})["sessionId"]
        self.first = self.ask("GET", "/window")

    def ask(self, method, path, body=None):
        data = None if method == "GET" else json.dumps(body or {}).encode()
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        return json.load(urllib.request.urlopen(request, timeout=PATIENCE + 10))["value"]

    def close(self):
        self.ask("DELETE", "")
        self.driver.kill()
        self.driver.wait()


class Page:
    """One window in a room, without camera and microphone."""

    def __init__(self, browser, url):
        self.browser = browser
        self.handle = browser.ask("POST", "/window/new", {"type": "window"})["handle"]
        self.ask("POST", "/url", {"url": url})
        self.run("for (const id of ['with-camera', 'with-microphone']) document.getElementById(id).checked = false")
        # Its rules let no script read what the links lead to.
        self.run("const link = URL.createObjectURL; URL.createObjectURL = (blob) => link.call(URL, window.received = blob)")
        self.click("#join")

    def ask(self, *request):
        self.browser.ask("POST", "/window", {"handle": self.handle})
        return self.browser.ask(*request)

    def run(self, script, *args):
        return self.ask("POST", "/execute/sync", {"script": script, "args": list(args)})

    def element(self, selector):
        return next(iter(self.ask("POST", "/element", {"using": "css selector", "value": selector}).values()))

    def click(self, selector):
        self.ask("POST", f"/element/{self.element(selector)}/click")

    def choose(self, path):
        self.ask("POST", f"/element/{self.element('#picker')}/value", {"text": str(path)})

    def until(self, selector, text):
        end = time.monotonic() + PATIENCE
        while not self.run("return document.querySelector(arguments[0]).textContent.includes(arguments[1])", selector, text):
            assert time.monotonic() < end, (text, self.run("return document.body.innerText"))
            time.sleep(0.01)

    def received(self):
        """SHA-256 of what was received last."""
        script = """const [done] = arguments;
            received.arrayBuffer().then((content) => crypto.subtle.digest('SHA-256', content)).then((hash) =>
              done([...new Uint8Array(hash)].map((byte) => byte.toString(16).padStart(2, '0')).join('')));"""
        return self.ask("POST", "/execute/async", {"script": script, "args": []})

    def close(self):
        self.ask("DELETE", "/window")
        self.browser.ask("POST", "/window", {"handle": self.browser.first})


def to_page(browser, url, file):
    page = Page(browser, url)
    page.until("#status", "Waiting")
    sender = subprocess.Popen([RTCKIT, "-q", "send-file", file, "--signal", url.replace("http", "ws", 1)])
    page.until("#file-list", "Accept")
    begin = time.monotonic()
    page.click("#file-list button.primary")
    page.until("#file-list", "hash is right")
    seconds = time.monotonic() - begin
    assert sender.wait(PATIENCE) == 0
    yield seconds, page.received()
    page.close()


def from_page(browser, url, file):
    page = Page(browser, url)
    page.until("#status", "Waiting")
    with tempfile.TemporaryDirectory() as folder:
        receiver = subprocess.Popen([RTCKIT, "-q", "receive-file", "--signal", url.replace("http", "ws", 1), "--output", folder + "/"])
        page.until("#file-list", "waits for files")
        begin = time.monotonic()
        page.choose(file)
        page.until("#file-list", "checked there")
        seconds = time.monotonic() - begin
        assert receiver.wait(PATIENCE) == 0
        yield seconds, sha256(pathlib.Path(folder) / file.name)
    page.close()


def between_pages(browser, url, file):
    ann, bob = Page(browser, url), Page(browser, url)
    ann.until("#status", "Connected")
    ann.choose(file)
    bob.until("#file-list", "Accept")
    begin = time.monotonic()
    bob.click("#file-list button.primary")
    bob.until("#file-list", "hash is right")
    yield time.monotonic() - begin, bob.received()
    ann.close()
    bob.close()


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def show(name, rates, options):
    spread = f"{statistics.median(rates):.1f} MiB/s ({min(rates):.1f}–{max(rates):.1f}, n={len(rates)})"
    print(f"| {name}, {options.mebibytes} MiB | {spread} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mebibytes", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    server = subprocess.Popen([RTCKIT, "signal", "--listen=127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    browser = Browser()
    try:
        url = server.stdout.readline().strip().rstrip("/")
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "noise.bin"
            file.write_bytes(os.urandom(options.mebibytes << 20))
            expected = sha256(file)
            ways = [("rtckit → page", to_page), ("page → rtckit", from_page), ("page → page", between_pages)]
            for at, (name, way) in enumerate(ways):
                rates = []
                for round in range(options.rounds):
                    with contextlib.closing(way(browser, f"{url}/{at}-{round}", file)) as one:
                        for seconds, found in one:
                            assert found == expected, f"{name}: what arrived is not what was sent"
                            rates.append(options.mebibytes / seconds)
                show(name, rates, options)
            bare = [options.mebibytes / browser.ask("POST", "/execute/async", {"script": BARE, "args": [options.mebibytes << 20]}) for _ in range(options.rounds)]
            show("a bare data channel, Chromium ↔ Chromium", bare, options)
    finally:
        browser.close()
        server.terminate()
        server.wait()


sys.exit(main())
