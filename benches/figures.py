#!/usr/bin/env python3
"""Takes the figures of benches/README.md, side by side in one run, and prints them as its table.

    benches/figures.py [--rounds N] [--seconds S] [--only version,connect,cpu,latency,turn] [--json FILE]

Needs scripts/setup build bench and a release build; makes itself a virtual environment with aiortc under target/.
A figure that cannot be taken is shown with its reason, never left out.
"""

import argparse
import contextlib
import http.server
import json
import os
import pathlib
import queue
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
RTCKIT = os.environ.get("RTCKIT", str(TARGET / "release" / "rtckit"))
PEER_JS = (ROOT / "tests/integration/browser/peer.js").read_bytes()
PATIENCE = 30

# The page's end of a call with rtckit: messages travel by HTTP as they come, without WebDriver in between.
PAGE_JS = b"""
async function say(message) {
  await fetch('/say', { method: 'POST', body: JSON.stringify(message) });
}
async function answerOverHttp() {
  await create('peer', { media: 'receive', channel: null });
  const { connection } = peer('peer');
  let early = [], answered = false;
  connection.onicecandidate = ({ candidate }) => {
    const message = candidate ? { type: 'candidate', ...candidate.toJSON() } : { type: 'end-of-candidates' };
    answered ? say(message) : early.push(message);
  };
  const end = performance.now() + 10000;
  while (connection.connectionState !== 'connected' && performance.now() < end) {
    const message = await (await fetch('/next')).json();
    if (message.type === 'offer') {
      await connection.setRemoteDescription(message);
      await connection.setLocalDescription();
      await say(connection.localDescription.toJSON());
      answered = true;
      early.forEach(say);
    } else if (message.type === 'candidate') {
      await connection.addIceCandidate(message);
    } else if (message.type === 'none') {
      continue;
    }
  }
  return null;
}
// Two connections of this page, each behind the relay: bits per second that one receives of the other.
async function throughRelay(urls, seconds) {
  const iceServers = [{ urls, username: 'alice', credential: 'secret' }];
  const [near, far] = [0, 1].map(() => new RTCPeerConnection({ iceServers, iceTransportPolicy: 'relay' }));
  for (const [one, other] of [[near, far], [far, near]]) {
    one.onicecandidate = ({ candidate }) => candidate && other.addIceCandidate(candidate);
  }
  const channel = near.createDataChannel('load', { ordered: true });
  let bytes = 0, began = 0, last = 0;
  far.ondatachannel = ({ channel }) => {
    channel.onmessage = ({ data }) => {
      last = performance.now();
      began ? bytes += data.byteLength : began = last;
    };
  };
  await near.setLocalDescription();
  await far.setRemoteDescription(near.localDescription);
  await far.setLocalDescription();
  await near.setRemoteDescription(far.localDescription);
  await new Promise((open, fail) => { channel.onopen = open; setTimeout(() => fail('no channel'), 20000); });
  const part = new Uint8Array(16384), end = performance.now() + seconds * 1000;
  while (performance.now() < end) {
    while (channel.bufferedAmount < 1 << 20) channel.send(part);
    await new Promise((next) => setTimeout(next, 1));
  }
  near.close();
  far.close();
  return bytes * 8000 / (last - began);
}
"""


class Site:
    """Serves the page, and carries signaling between it and a rtckit process."""

    def __init__(self):
        self.to_page = queue.Queue()
        self.from_page = queue.Queue()
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Without it the answer to every fetch waits for a delayed acknowledgement.
            disable_nagle_algorithm = True

            def log_message(self, *args):
                pass

            def reply(self, body, kind="application/json"):
                head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {len(body)}\r\n\r\n"
                self.wfile.write(head.encode() + body)

            def do_GET(self):
                if self.path == "/peer.js":
                    self.reply(PEER_JS + PAGE_JS, "text/javascript")
                elif self.path == "/next":
                    try:
                        self.reply(site.to_page.get(timeout=0.2))
                    except queue.Empty:
                        self.reply(b'{"type":"none"}')
                else:
                    self.reply(b"<!doctype html><meta charset=utf-8><body><script src=/peer.js></script>", "text/html")

            def do_POST(self):
                site.from_page.put(self.rfile.read(int(self.headers["Content-Length"])))
                self.reply(b"{}")

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/"


