#!/usr/bin/env python3
"""WHIP and WHEP with another implementation, aiortc, at the other end: as client and as server, both ways.

    benches/whip_peers.py

Needs scripts/setup build bench and a build, RTCKIT or the release build; makes itself a virtual environment with aiortc under
target/. A line for each direction, and what --conformance says of the foreign servers; exit 1 when media did not flow.
"""

import asyncio
import json
import os
import pathlib
import subprocess
import sys
import uuid

HERE = pathlib.Path(__file__).resolve().parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent / "target"))
RTCKIT = os.environ.get("RTCKIT", str(TARGET / "release" / "rtckit"))
PATIENCE = 30
SECONDS = 2
SDP = "application/sdp"

try:
    from aiortc import RTCPeerConnection, RTCSessionDescription
    from aiortc_pair import Pattern, Tone, drain
except ModuleNotFoundError:
    folder = TARGET / "bench-venv"
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "aiortc", "numpy"], check=True)
    os.execv(python, [python, *sys.argv])


class Server:
    """One endpoint: POST an offer, DELETE the session. It takes no candidates later. Publishes when `sends`, else counts."""

    def __init__(self, sends):
        self.sends = sends
        self.counts = {"video": 0, "audio": 0}
        self.sessions = {}
        self.drains = []

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        host, port = self.server.sockets[0].getsockname()
        self.url = f"http://{host}:{port}/live"
        return self

    async def __aexit__(self, *_):
        self.server.close()
        for connection in self.sessions.values():
            await connection.close()

    async def serve(self, reader, writer):
        request = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, path, _ = request[0].split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in request[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        status, more, text = await self.answer(method, path, headers.get("content-type", ""), body.decode())
        head = [f"HTTP/1.1 {status}", f"Content-Length: {len(text.encode())}", "Connection: close", *more]
        writer.write(("\r\n".join(head) + "\r\n\r\n" + text).encode())
        await writer.drain()
        writer.close()

    async def answer(self, method, path, kind, body):
        if method == "OPTIONS":
            allowed = ["Access-Control-Allow-Origin: *", "Access-Control-Allow-Methods: POST, DELETE", f"Accept-Post: {SDP}"]
            return "204 No Content", allowed, ""
        if path == "/live":
            if method != "POST":
                return "405 Method Not Allowed", ["Allow: POST, OPTIONS"], ""
            if kind != SDP:
                return "415 Unsupported Media Type", [], ""
            return await self.begin(body)
        connection = self.sessions.get(path) if method != "DELETE" else self.sessions.pop(path, None)
        if connection is None:
            return "404 Not Found", [], ""
        if method != "DELETE":
            return "405 Method Not Allowed", ["Allow: DELETE, OPTIONS"], ""
        await connection.close()
        return "200 OK", [], ""

    async def begin(self, offer):
        # aiortc takes anything for SDP.
        if not offer.startswith("v=0") or "\nm=" not in offer:
            return "400 Bad Request", [], "no SDP"
        connection = RTCPeerConnection()
        connection.on("track", lambda track: self.drains.append(asyncio.create_task(drain(track, self.counts))))
        await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        if self.sends:
            connection.addTrack(Pattern())
            connection.addTrack(Tone())
        await connection.setLocalDescription(await connection.createAnswer())
        path = f"/session/{uuid.uuid4()}"
        self.sessions[path] = connection
        return "201 Created", [f"Content-Type: {SDP}", f"Location: {path}"], connection.localDescription.sdp


async def request(method, url, body=""):
    host, _, path = url.removeprefix("http://").partition("/")
    name, _, port = host.rpartition(":")
    reader, writer = await asyncio.open_connection(name, int(port))
    head = f"{method} /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {SDP}\r\nContent-Length: {len(body.encode())}\r\nConnection: close\r\n\r\n"
    writer.write((head + body).encode())
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    lines = head.split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    return int(lines[0].split(" ")[1]), headers, body


async def client(url, sends, counts):
    """A client of an endpoint for some seconds."""
    connection = RTCPeerConnection()
    drains = []
    connection.on("track", lambda track: drains.append(asyncio.create_task(drain(track, counts))))
    if sends:
        connection.addTrack(Pattern())
        connection.addTrack(Tone())
    else:
        connection.addTransceiver("video", direction="recvonly")
        connection.addTransceiver("audio", direction="recvonly")
    await connection.setLocalDescription(await connection.createOffer())
    status, headers, answer = await request("POST", url, connection.localDescription.sdp)
    assert status == 201, (status, answer)
    await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    session = "/".join(url.split("/")[:3]) + headers["location"]
    await asyncio.sleep(SECONDS)
    status, _, _ = await request("DELETE", session)
    assert status == 200, status
    await connection.close()


async def rtckit(*args, **options):
    return await asyncio.create_subprocess_exec(RTCKIT, "-q", *args, stdout=asyncio.subprocess.PIPE, **options)


async def listening(*args):
    process = await rtckit(*args, "--events")
    return process, json.loads(await process.stdout.readline())["urls"][0]


async def ended(process):
    stdout, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode == 0, f"exit {process.returncode}: {stdout.decode()[-500:]}"
    return stdout.decode()


def received(stdout):
    """Frames of each kind, as the result on the last line has them."""
    return {track["kind"]: track["framesReceived"] for track in json.loads(stdout.splitlines()[-1])["received"]}


async def whip_client():
    """aiortc publishes to us"""
    process, url = await listening("answer", "--signal=whip-listen:127.0.0.1:0", "--measure")
    await client(url, True, {})
    return received(await ended(process))


async def whep_client():
    """aiortc plays what we send"""
    counts = {"video": 0, "audio": 0}
    process, url = await listening("call", "--signal=whep-listen:127.0.0.1:0", "--video=test", "--audio=test")
    await client(url, False, counts)
    await ended(process)
    return counts


async def whip_server():
    """we publish to aiortc"""
    async with Server(False) as server:
        await ended(await rtckit("call", f"--signal=whip+{server.url}", "--video=test", "--audio=test", f"--duration={SECONDS}s"))
        return server.counts


async def whep_server():
    """we play what aiortc sends"""
    async with Server(True) as server:
        return received(await ended(await rtckit("call", f"--signal=whep+{server.url}", "--measure", f"--duration={SECONDS}s", "--json")))


async def conformance(sends):
    async with Server(sends) as server:
        scheme = "whep" if sends else "whip"
        media = [] if sends else ["--video=test", "--audio=test"]
        process = await rtckit("call", "--conformance", f"--signal={scheme}+{server.url}", *media)
        stdout, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
        print(f"\n--conformance of the {scheme.upper()} server, exit {process.returncode}\n{stdout.decode()}")
        return process.returncode == 0


async def main():
    good = True
    for one in (whip_client, whip_server, whep_client, whep_server):
        try:
            counts = await one()
            flows = all(counts.get(kind, 0) > SECONDS * 10 for kind in ("video", "audio"))
        except Exception as error:  # it is what came of it
            counts, flows = repr(error), False
        good &= flows
        print(f"{'ok' if flows else 'not ok'}: {one.__doc__}: {counts}", flush=True)
    for sends in (False, True):
        good &= await conformance(sends)
    sys.exit(0 if good else 1)


asyncio.run(main())
