#!/usr/bin/env python3
"""The figures of `rtckit record`, beside ffmpeg on the same machine at the same time. Prints a Markdown table.

    benches/recording.py [--rtckit FILE] [--minutes 10] [--kills 50] [--seconds 20]

Wants ffmpeg with libvpx, and root for the full disk (left out without).
"""

import argparse
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
SIZE, RATE, BITS = "1280x720", 30, 1_500_000
# Frames are compared by their number: times in WebM are whole milliseconds.
PAIRED = "[0:v]settb=1/30,setpts=N[a];[1:v]settb=1/30,setpts=N[b];[a][b]psnr"


def run(args, **how):
    return subprocess.run(args, check=True, capture_output=True, text=True, **how)


def cpu_of(args):
    """Seconds of processor time of a whole process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run(args)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)


def quality(path, reference, frames):
    """kbit/s of the video, and PSNR of luma against the reference."""
    probe = ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet=size", "-of", "csv=p=0", path]
    sizes = [int(line.strip(",")) for line in run(probe).stdout.split() if line.strip(",")]
    compare = ["ffmpeg", "-v", "info", "-nostdin", "-i", path, "-i", reference, "-lavfi", PAIRED, "-f", "null", "-"]
    said = run(compare).stderr
    return sum(sizes) * 8 / (frames / RATE) / 1000, float(re.search(r"PSNR y:([0-9.]+)", said)[1]), len(sizes)


def encoders(rtckit, folder, seconds):
    """Rows of CPU per frame at equal settings: ours, and ffmpeg's libvpx in its real-time mode."""
    source = str(folder / "source.y4m")
    film = f"testsrc2=size={SIZE}:rate={RATE}:duration={seconds},format=yuv420p"
    run(["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", film, source])
    frames = seconds * RATE
    rows = []
    # A negative speed is fixed, as ours is; with a positive one VP8 takes as much time as it finds.
    for codec, encoder, speed in [("vp8", "libvpx", "-8"), ("vp9", "libvpx-vp9", "8")]:
        ours, theirs = str(folder / f"ours-{codec}.webm"), str(folder / f"theirs-{codec}.webm")
        cpu = cpu_of([rtckit, "-q", "record", f"--video={source}", f"--mime-type=video/webm;codecs={codec}",
                      f"--video-bits-per-second={BITS}", "--overwrite", "-o", ours])
        kbits, psnr, count = quality(ours, source, frames)
        rows.append((f"ours, {codec}", cpu * 1000 / count, kbits, psnr))
        extra = ["-row-mt", "1"] if codec == "vp9" else []
        cpu = cpu_of(["ffmpeg", "-v", "error", "-nostdin", "-y", "-i", source, "-c:v", encoder, "-deadline", "realtime",
                      "-cpu-used", speed, "-b:v", str(BITS), "-g", str(5 * RATE), "-threads", "2", *extra, theirs])
        kbits, psnr, count = quality(theirs, source, frames)
        rows.append((f"ffmpeg {encoder}, {codec}", cpu * 1000 / count, kbits, psnr))
    return rows


def long_run(rtckit, folder, minutes):
    """Minutes of test media: the report of --check, and the peak of memory at each quarter."""
    path = str(folder / "long.webm")
    args = [rtckit, "-q", "record", "--video=test", "--audio=test", "--unpaced", f"--duration={minutes}m", "-o", path]
    child = subprocess.Popen(args)
    memory, began = [], time.time()
    while child.poll() is None:
        try:
            status = Path(f"/proc/{child.pid}/status").read_text()
            memory.append(int(re.search(r"VmRSS:\s+(\d+)", status)[1]))
        except (FileNotFoundError, TypeError):
            pass
        time.sleep(0.2)
    took = time.time() - began
    found = json.loads(run([rtckit, "record", "--json", "--check", path]).stdout)["check"]
    half = len(memory) // 2
    return found, took, max(memory[:half]) / 1024, max(memory[half:]) / 1024


def kills(rtckit, folder, count):
    """How many recordings that were killed at random times play, and the most that was lost."""
    played, lost = 0, 0.0
    for n in range(count):
        path = folder / f"killed-{n}.webm"
        events = folder / "events"
        child = subprocess.Popen([rtckit, "-q", "record", "--video=test", "--audio=test", "--events-file", str(events), "-o", str(path)])
        while not (events.exists() and '"start"' in events.read_text()):
            time.sleep(0.005)
        began = time.time()
        time.sleep(random.uniform(0.8, 4.0))
        child.send_signal(signal.SIGKILL)
        ran = time.time() - began
        child.wait()
        events.unlink()
        part = f"{path}.part"
        decoded = subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-i", part, "-f", "null", "-"], capture_output=True, text=True)
        checked = subprocess.run([rtckit, "record", "--json", "--check", part], capture_output=True, text=True)
        found = json.loads(checked.stdout)["check"]
        if decoded.returncode == 0 and not decoded.stderr and checked.returncode == 0:
            played += 1
            lost = max(lost, ran - found["duration"])
    return played, lost


def full_disk(rtckit, folder):
    """A file system of 20 MB that fills up: the exit code, and whether what fits plays."""
    disk = folder / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(disk)], capture_output=True).returncode != 0:
        return None
    try:
        args = [rtckit, "-q", "record", "--video=test", "--audio=test", "--unpaced", "--video-bits-per-second=8M", "-o", str(disk / "a.webm")]
        code = subprocess.run(args).returncode
        copy = str(folder / "full.webm")
        shutil.copy(disk / "a.webm.part", copy)
        checked = json.loads(run([rtckit, "record", "--json", "--check", copy]).stdout)["check"]
        return code, checked["plays"], checked["duration"]
    finally:
        run(["umount", str(disk)])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rtckit", default=str(HERE / "target/release/rtckit"))
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seconds", type=int, default=20)
    given = parser.parse_args()
    if not os.access(given.rtckit, os.X_OK):
        sys.exit(f"{given.rtckit} is not there: cargo build --release --locked")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"| encoder, {SIZE} at {RATE}, {BITS // 1000} kbit/s, {given.seconds} s of testsrc2 | CPU ms per frame | kbit/s | PSNR Y dB |")
        print("|---|---|---|---|")
        for label, cpu, kbits, psnr in encoders(given.rtckit, folder, given.seconds):
            print(f"| {label} | {cpu:.2f} | {kbits:.0f} | {psnr:.1f} |", flush=True)
        print("\n| figure | value |\n|---|---|")
        found, took, early, late = long_run(given.rtckit, folder, given.minutes)
        video = next(track for track in found["tracks"] if track["kind"] == "video")
        skew = found["avSkew"]
        print(f"| {given.minutes} min of test media | {video['frames']} of {given.minutes * 60 * RATE} frames, {found['duration']:.3f} s, "
              f"in {took:.0f} s |")
        print(f"| picture against sound: beginning, all, end | {skew['begin'] * 1e3:+.0f}, {skew['median'] * 1e3:+.0f}, {skew['end'] * 1e3:+.0f} ms |")
        print(f"| memory, most in the first and the second half | {early:.0f} and {late:.0f} MiB |", flush=True)
        played, lost = kills(given.rtckit, folder, given.kills)
        print(f"| killed at random times | {played} of {given.kills} play; at most {lost:.2f} s lost |", flush=True)
        full = full_disk(given.rtckit, folder)
        if full:
            print(f"| 20 MB tmpfs filled up | exit {full[0]}, {'plays' if full[1] else 'does not play'}, {full[2]:.0f} s |")


if __name__ == "__main__":
    main()
