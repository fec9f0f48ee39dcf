#!/usr/bin/env python3
"""Takes the figures of file transfer, each on a network of its own, and prints them as the table of benches/README.md.

    benches/transfer.py [--rounds N] [--only loopback,loss,…] [--stock] [--json FILE]

Needs root (network namespaces), nft and an optimised build; RTCKIT names another program. With --stock the sockets get no
more than Linux gives by default (net.core.rmem_max and wmem_max 212992); both are set back at the end.
"""

import argparse
import contextlib
import fcntl
import heapq
import itertools
import json
import os
import pathlib
import random
import select
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
RTCKIT = os.environ.get("RTCKIT", str(TARGET / "release" / "rtckit"))
PATIENCE = 180
MIB = 1 << 20
LIMITS = ["/proc/sys/net/core/rmem_max", "/proc/sys/net/core/wmem_max"]


def sh(command):
    subprocess.run(command, shell=True, check=True)


@contextlib.contextmanager
def buffers(stock):
    """With `stock`, sockets get no more than Linux gives by default."""
    limits = [pathlib.Path(limit).read_text() for limit in LIMITS]
    try:
        if stock:
            for limit in LIMITS:
                pathlib.Path(limit).write_text("212992")
        yield
    finally:
        for limit, value in zip(LIMITS, limits):
            pathlib.Path(limit).write_text(value)


def namespaces(names):
    """Makes network namespaces that are gone afterwards."""
    for name in names:
        subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL)
        sh(f"ip netns add {name} && ip -n {name} link set lo up")
    return names


@contextlib.contextmanager
def loopback():
    """Both ends on this machine's own loopback."""
    yield [], []


@contextlib.contextmanager
def alone():
    """A loopback that nobody else uses, whose bytes can be counted."""
    (name,) = namespaces(["rtckit-alone"])
    try:
        yield ["ip", "netns", "exec", name], ["ip", "netns", "exec", name]
    finally:
        subprocess.run(["ip", "netns", "del", name])


@contextlib.contextmanager
def lossy(loss):
    """Two namespaces joined by a cable that loses a part of the datagrams, each way and each by itself."""
    near, far = namespaces(["rtckit-near", "rtckit-far"])
    try:
        sh(f"ip link add near netns {near} type veth peer name far netns {far}")
        for name, device, number in [(near, "near", 1), (far, "far", 2)]:
            # Without segmentation by the device a datagram is a packet of its own, to be lost alone.
            sh(f"ip -n {name} link set {device} gso_max_segs 1 txqueuelen 10000")
            sh(f"ip -n {name} addr add 198.51.100.{number}/24 dev {device} && ip -n {name} link set {device} up")
            rules = f"""table inet lossy {{ chain input {{ type filter hook input priority 0;
                meta l4proto udp numgen random mod 1000 < {round(loss * 1000)} drop; }}; }}"""
            subprocess.run(["ip", "netns", "exec", name, "nft", "-f", "-"], input=rules, text=True, check=True)
        yield ["ip", "netns", "exec", near], ["ip", "netns", "exec", far]
    finally:
        for name in (near, far):
            subprocess.run(["ip", "netns", "del", name])


def attach(name, number, offload):
    """A TUN device in a namespace: its descriptor."""
    TUNSETIFF, TUNSETOFFLOAD = 0x400454CA, 0x400454D0
    IFF_TUN, IFF_NO_PI, IFF_VNET_HDR = 0x0001, 0x1000, 0x4000
    # Checksums and segmentation, TCP and UDP, over IPv4 and IPv6.
    OFFLOADS = 0x01 | 0x02 | 0x04 | 0x20 | 0x40
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    flags = IFF_TUN | IFF_NO_PI | (IFF_VNET_HDR if offload else 0)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", f"rtckit{number}".encode(), flags))
    if offload:
        fcntl.ioctl(device, TUNSETOFFLOAD, OFFLOADS)
    sh(f"ip link set rtckit{number} netns {name} && ip -n {name} link set rtckit{number} txqueuelen 10000 up")
    sh(f"ip -n {name} addr add 198.51.100.{number}/24 dev rtckit{number}")
    return device


