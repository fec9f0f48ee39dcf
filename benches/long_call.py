#!/usr/bin/env python3
"""A long call at 1280x720 between two processes: memory, threads, and the sync of sound and picture.

    benches/long_call.py [SECONDS] [PROGRAM]        30 minutes of target/release/rtckit, if nothing is said

Prints what each process held every tenth of the time, and at the end whether memory stayed flat, how far picture and sound
were apart, and that both processes and all of their threads were gone. Exit code 1 if one of these is not so.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 1800.0
PROGRAM = sys.argv[2] if len(sys.argv) > 2 else "target/release/rtckit"
# Of what was held after the first tenth, in which buffers and pools fill.
MOST_GROWTH = 0.10
MOST_SKEW = 0.080


def held(process):
    """Resident KiB and threads of a process; None when it is gone."""
    try:
        with open(f"/proc/{process.pid}/status") as status:
            lines = dict(line.split(":", 1) for line in status)
        return int(lines["VmRSS"].split()[0]), int(lines["Threads"])
    except (FileNotFoundError, KeyError, ProcessLookupError):
        return None


def main():
    folder = tempfile.mkdtemp()
    up, down = os.path.join(folder, "up"), os.path.join(folder, "down")
    os.mkfifo(up)
    os.mkfifo(down)
    media = "--video=test --width=1280 --height=720 --frame-rate=30 --audio=test"
    quiet = "--json -q"
    call = f"exec {PROGRAM} call {media} --duration {SECONDS}s {quiet} --events-file {folder}/call.json >{up} <{down}"
    answer = f"exec {PROGRAM} answer --measure {quiet} --events-file {folder}/answer.json <{up} >{down}"
    processes = {name: subprocess.Popen(["sh", "-c", command]) for name, command in (("call", call), ("answer", answer))}
    begin, samples = time.monotonic(), {"call": [], "answer": []}
    while time.monotonic() - begin < SECONDS - 2:
        time.sleep(min(SECONDS / 10, max(SECONDS - 2 - (time.monotonic() - begin), 0.1)))
        for name, process in processes.items():
            now = held(process)
            if now is None:
                sys.exit(f"{name} ended after {time.monotonic() - begin:.0f} s")
            samples[name].append(now)
            print(f"{time.monotonic() - begin:7.0f} s  {name:6}  {now[0] / 1024:6.1f} MiB  {now[1]} threads", flush=True)
    good = True
    for name, process in processes.items():
        code = process.wait(timeout=30)
        first, last = samples[name][0][0], samples[name][-1][0]
        growth = (last - first) / first
        flat = growth <= MOST_GROWTH
        print(f"{name}: exit {code}, {first / 1024:.1f} MiB at first, {last / 1024:.1f} at last ({growth:+.1%})")
        good = good and code == 0 and flat
    with open(f"{folder}/answer.json") as lines:
        report = json.loads(lines.read().splitlines()[-1])
    measured = report["measured"]
    skew = measured["avSkew"]
    received = {track["kind"]: track for track in report["received"]}
    print(
        f"{measured['framesMeasured']} pictures measured, {measured['framesMissing']} missing, {measured['freezeCount']} freezes; "
        f"latency {measured['latency']['median'] * 1e3:.1f} ms (median), {measured['latency']['p95'] * 1e3:.1f} (95 %); "
        f"picture {skew * 1e3:+.1f} ms against the sound; {received['video']['packetsLost']} packets lost"
    )
    good = good and abs(skew) <= MOST_SKEW
    print("good" if good else "NOT good")
    sys.exit(0 if good else 1)


main()