class Chromium:
    """Headless Chromium behind a chromedriver of ours."""

    def __init__(self):
        self.driver = subprocess.Popen(
            ["chromedriver", "--port=0", "--log-level=SEVERE"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        for line in self.driver.stdout:
            if "successfully on port " in line:
                self.base = "http://127.0.0.1:" + line.rsplit(" ", 1)[1].strip().rstrip(".")
                break
        flags = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
            --disable-component-update --disable-sync --use-fake-device-for-media-stream --use-fake-ui-for-media-stream
            --autoplay-policy=no-user-gesture-required --remote-debugging-pipe""".split()
        wanted = {"browserName": "chrome", "goog:chromeOptions": {"args": flags}}
        self.base += "/session"
        self.base += "/" + self.post("", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def post(self, path, body):
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.base + path, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=60) as reply:
            return json.load(reply)["value"]

    def go(self, url):
        self.post("/url", {"url": url})

    def run(self, expression):
        script = (
            "const done = arguments[arguments.length - 1];"
            f"(async () => {expression})().then((v) => done({{v}}), (e) => done({{e: String(e)}}));"
        )
        result = self.post("/execute/async", {"script": script, "args": []})
        if "e" in result:
            raise RuntimeError(result["e"])
        return result["v"]

    def close(self):
        with contextlib.suppress(OSError):
            urllib.request.urlopen(urllib.request.Request(self.base, method="DELETE"), timeout=10).close()
        self.driver.kill()
        self.driver.wait()


class Watched:
    """A process whose peak memory is sampled while it runs, and whose CPU time is known after."""

    def __init__(self, command, **streams):
        self.process = subprocess.Popen(command, **streams)
        self.peak = 0
        self.sampler = threading.Thread(target=self.sample)
        self.sampler.start()

    def sample(self):
        # VmHWM only grows. ru_maxrss would count this script's own memory from before the exec.
        with contextlib.suppress(OSError):
            while True:
                with open(f"/proc/{self.process.pid}/status") as status:
                    marks = [line for line in status if line.startswith("VmHWM")]
                if not marks:
                    return
                self.peak = max(self.peak, int(marks[0].split()[1]) * 1024)
                time.sleep(0.05)

    def wait(self):
        self.sampler.join(PATIENCE + 60)
        _, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self.cpu = usage.ru_utime + usage.ru_stime
        if self.process.returncode != 0:
            raise RuntimeError(f"{' '.join(map(str, self.process.args[:3]))} … exited {self.process.returncode}")


def chain(caller, callee, errors=(None, None)):
    """Runs two programs with the stdout of each in the stdin of the other."""
    to_callee, to_caller = os.pipe(), os.pipe()
    first = Watched(caller, stdin=to_caller[0], stdout=to_callee[1], stderr=errors[0])
    second = Watched(callee, stdin=to_callee[0], stdout=to_caller[1], stderr=errors[1])
    for end in (*to_callee, *to_caller):
        os.close(end)
    first.wait()
    second.wait()
    return first, second


def result_of(path):
    """The last event of a run: its result."""
    lines = pathlib.Path(path).read_text().splitlines()
    return json.loads(lines[-1])


def spread(values, unit="ms"):
    return f"{statistics.median(values):.1f} {unit} ({min(values):.1f}–{max(values):.1f}, n={len(values)})"


def started(command, rounds):
    """Milliseconds from start to end of a program that ends at once; the first run, which warms up, is not counted."""
    times = []
    for _ in range(rounds + 1):
        begin = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        times.append((time.perf_counter() - begin) * 1000)
    return times[1:]


def bench_version(options):
    yield "`/bin/true`, for scale", lambda: spread(started(["/bin/true"], 50))
    yield "process start → `--version` printed", lambda: spread(started([RTCKIT, "--version"], 50))


def ours_to_ours(rounds, *flags):
    connects, channels = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            events = f"{folder}/events"
            caller = [RTCKIT, "call", "--data", "--duration", "0.3s", "--timing", "--events-file", events, *flags]
            chain(caller, [RTCKIT, "answer", "--quiet", *flags])
            timing = result_of(events)["timing"]
            connects.append((timing["dtlsConnected"] - timing["offerCreated"]) * 1000)
            channels.append(timing["dataChannelOpen"] * 1000)
    return connects, channels


def ours_to_chromium(chromium, site, rounds, *media):
    connects = []
    for _ in range(rounds):
        chromium.go(site.url)
        # Queues of its own: the goodbye of the last round must not be the first that this page hears.
        out, back = site.to_page, site.from_page = queue.Queue(), queue.Queue()
        with tempfile.TemporaryDirectory() as folder:
            events = f"{folder}/events"
            command = [RTCKIT, "call", *media, "--trickle", "--duration", "0.5s", "--timing", "--events-file", events]
            # The page waits for the offer before the clock starts, as the callee of the other rows does.
            def page():
                with contextlib.suppress(Exception):  # a page that fails shows in the timing, which is then missing
                    chromium.run("answerOverHttp()")

            answering = threading.Thread(target=page)
            answering.start()
            time.sleep(0.3)
            ours = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

            def to_page(ours=ours, out=out):
                for line in ours.stdout:
                    out.put(line)

            def to_us(ours=ours, back=back):
                with contextlib.suppress(OSError):
                    while ours.poll() is None:
                        with contextlib.suppress(queue.Empty):
                            ours.stdin.write(back.get(timeout=0.1) + b"\n")
                            ours.stdin.flush()

            for job in (to_page, to_us):
                threading.Thread(target=job, daemon=True).start()
            ours.wait(PATIENCE)
            answering.join()
            timing = result_of(events)["timing"]
            connects.append((timing["dtlsConnected"] - timing["offerCreated"]) * 1000)
    return connects


def bench_connect(options):
    rounds = options.rounds
    both = {}

    def ours(flag):
        both[flag] = ours_to_ours(rounds, *([flag] if flag else []))
        return spread(both[flag][0])

    yield "offer created → connected, ours ↔ ours, one exchange", lambda: ours("")
    yield "offer created → connected, ours ↔ ours, trickle", lambda: ours("--trickle")
    yield "process start → data channel open, one exchange", lambda: spread(both[""][1])
    yield "process start → data channel open, trickle", lambda: spread(both["--trickle"][1])

    site = Site()
    chromium = Chromium()

    def chromium_to_itself(media):
        times = []
        for _ in range(rounds):
            chromium.go(site.url)
            times.append(chromium.run(f"callItself({{ media: '{media}' }})")["connected"])
        return spread(times)

    try:
        row = "offer created → connected, Chromium ↔ Chromium in one page"
        yield f"{row}, data", lambda: chromium_to_itself("none")
        yield f"{row}, camera and microphone", lambda: chromium_to_itself("both")
        row = "offer created → connected, ours ↔ Chromium, trickle over local HTTP"
        yield f"{row}, data", lambda: spread(ours_to_chromium(chromium, site, rounds, "--data"))
        media = ["--video=test", "--audio=test"]
        yield f"{row}, video and audio", lambda: spread(ours_to_chromium(chromium, site, rounds, *media))
    finally:
        chromium.close()


def aiortc_python():
    """The interpreter of a virtual environment that has aiortc."""
    folder = TARGET / "bench-venv"
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "aiortc", "numpy"], check=True)
    return str(python)


def bench_cpu(options):
    seconds = options.seconds
    shown = {}

    def row(name, sides):
        shown[name] = sides
        caller, callee = sides
        return f"{caller.cpu:.2f} s sends, {callee.cpu:.2f} s receives and decodes"

    def memory(name):
        caller, callee = shown[name]
        return f"{caller.peak / 2**20:.0f} MiB sends, {callee.peak / 2**20:.0f} MiB receives"

    def ours():
        media = ["--video=test", "--audio=test", "--width", "640", "--height", "480", "--frame-rate", "30"]
        caller = [RTCKIT, "call", *media, "--duration", f"{seconds}s", "--quiet"]
        return row("rtckit", chain(caller, [RTCKIT, "answer", "--measure", "--quiet"]))

    def aiortc():
        pair = [aiortc_python(), str(HERE / "aiortc_pair.py")]
        with tempfile.TemporaryFile("w+") as first, tempfile.TemporaryFile("w+") as second:
            sides = chain([*pair, "call", str(seconds)], [*pair, "answer", str(seconds)], (first, second))
            reports = []
            for file in (first, second):
                file.seek(0)
                reports.append(json.loads(file.read().splitlines()[-1]))
        frames = reports[1]["frames"]["video"]
        if frames < 29 * seconds:
            raise RuntimeError(f"aiortc decoded only {frames} frames")
        whole = row("aiortc", sides)
        return f"{whole}; while connected: {reports[0]['cpu']:.2f} s, {reports[1]['cpu']:.2f} s"

    what = f"of a {seconds:g} s 640×480@30 VP8 and Opus call"
    yield f"CPU {what}, rtckit, whole process", ours
    yield f"CPU {what}, aiortc, whole process", aiortc
    yield f"peak memory {what}, rtckit", lambda: memory("rtckit")
    yield f"peak memory {what}, aiortc", lambda: memory("aiortc")


def bench_latency(options):
    def latency():
        media = ["--video=test", "--audio=test", "--frame-rate", "30", "--duration", f"{options.seconds}s"]
        command = [RTCKIT, "call", "--loopback", *media, "--measure", "--json", "--quiet"]
        report = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60).stdout)
        measured = report["peer"]["measured"]
        delays = " / ".join(f"{measured['latency'][name] * 1000:.1f}" for name in ("min", "median", "p95", "max"))
        frames, missing = measured["framesMeasured"], measured["framesMissing"]
        return f"{delays} ms, {frames} frames, {missing} missing, sound and picture {measured['avSkew'] * 1000:.0f} ms apart"

    yield "capture → decoded, loopback, 30 frames a second: min / median / p95 / max", latency


@contextlib.contextmanager
def coturn():
    """A relay on loopback; gives its port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder, "turnserver.conf")
        config.write_text(
            f"listening-ip=127.0.0.1\nrelay-ip=127.0.0.1\nlistening-port={port}\nno-tls\nno-dtls\nno-cli\nlt-cred-mech\n"
            f"realm=bench\nallow-loopback-peers\nuser=alice:secret\nlog-file=stdout\n"
            f"pidfile={folder}/pid\nuserdb={folder}/db\n"
        )
        server = subprocess.Popen(["turnserver", "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            ready = [RTCKIT, "turn-probe", f"stun:127.0.0.1:{port}", "--timeout", "200ms"]
            while subprocess.run(ready, stdout=subprocess.DEVNULL).returncode != 0:
                if server.poll() is not None:
                    raise OSError("turnserver does not start")
            yield port
        finally:
            server.kill()
            server.wait()


def bench_turn(options):
    os.environ["RTCKIT_CREDENTIAL"] = "secret"

    def probe(port, *flags, transport="udp"):
        return [RTCKIT, "turn-probe", f"turn:127.0.0.1:{port}?transport={transport}", "--username", "alice", "--json", *flags]

    def verdict(*flags):
        with coturn() as port:
            return spread(started(probe(port, *flags), options.rounds))

    def uclient():
        with coturn() as port:
            command = ["turnutils_uclient", "-u", "alice", "-w", "secret", "-p", str(port), "-n", "5", "-y", "127.0.0.1"]
            return spread(started(command, min(3, options.rounds)))

    def ours(transport):
        with coturn() as port:
            rates, losses = [], []
            for _ in range(5):
                command = probe(port, "--packets", "1", "--throughput=3s", transport=transport)
                report = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
                went = report["servers"][0]["throughput"]
                rates.append(went["bitsPerSecond"] / 1e6)
                losses.append(went["loss"] * 100)
            return f"{spread(rates, 'Mbit/s')}, {spread(losses, '% lost')}"

    def chromium_through(transport):
        with coturn() as port:
            rates = []
            for _ in range(5):
                url = f"turn:127.0.0.1:{port}?transport={transport}"
                rates.append(chromium.run(f"throughRelay('{url}', 3)") / 1e6)
            return spread(rates, "Mbit/s")

    yield "full verdict on a TURN server over UDP, 5 packets 20 ms apart, process start → end", lambda: verdict("--packets", "5")
    yield "the same, the usual 50 packets", verdict
    yield "turnutils_uclient with 5 messages, which gives no verdict", uclient
    site, chromium = Site(), Chromium()
    try:
        chromium.go(site.url)
        for transport in ("udp", "tcp"):
            name = transport.upper()
            yield f"through coturn over {name}, `--throughput`", lambda: ours(transport)
            yield f"the same, a data channel of Chromium, relay at both ends, over {name}", lambda: chromium_through(transport)
    finally:
        chromium.close()


def main():
    benches = {"version": bench_version, "connect": bench_connect, "cpu": bench_cpu, "latency": bench_latency, "turn": bench_turn}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10, help="repetitions of what takes milliseconds")
    parser.add_argument("--seconds", type=float, default=10, help="length of the calls")
    parser.add_argument("--only", default=",".join(benches), help="comma-separated groups")
    parser.add_argument("--json", help="also write the rows here")
    options = parser.parse_args()

    rows = []
    print("| figure | value |\n|---|---|", flush=True)
    for name in options.only.split(","):
        try:
            for what, take in benches[name](options):
                try:
                    value = take()
                except Exception as error:  # one figure must not cost the others
                    value = f"not taken: {type(error).__name__}: {error}"
                rows.append({"figure": what, "value": value})
                print(f"| {what} | {value} |", flush=True)
        except OSError as error:
            print(f"| {name} | not taken: {error} |", flush=True)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(rows, indent=1, ensure_ascii=False))


main()
