#!/usr/bin/env python3
"""What capturing a screen costs, ours beside ffmpeg's x11grab: processor time per captured frame at 1920x1080 and 30 a second.

    scripts/setup build test
    cargo build --release --locked --example capture_screen
    benches/screen.py [--seconds S] [--example PATH]

Starts an X server of its own, with a video in a window on it so that every frame is another, and captures it with each program in
turn, several times. Our pictures are converted to I420, as encoders take them; ffmpeg's once so and once as they come.
"""

import argparse
import contextlib
import os
import pathlib
import re
import resource
import statistics
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "target/release/examples/capture_screen"
HIDDEN = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


@contextlib.contextmanager
def running(command, **more):
    process = subprocess.Popen(command, **more)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def screen():
    """An X server and its name."""
    command = ["Xvfb", "-displayfd", "1", "-nolisten", "tcp", "-noreset", "-screen", "0", "1920x1080x24"]
    with running(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        yield server, ":" + server.stdout.readline().decode().strip()


def ticks(pid):
    """User and system time of a process in seconds."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(command, display, server, frames_of):
    """Seconds of processor time of the program and of the server, and frames."""
    before, server_before = resource.getrusage(resource.RUSAGE_CHILDREN), ticks(server.pid)
    env = {**os.environ, "DISPLAY": display, "WAYLAND_DISPLAY": ""}
    done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used, ticks(server.pid) - server_before, frames_of(done.stdout + done.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--example", default=str(EXAMPLE))
    args = parser.parse_args()

    def ffmpeg(display, *form):
        grab = ["-f", "x11grab", "-framerate", "30", "-video_size", "1920x1080", "-i", display]
        return ["ffmpeg", "-nostdin", "-hide_banner", *grab, "-t", str(args.seconds), *form, "-f", "null", "-"]

    def ours(text):
        return int(re.search(r"captured (\d+)", text)[1]), int(re.search(r"missed (\d+)", text)[1])

    def theirs(text):
        return int(re.findall(r"frame=\s*(\d+)", text)[-1]), None

    with screen() as (server, display):
        env = {**os.environ, "DISPLAY": display, "SDL_RENDER_DRIVER": "software", "SDL_AUDIODRIVER": "dummy"}
        video = ["ffplay", "-loglevel", "error", "-f", "lavfi", "-i", "testsrc2=size=640x480:rate=60"]
        with running(video, env=env, **HIDDEN):
            programs = {
                "ours, to I420": ([args.example, str(args.seconds)], ours),
                "ffmpeg x11grab, to I420": (ffmpeg(display, "-pix_fmt", "yuv420p"), theirs),
                "ffmpeg x11grab, as it comes": (ffmpeg(display), theirs),
            }
            measure([args.example, "2"], display, server, ours)
            taken = {name: [] for name in programs}
            for _ in range(args.rounds):
                for name, (command, frames_of) in programs.items():
                    taken[name].append(measure(command, display, server, frames_of))
    print("| program | CPU per frame | of the X server | frames | missed |")
    print("|---|---|---|---|---|")
    for name, runs in taken.items():
        per = statistics.median(used / frames for used, _, (frames, _) in runs) * 1e3
        at_server = statistics.median(used / frames for _, used, (frames, _) in runs) * 1e3
        frames = " ".join(str(frames) for _, _, (frames, _) in runs)
        missed = " ".join("?" if missed is None else str(missed) for _, _, (_, missed) in runs)
        print(f"| {name} | {per:.2f} ms | {at_server:.2f} ms | {frames} | {missed} |")


if __name__ == "__main__":
    main()
