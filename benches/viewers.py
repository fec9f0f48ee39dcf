#!/usr/bin/env python3
"""What several viewers of one encode cost `rtckit call --signal whep-listen:…`: CPU of the sender by the number of viewers.

    benches/viewers.py [PROGRAM] [--viewers 1,4,16] [--seconds 15]

The viewers are rtckit too, and do not decode; they share the machine, and only the sender's CPU is counted.
"""
import argparse, json, os, signal, subprocess, time

MEDIA = ["--video=test", "--audio=test", "--width=1280", "--height=720", "--frame-rate=30"]


def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(program, count, seconds):
    sender = subprocess.Popen([program, "call", "--signal=whep-listen:127.0.0.1:0", f"--max-viewers={max(2, count)}", "--events", *MEDIA],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    events = (json.loads(line) for line in sender.stdout)
    url = next(event for event in events if event["type"] == "listening")["urls"][0]
    viewers = [subprocess.Popen([program, "call", f"--signal=whep+{url}", "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
               for _ in range(count)]
    next(event for event in events if event["type"] == "viewerjoin" and event["viewers"] == count)
    time.sleep(3)
    began, used = time.monotonic(), cpu_seconds(sender.pid)
    time.sleep(seconds)
    share = (cpu_seconds(sender.pid) - used) / (time.monotonic() - began)
    for viewer in viewers:
        viewer.send_signal(signal.SIGINT)
    reports = [json.loads(viewer.communicate(timeout=30)[0]) for viewer in viewers]
    sender.send_signal(signal.SIGINT)
    result = [event for event in events][-1]
    sender.wait(timeout=30)
    rates = []
    for report in reports:
        video = next(track for track in report["received"] if track["kind"] == "video")
        rates.append(video["framesReceived"] / report["seconds"])
    dropped = sum(viewer["encodedDropped"] for viewer in result["viewers"])
    sent = sum(viewer["bytesSent"] for viewer in result["viewers"]) / result["seconds"]
    print(f"{count:3} viewers: {100 * share:5.1f} % of a CPU, {min(rates):4.1f} pictures a second at the least, "
          f"{dropped} frames dropped, {sent * 8e-6:.1f} Mbit/s out", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", nargs="?", default="target/release/rtckit")
    parser.add_argument("--viewers", default="1,4,16")
    parser.add_argument("--seconds", type=float, default=15)
    args = parser.parse_args()
    for count in map(int, args.viewers.split(",")):
        measure(args.program, count, args.seconds)


main()