def carry(devices, delay, loss):
    """Hands packets over from either device to the other, late, and some not at all. Runs until it is killed."""
    chance, count, due, last = random.Random(1), itertools.count(), [], [0.0, 0.0]
    poll = select.poll()
    for device in devices:
        poll.register(device, select.POLLIN)
    while True:
        now = time.monotonic()
        for device, _ in poll.poll(max(0, due[0][0] - now) * 1000 if due else None):
            end = devices.index(device)
            for _ in range(64):
                try:
                    packet = os.read(device, 70_000)
                except BlockingIOError:
                    break
                if chance.random() >= loss:
                    last[end] = max(last[end], time.monotonic() + delay)
                    heapq.heappush(due, (last[end], next(count), devices[1 - end], packet))
        now = time.monotonic()
        while due and due[0][0] <= now:
            _, _, device, packet = heapq.heappop(due)
            with contextlib.suppress(OSError):
                os.write(device, packet)


@contextlib.contextmanager
def distant(delay, loss=0.0):
    """Two namespaces joined by a link that takes `delay` seconds each way. Where nothing is lost, segmentation is the other
    end's, without which Python would be the bottleneck."""
    near, far = namespaces(["rtckit-near", "rtckit-far"])
    carrier = 0
    try:
        devices = [attach(name, number, loss == 0) for number, name in enumerate((near, far), 1)]
        carrier = os.fork()
        if carrier == 0:
            os.nice(-10)
            carry(devices, delay, loss)
        for device in devices:
            os.close(device)
        yield ["ip", "netns", "exec", near], ["ip", "netns", "exec", far]
    finally:
        if carrier > 0:
            os.kill(carrier, 9)
            os.waitpid(carrier, 0)
        for name in (near, far):
            subprocess.run(["ip", "netns", "del", name])


def end(process):
    """Exit code, CPU seconds and peak memory in MiB of a child."""
    deadline = time.monotonic() + PATIENCE
    while True:
        pid, status, used = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
        if time.monotonic() > deadline:
            process.kill()
        time.sleep(0.005)


def over_ipv6(scratch, network, sources):
    return transfer(scratch, network, sources, ["--interface", "::1"])


