#!/usr/bin/env python3
"""One side of a 640x480@30 VP8 and Opus call with aiortc, for comparison; started twice by figures.py.

    aiortc_pair.py call|answer SECONDS

Speaks what rtckit speaks: one line of JSON with the SDP on stdout, the other's on stdin. The caller sends a moving
pattern and a tone, the callee decodes both. At the end one line of JSON on stderr: CPU seconds and peak memory of this
process, and for the callee what arrived.
"""

import asyncio
import fractions
import json
import math
import resource
import sys
import time

import av
import numpy
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription


class Pattern(MediaStreamTrack):
    """A grey ramp that moves by two pixels a frame."""

    kind = "video"

    def __init__(self):
        super().__init__()
        self.count = 0
        self.begin = None
        column = numpy.arange(1280, dtype=numpy.uint8)
        self.ramp = numpy.tile(column, (480, 1))

    async def recv(self):
        self.begin = self.begin or time.monotonic()
        await asyncio.sleep(max(0, self.begin + self.count / 30 - time.monotonic()))
        shift = self.count * 2 % 256
        planes = numpy.full((720, 640), 128, dtype=numpy.uint8)
        planes[:480] = self.ramp[:, shift : shift + 640]
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts = self.count * 3000
        frame.time_base = fractions.Fraction(1, 90000)
        self.count += 1
        return frame


class Tone(MediaStreamTrack):
    """440 Hz, mono, 48 kHz, 20 ms a frame."""

    kind = "audio"

    def __init__(self):
        super().__init__()
        self.count = 0
        self.begin = None

    async def recv(self):
        self.begin = self.begin or time.monotonic()
        await asyncio.sleep(max(0, self.begin + self.count / 50 - time.monotonic()))
        at = numpy.arange(self.count * 960, self.count * 960 + 960)
        samples = (numpy.sin(at * (2 * math.pi * 440 / 48000)) * 8000).astype(numpy.int16)
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = 48000
        frame.pts = self.count * 960
        frame.time_base = fractions.Fraction(1, 48000)
        self.count += 1
        return frame


async def drain(track, counts):
    try:
        while True:
            await track.recv()
            counts[track.kind] += 1
    except Exception:  # aiortc ends a track by raising
        pass


async def read_line():
    return await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


def write(description):
    print(json.dumps({"type": description.type, "sdp": description.sdp}), flush=True)


async def main(role, seconds):
    connection = RTCPeerConnection()
    counts = {"video": 0, "audio": 0}
    drains = []
    connected = asyncio.Event()
    marks = {}

    @connection.on("track")
    def on_track(track):
        drains.append(asyncio.create_task(drain(track, counts)))

    @connection.on("connectionstatechange")
    def on_state():
        if connection.connectionState == "connected":
            marks["connected"] = time.monotonic()
            connected.set()

    if role == "call":
        connection.addTrack(Pattern())
        connection.addTrack(Tone())
        marks["offer"] = time.monotonic()
        await connection.setLocalDescription(await connection.createOffer())
        write(connection.localDescription)
        await connection.setRemoteDescription(RTCSessionDescription(**json.loads(await read_line())))
    else:
        await connection.setRemoteDescription(RTCSessionDescription(**json.loads(await read_line())))
        marks["offer"] = time.monotonic()
        await connection.setLocalDescription(await connection.createAnswer())
        write(connection.localDescription)
    await connected.wait()
    # The figure is about the call, not about loading Python's libraries.
    before = resource.getrusage(resource.RUSAGE_SELF)
    await asyncio.sleep(seconds)
    after = resource.getrusage(resource.RUSAGE_SELF)
    report = {
        "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "cpuWhole": after.ru_utime + after.ru_stime,
        "peakRss": after.ru_maxrss * 1024,
        "connect": marks["connected"] - marks["offer"],
        "frames": counts,
    }
    print(json.dumps(report), file=sys.stderr, flush=True)
    await connection.close()
    for task in drains:
        task.cancel()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
