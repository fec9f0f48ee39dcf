#!/usr/bin/env python3
"""Figures of `rtckit signal`: memory of idle clients, and the time that messages take through it under load.

    benches/rooms.py [PROGRAM] [--clients 10000] [--rate 5000] [--seconds 20]

Clients and server share the machine. Two clients are in each room; all are idle first, then the messages are spread evenly over all of them
that send, 1 kB each, and every one is timed from before it is sent until it is read.
"""
import argparse, asyncio, base64, json, os, resource, struct, subprocess, time

PAYLOAD = "x" * 1000


class Client(asyncio.Protocol):
    """A member of a room. Its frames are masked with zeros, which is a mask too."""

    def __init__(self, host, room, bench):
        self.host, self.room, self.bench = host, room, bench
        self.buffer, self.upgraded, self.joined = b"", False, asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write((f"GET /{self.room} HTTP/1.1\r\nHost: {self.host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n").encode())
        self.send(0x1, b'{"type":"join","version":1}')

    def send(self, opcode, payload):
        n = len(payload)
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | n) if n < 126 else struct.pack("!BBH", 0x80 | opcode, 0xFE, n)
        self.transport.write(head + b"\0\0\0\0" + payload)

    def data_received(self, data):
        self.buffer += data
        if not self.upgraded:
            head, found, rest = self.buffer.partition(b"\r\n\r\n")
            if not found:
                return
            assert head.startswith(b"HTTP/1.1 101"), head
            self.upgraded, self.buffer = True, rest
        while len(self.buffer) >= 2:
            opcode, n, at = self.buffer[0] & 15, self.buffer[1] & 127, 2
            if n == 126:
                if len(self.buffer) < 4:
                    return
                n, at = struct.unpack("!H", self.buffer[2:4])[0], 4
            if len(self.buffer) < at + n:
                return
            payload, self.buffer = self.buffer[at:at + n], self.buffer[at + n:]
            if opcode == 0x9:
                self.send(0xA, payload)
            elif opcode == 0x8 and not self.bench.over:
                raise SystemExit(f"closed: {payload}")
            elif opcode == 0x1:
                self.heard(payload)

    def heard(self, payload):
        event = json.loads(payload)
        if event["type"] == "joined":
            self.joined.set_result(None)
        elif event["type"] == "message":
            self.bench.took.append(time.perf_counter() - event["data"]["at"])

    def say(self):
        self.send(0x1, json.dumps({"type": "message", "data": {"at": time.perf_counter(), "x": PAYLOAD}}).encode())


class Bench:
    def __init__(self):
        self.took, self.over = [], False


def memory(pid):
    lines = open(f"/proc/{pid}/status").read().splitlines()
    return {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines if line.startswith(("VmRSS", "VmHWM"))}


def cpu(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def run(args):
    server = subprocess.Popen([args.program, "signal", "--listen", "127.0.0.1:0", "-q", "--max-rate", "1000"], stdout=subprocess.PIPE)
    bench = Bench()
    try:
        port = int(server.stdout.readline().decode().rstrip("/\n").rsplit(":", 1)[1])
        loop, clients = asyncio.get_running_loop(), []
        began = time.perf_counter()
        for start in range(0, args.clients, 200):
            made = [await loop.create_connection(lambda n=n: Client(f"127.0.0.1:{port}", f"room-{n // 2}", bench), "127.0.0.1", port)
                    for n in range(start, min(start + 200, args.clients))]
            clients += [client for _, client in made]
            await asyncio.gather(*(client.joined for _, client in made))
        joined = time.perf_counter() - began
        used = cpu(server.pid)
        await asyncio.sleep(args.seconds)
        print(f"{len(clients)} idle clients, joined in {joined:.1f} s: {memory(server.pid)['VmRSS']:.0f} MiB, "
              f"{(cpu(server.pid) - used) / args.seconds * 100:.1f} % of a core for pings")
        used, sent, began = cpu(server.pid), 0, time.perf_counter()
        senders = clients[::2]
        while (passed := time.perf_counter() - began) < args.seconds:
            while sent < passed * args.rate:
                senders[sent % len(senders)].say()
                sent += 1
            await asyncio.sleep(0.001)
        passed = time.perf_counter() - began
        await asyncio.sleep(1)
        took = sorted(bench.took)
        at = lambda part: took[min(int(len(took) * part), len(took) - 1)] * 1000
        print(f"{sent / passed:.0f} messages a second for {passed:.0f} s, {sent - len(took)} lost: median {at(0.5):.2f} ms, p99 {at(0.99):.2f} ms, "
              f"most {took[-1] * 1000:.1f} ms; {memory(server.pid)['VmRSS']:.0f} MiB, {(cpu(server.pid) - used) / passed * 100:.0f} % of a core")
    finally:
        bench.over = True
        server.terminate()
        server.wait()


parser = argparse.ArgumentParser()
parser.add_argument("program", nargs="?", default="target/release/rtckit")
parser.add_argument("--clients", type=int, default=10000)
parser.add_argument("--rate", type=int, default=5000)
parser.add_argument("--seconds", type=int, default=20)
args = parser.parse_args()
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
asyncio.run(run(args))