def through_relay(scratch, network, sources):
    """Both ends by an allocation of their own at one coturn."""
    config = scratch / "turnserver.conf"
    lines = ["listening-ip=127.0.0.1", "relay-ip=127.0.0.1", "listening-port=3478", "realm=rtckit", "user=user:secret", "lt-cred-mech"]
    lines += ["no-tls", "no-dtls", "no-cli", "allow-loopback-peers", "log-file=/dev/null", f"pidfile={scratch}/pid", f"userdb={scratch}/db"]
    config.write_text("\n".join(lines))
    server = subprocess.Popen([*network[0], "turnserver", "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        asks = [*network[0], "ss", "-Hlun", "sport", "=", ":3478"]
        while not subprocess.run(asks, stdout=subprocess.PIPE, check=True).stdout:
            time.sleep(0.05)
        relay = ["--ice-server", "turn:127.0.0.1:3478", "--username", "user", "--ice-transport-policy", "relay", "--interface", "lo"]
        return transfer(scratch, network, sources, relay)
    finally:
        server.kill()
        server.wait()


def transfer(scratch, network, sources, more=()):
    """Sends `sources` once; the figures of it."""
    # What was received before stays until the end: ext4 looks at each inode that was deleted in the last minutes before it takes one.
    to, meet = pathlib.Path(tempfile.mkdtemp(prefix="to-", dir=scratch)), scratch / "meet"
    shutil.rmtree(meet, ignore_errors=True)
    near, far = network
    options = ["--json", "--signal", f"file:{meet}", *more, *([] if near or more else ["--interface", "lo"])]
    environment = {**os.environ, "RTCKIT_CREDENTIAL": "secret"}
    errors = open(scratch / "errors", "w+")
    began = time.monotonic()
    receiver = subprocess.Popen([*far, RTCKIT, "receive-file", "-o", f"{to}/", *options], stdout=subprocess.DEVNULL, stderr=errors, env=environment)
    sender = subprocess.Popen([*near, RTCKIT, "send-file", *map(str, sources), *options], stdout=subprocess.PIPE, stderr=errors, env=environment)
    report = json.loads(sender.stdout.read() or b"{}")
    sent, received = end(sender), end(receiver)
    took = time.monotonic() - began
    if sent[0] or received[0]:
        errors.seek(0)
        raise RuntimeError(f"exit {sent[0]} and {received[0]}: {errors.read()[-300:]}")
    size = report["bytes"]
    return {
        "rate": size / MIB / took,
        "cpu": [sent[1], received[1]],
        "memory": [sent[2], received[2]],
        "connections": report["connections"],
        "round_trip": report["connection"]["selectedPair"].get("currentRoundTripTime"),
    }


def first_byte(scratch, network, sources):
    """Seconds from the start of both processes to the first byte that comes out of the receiver."""
    meet = scratch / "meet"
    shutil.rmtree(meet, ignore_errors=True)
    options = ["-q", "--signal", f"file:{meet}", "--interface", "lo"]
    began = time.monotonic()
    receiver = subprocess.Popen([RTCKIT, "receive-file", "-o", "-", *options], stdout=subprocess.PIPE)
    sender = subprocess.Popen([RTCKIT, "send-file", *map(str, sources), *options])
    receiver.stdout.read(1)
    took = time.monotonic() - began
    receiver.stdout.read()
    end(sender), end(receiver)
    return {"seconds": took}


def killed(scratch, network, sources, times=20):
    """Kills the sender, the receiver or both at random times, and starts both again; what that cost in bytes."""

    def passed():
        count = [*network[0], "cat", "/sys/class/net/lo/statistics/rx_bytes"]
        return int(subprocess.run(count, stdout=subprocess.PIPE, check=True).stdout)

    began = passed()
    whole = transfer(scratch, network, sources)["rate"]
    undisturbed = passed() - began
    to, meet = pathlib.Path(tempfile.mkdtemp(prefix="to-", dir=scratch)), scratch / "meet"
    chance, began, kills = random.Random(), passed(), 0
    seconds = sources[0].stat().st_size / MIB / whole
    ends = [
        [*network[1], RTCKIT, "receive-file", "-q", "-o", f"{to}/", "--signal", f"file:{meet}"],
        [*network[0], RTCKIT, "send-file", "-q", *map(str, sources), "--signal", f"file:{meet}"],
    ]
    while kills < times:
        shutil.rmtree(meet, ignore_errors=True)
        running = [subprocess.Popen(command) for command in ends]
        time.sleep(chance.uniform(0.2, 2.0) * seconds / times)
        if (to / sources[0].name).exists():
            raise RuntimeError(f"it was over after {kills} kills")
        for process in chance.choice([running[:1], running[1:], running]):
            process.kill()
        kills += 1
        # Whoever is left would find out by itself, later.
        for process in running:
            process.terminate()
            process.wait()
    shutil.rmtree(meet, ignore_errors=True)
    running = [subprocess.Popen(command) for command in ends]
    codes = [process.wait(PATIENCE) for process in running]
    same = subprocess.run(["cmp", sources[0], to / sources[0].name]).returncode == 0
    if codes != [0, 0] or not same:
        raise RuntimeError(f"exit {codes}, {'the file is right' if same else 'the file is wrong'}")
    return {"kills": kills, "twice": (passed() - began) / undisturbed - 1}


def noise(path, mebibytes):
    block = random.Random(5).randbytes(MIB)
    with open(path, "wb") as file:
        for number in range(mebibytes):
            file.write(struct.pack(">Q", number) + block[8:])
    return path


def small_files(folder, count):
    folder.mkdir()
    data = random.Random(6)
    for number in range(count):
        (folder / f"{number}").write_bytes(data.randbytes(4096))
    return folder


# Name, what it is, network, what is sent, aim.
CASES = {
    "loopback": ("loopback, 1 GiB", loopback, lambda at: noise(at, 1024), "250 MiB/s"),
    "loss": ("2 % random loss, no delay, 512 MiB", lambda: lossy(0.02), lambda at: noise(at, 512), "30, better 100 MiB/s"),
    "far": ("50 ms round trip, 512 MiB", lambda: distant(0.025), lambda at: noise(at, 512), "50 MiB/s"),
    "far-loss": (
        "50 ms round trip, 1 % random loss, 128 MiB",
        lambda: distant(0.025, 0.01),
        lambda at: noise(at, 128),
        "4, better 10 MiB/s",
    ),
    "ipv6": ("IPv6 loopback, 1 GiB", alone, lambda at: noise(at, 1024), "as IPv4"),
    "relay": ("relay at both ends, coturn on loopback, 128 MiB", alone, lambda at: noise(at, 128), "what coturn carries"),
    "small": ("loopback, 10,000 files of 4 KiB", loopback, lambda at: small_files(at, 10_000), "20 MiB/s"),
    "killed": ("2 GiB, either side or both killed 20 times: bytes sent twice", alone, lambda at: noise(at, 2048), "2 %"),
    "start": ("start of both processes → first byte out", loopback, lambda at: noise(at, 1), "150 ms"),
}


def measure(name, rounds):
    what, network, plant, aim = CASES[name]
    with tempfile.TemporaryDirectory() as scratch, network() as ends:
        scratch = pathlib.Path(scratch)
        source = plant(scratch / "source")
        take = {"start": first_byte, "killed": killed, "ipv6": over_ipv6, "relay": through_relay}.get(name, transfer)
        taken = [take(scratch, ends, [source]) for _ in range(rounds)]
    return {"name": name, "what": what, "aim": aim, "taken": taken}


def spread(values, digits):
    middle = f"{statistics.median(values):.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def row(figure):
    taken = figure["taken"]
    if figure["name"] == "start":
        return f"| {figure['what']} | {spread([one['seconds'] * 1000 for one in taken], 0)} ms | | | | {figure['aim']} |"
    if figure["name"] == "killed":
        return f"| {figure['what']} | {spread([one['twice'] * 100 for one in taken], 2)} % | | | | {figure['aim']} |"
    cpu = " and ".join(spread([one["cpu"][side] for one in taken], 1) for side in (0, 1))
    memory = " and ".join(f"{max(one['memory'][side] for one in taken):.0f}" for side in (0, 1))
    lanes = spread([one["connections"] for one in taken], 0)
    return f"| {figure['what']} | {spread([one['rate'] for one in taken], 1)} MiB/s | {cpu} s | {memory} MiB | {lanes} | {figure['aim']} |"


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--only", default=",".join(CASES))
    arguments.add_argument("--stock", action="store_true")
    arguments.add_argument("--json")
    options = arguments.parse_args()
    figures = []
    with buffers(options.stock):
        print("| transfer | whole processes | CPU, sender and receiver | peak memory | connections | aim |\n|---|---|---|---|---|---|")
        for name in options.only.split(","):
            try:
                figures.append(measure(name, options.rounds))
                print(row(figures[-1]), flush=True)
            except (OSError, RuntimeError, subprocess.SubprocessError) as error:
                print(f"| {CASES[name][0]} | not taken: {error} | | | | {CASES[name][3]} |", flush=True)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    sys.exit(main())
