#!/usr/bin/env python3
"""Takes the figures of other programs on the networks of benches/transfer.py, and ours beside them in the same run.

    benches/transfer_peers.py [--rounds N] [--only loopback,loss,…] [--peers rtckit,wrtc,…] [--stock]

The peers are installed into a temporary folder: magic-wormhole and wrtc by pip, node-datachannel by npm; scp is the system's,
and needs its sshd. The two libraries only move bytes from memory to memory; all others read, check and write a file.
Otherwise as transfer.py.
"""

import argparse
import asyncio
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import transfer

HERE = pathlib.Path(__file__).resolve().parent
MESSAGE, HIGH = 64 << 10, 4 << 20
PATIENCE = 300


async def wrtc(role, folder, length):
    """One end of a transfer with libwebrtc; runs in the environment that has it."""
    import webrtc

    folder, pc, over = pathlib.Path(folder), webrtc.RTCPeerConnection(), asyncio.Event()

    async def say(name, description):
        await pc.setLocalDescription(description)
        while str(pc.iceGatheringState) != "complete":
            await asyncio.sleep(0.005)
        (folder / f"{name}.new").write_text(pc.localDescription.sdp)
        (folder / f"{name}.new").rename(folder / name)

    async def hear(name):
        while not (folder / name).exists():
            await asyncio.sleep(0.005)
        await pc.setRemoteDescription(webrtc.RTCSessionDescription(name, (folder / name).read_text()))

    if role == "send":
        channel, opened, low = pc.createDataChannel("file"), asyncio.Event(), asyncio.Event()
        channel.bufferedAmountLowThreshold = HIGH // 2
        channel.on("open", lambda _: opened.set())
        channel.on("bufferedamountlow", lambda _: low.set())
        # The receiver says when it has everything.
        channel.on("message", lambda _: over.set())
        await say("offer", await pc.createOffer())
        await hear("answer")
        await opened.wait()
        message = bytes(MESSAGE)
        for _ in range(0, length, MESSAGE):
            while channel.bufferedAmount > HIGH:
                low.clear()
                if channel.bufferedAmount > HIGH:
                    await low.wait()
            channel.send(message)
        await over.wait()
    else:
        received = 0

        def serve(event):
            def count(event):
                nonlocal received
                received += len(event.data)
                if received >= length:
                    channel.send("complete")
                    over.set()

            channel = event.channel
            channel.on("message", count)

        pc.on("datachannel", serve)
        await hear("offer")
        await say("answer", await pc.createAnswer())
        await over.wait()
        await asyncio.sleep(0.3)
    os._exit(0)


def install(folder):
    """Installs the peers; the folder is theirs alone."""
    transfer.sh(f"{sys.executable} -m venv {folder}/venv")
    transfer.sh(f"{folder}/venv/bin/pip -q install wrtc magic-wormhole magic-wormhole-mailbox-server")
    transfer.sh(f"cd {folder} && npm install --silent --no-fund --no-audit node-datachannel >&2")
    shutil.copy(HERE / "transfer_peer.mjs", folder)


def both(network, receive, send, folder, **options):
    """Runs both ends; seconds until both are done."""
    near, far = network
    began = time.monotonic()
    receiver = subprocess.Popen([*far, *receive], stdout=subprocess.DEVNULL, cwd=folder, **options)
    sender = subprocess.Popen([*near, *send], stdout=subprocess.DEVNULL, cwd=folder, **options)
    try:
        codes = [process.wait(max(1, began + PATIENCE - time.monotonic())) for process in (sender, receiver)]
    finally:
        for process in (sender, receiver):
            process.kill()
            process.wait()
    if codes != [0, 0]:
        raise RuntimeError(f"exit {codes}")
    return time.monotonic() - began


def data_channel(command):
    def take(tools, scratch, network, source):
        meet = pathlib.Path(tempfile.mkdtemp(dir=scratch))
        length = str(source.stat().st_size)
        ends = ([*(str(part).format(tools=tools) for part in command), role, str(meet), length] for role in ("receive", "send"))
        return both(network, *ends, tools)

    return take


def rtckit(_tools, scratch, network, source):
    return source.stat().st_size / transfer.MIB / transfer.transfer(scratch, network, [source])["rate"]


def wormhole(tools, scratch, network, source):
    """With a mailbox of its own at the receiver's end; content goes by TCP."""
    address = "198.51.100.2" if network[1] else "127.0.0.1"
    mailbox = [*network[1], f"{tools}/venv/bin/twist", "wormhole-mailbox", "--port", f"tcp:4000:interface={address}"]
    to = pathlib.Path(tempfile.mkdtemp(dir=scratch))
    server = subprocess.Popen(mailbox, cwd=to, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        probe = ["bash", "-c", f"until (: </dev/tcp/{address}/4000) 2>&-; do sleep 0.05; done"]
        subprocess.run([*network[1], *probe], check=True, timeout=20)
        base = [f"{tools}/venv/bin/wormhole", "--relay-url", f"ws://{address}:4000/v1", "--transit-helper", "tcp:127.0.0.1:1"]
        receive = [*base, "receive", "--accept-file", "-o", str(to / "file"), "1-one-two"]
        send = [*base, "send", "--code", "1-one-two", str(source)]
        return both(network, receive, send, to, stderr=subprocess.DEVNULL)
    finally:
        server.kill()
        server.wait()


def scp(_tools, scratch, network, source):
    sshd = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin")
    if not sshd:
        raise RuntimeError("there is no sshd here")
    address = "198.51.100.2" if network[1] else "127.0.0.1"
    folder = pathlib.Path(tempfile.mkdtemp(dir=scratch))
    transfer.sh(f"ssh-keygen -q -t ed25519 -N '' -f {folder}/key && cp {folder}/key.pub {folder}/authorized")
    pathlib.Path("/run/sshd").mkdir(exist_ok=True)
    settings = ["StrictModes=no", f"AuthorizedKeysFile={folder}/authorized", "PidFile=none", "Subsystem=sftp internal-sftp", f"ListenAddress={address}:2222"]
    server = [*network[1], sshd, "-D", "-e", "-f", "/dev/null", "-h", f"{folder}/key", *(part for one in settings for part in ("-o", one))]
    running = subprocess.Popen(server, stderr=subprocess.DEVNULL)
    try:
        probe = ["bash", "-c", f"until (: </dev/tcp/{address}/2222) 2>&-; do sleep 0.05; done"]
        subprocess.run([*network[1], *probe], check=True, timeout=20)
        copy = ["scp", "-q", "-P", "2222", "-i", f"{folder}/key", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
        began = time.monotonic()
        subprocess.run([*network[0], *copy, str(source), f"{address}:{folder}/file"], check=True, timeout=PATIENCE, stderr=subprocess.DEVNULL)
        return time.monotonic() - began
    finally:
        running.kill()
        running.wait()


PEERS = {
    "rtckit": rtckit,
    "wrtc": data_channel(["{tools}/venv/bin/python", str(HERE / "transfer_peers.py"), "--end"]),
    "node-datachannel": data_channel(["node", "transfer_peer.mjs"]),
    "magic-wormhole": wormhole,
    "scp": scp,
}
# Where a peer is slow, as much as takes it some seconds.
SIZES = {"loopback": 512, "loss": 64, "far": 256, "far-loss": 16}


def row(what, tools, name, peers, rounds):
    _, network, _, _ = transfer.CASES[name]
    cells = []
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        source = transfer.noise(scratch / "source", SIZES[name])
        for peer in peers:
            rates = []
            try:
                with network() as ends:
                    for _ in range(rounds):
                        rates.append(SIZES[name] / PEERS[peer](tools, scratch, ends, source))
                cells.append(transfer.spread(rates, 1))
            except (OSError, RuntimeError, subprocess.SubprocessError) as error:
                print(f"{peer}, {name}: {error}", file=sys.stderr)
                cells.append("–")
    return f"| {what}, {SIZES[name]} MiB | {' | '.join(cells)} |"


def main():
    if sys.argv[1:2] == ["--end"]:
        role, folder, length = sys.argv[2:]
        return asyncio.run(wrtc(role, folder, int(length)))
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--only", default=",".join(SIZES))
    arguments.add_argument("--peers", default=",".join(PEERS))
    arguments.add_argument("--stock", action="store_true")
    options = arguments.parse_args()
    peers = options.peers.split(",")
    with tempfile.TemporaryDirectory() as tools, transfer.buffers(options.stock):
        install(tools)
        print(f"| MiB/s, whole processes | {' | '.join(peers)} |\n|---|{'---|' * len(peers)}", flush=True)
        for name in options.only.split(","):
            print(row(transfer.CASES[name][0].split(",")[0], tools, name, peers, options.rounds), flush=True)


if __name__ == "__main__":
    sys.exit(main())
